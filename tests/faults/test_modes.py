# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every sub-command with every kind of registry: done, or an error that a user can use. `make test-all` prints both."""

import re

import pytest

from faults.modes import COMMANDS, MODES
from faults.operations import walk
from faults.table import complaints


def _cases():
    """Each mode, and each command, with some of the others each time."""
    for row, mode in enumerate(MODES):
        for column, command in enumerate(COMMANDS):
            left_out = (row + column) % len(COMMANDS)
            yield pytest.param(
                mode, command, id=f"{mode.name}-{command.name}", marks=[pytest.mark.slow] if left_out else []
            )


@pytest.mark.parametrize("mode, command", list(_cases()))
def test_a_command_with_a_registry_that_is_not_like_others(harness, record_property, mode, command):
    _, usual = harness.usual(command, "lock")
    with harness.world(command) as world:
        mode.begin(world)
        run = world.run(*command.words(world), timeout=120.0)
        record_property("odd registry", (mode.who, command.title, _shown(run)))
        wrong = complaints(run, len(world.registry.requests()), usual)
        assert not wrong, f"{wrong}\n{run.said}"
        assert (run.code != 0) == (command.name in mode.fails), run.said
        assert not walk(world, harness.reference), run.said
        if run.code == 0 and command.name not in mode.partial:
            assert not command.done(world), run.said


def _shown(run):
    """``ok``, or what a user sees, without what is of this run."""
    if run.code == 0:
        return "ok"
    lines = [line for line in run.err.splitlines() if line.startswith("Error: ")]
    lines = lines or [line for line in run.out.splitlines() if "FAIL" in line] or run.out.splitlines() or ["?"]
    return re.sub(r"127\.0\.0\.1:\d{3,}", "HOST", re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", lines[0].strip()))
