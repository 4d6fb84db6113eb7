# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The table of faults and operations, a test for each cell (all of them in `make test-all`)."""

import pytest

from faults import report
from faults.operations import OPERATIONS, walk
from faults.table import EITHER, ERROR, FAULTS, OK, SLOW, cells, complaints, run_cell


def _cases():
    """Of the quick ones, every twelfth is run each time: most faults, and each operation with some of them."""
    for number, (fault, operation) in enumerate(cells()):
        left_out = number % 12 or fault.name in SLOW
        yield pytest.param(
            fault, operation, id=f"{fault.name}-{operation.name}", marks=[pytest.mark.slow] if left_out else []
        )


@pytest.mark.parametrize("fault, operation", list(_cases()))
def test_a_fault_ends_as_the_table_says_and_the_next_run_finishes(harness, fault, operation):
    calls, usual = harness.usual(operation, str(fault.shim.get("calls", "lock")))
    with harness.world(operation) as world:
        run = run_cell(world, fault, operation, calls)
        wrong = complaints(run, len(world.registry.requests()), usual)
        assert not wrong, f"{wrong}\n{run.said}"
        assert fault.ends(operation) in (EITHER, OK if run.code == 0 else ERROR), run.said
        assert not walk(world, harness.reference, killed=fault.keeps), run.said
        if run.code == 0:
            assert not operation.done(world), run.said
        again = world.run(*operation.words(world))
        assert again.code == 0, f"{run.said}\n--- again\n{again.said}"
        assert not operation.done(world) + walk(world, harness.reference, killed=fault.keeps), again.said


def test_the_table_in_the_documents_is_this_one():
    """`make reliability` writes it."""
    assert report.PATH.read_text() == report.document(report.PATH.read_text())


def test_names_are_of_one_thing():
    for things in (FAULTS, OPERATIONS):
        assert len({thing.name for thing in things}) == len(things)
