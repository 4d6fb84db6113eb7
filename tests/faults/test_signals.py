# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""SIGKILL and SIGINT before each system call that changes a file, one run for each: the old state or the new one, and
the next run finishes. Every tenth call in `make test`."""

import signal

import pytest

from faults.machine import WRITES
from faults.operations import SMALL, walk

#: seconds; what takes longer on a busy machine does not end
PATIENCE = 120.0
_SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}


def _complaints(harness, operation, number, at):
    """What is wrong after the signal before call ``at``."""
    killed = number == signal.SIGKILL
    with harness.world(operation) as world:
        faults = {"calls": WRITES, "path": world.root, "signal": int(number), "skip": at}
        run = world.run(*operation.words(world), faults=faults, timeout=PATIENCE)
        wrong = []
        if not run.in_time:
            wrong.append(f"it does not end within {PATIENCE:.0f} seconds")
        if not killed and run.code not in (0, 1, 130):
            wrong.append(f"exit code {run.code}")
        if "Traceback" in run.said or "Exception ignored" in run.said:
            wrong.append("a traceback")
        wrong += walk(world, harness.reference, killed=killed)
        again = world.run(*operation.words(world))
        wrong += [] if again.code == 0 else [f"the next run ends with {again.code}: {again.said}"]
        wrong += operation.done(world) + walk(world, harness.reference, killed=killed)
        return [f"call {at}: {w}\n{run.said}" for w in wrong]


@pytest.mark.parametrize("each", [10, pytest.param(1, marks=pytest.mark.slow)], ids=["tenth", "all"])
@pytest.mark.parametrize("name", _SIGNALS)
@pytest.mark.parametrize("operation", SMALL, ids=lambda operation: operation.name)
def test_a_signal_at_any_write_leaves_the_old_state_or_the_new_one(harness, operation, name, each):
    calls, _ = harness.usual(operation, WRITES)
    assert calls > 5
    wrong = []
    for at in range(_first(name, each), calls + 1, each):
        wrong += _complaints(harness, operation, _SIGNALS[name], at)
    assert not wrong, "\n".join(wrong[:10])


def _first(name, each):
    """The two signals meet other calls."""
    return 0 if name == "kill" else each // 2
