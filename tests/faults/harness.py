# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the tests of this directory share: templates, what a run without faults is like, one world after the other."""

import contextlib
from pathlib import Path
from typing import Dict, Iterator, Tuple

from faults.machine import Machine
from faults.operations import Operation, Reference, reference_of
from faults.worlds import World, make_templates, world


class Harness:
    def __init__(self, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self._root = directory / "w"
        self._templates = make_templates(machine, directory / "t")
        self._usual: Dict[Tuple[str, str], Tuple[int, int]] = {}
        with world(machine, self._templates, self._root) as where:
            self.reference: Reference = reference_of(where, self._templates)

    @contextlib.contextmanager
    def world(self, operation: Operation) -> Iterator[World]:
        """One in which the operation can begin. All have the same path, so that what is installed is the same."""
        with world(self.machine, self._templates, self._root) as where:
            operation.begin(where, self._templates)
            yield where

    def usual(self, operation: Operation, calls: str) -> Tuple[int, int]:
        """How many of these calls, and how many requests, the operation makes without faults."""
        key = (operation.name, calls)
        if key not in self._usual:
            with self.world(operation) as where:
                run = where.run(*operation.words(where), faults={"calls": calls, "path": where.root})
                assert run.code == 0 and not operation.done(where), (run.said, operation.done(where))
                self._usual[key] = (run.calls, len(where.registry.requests()))
        return self._usual[key]
