# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Walking along the tutorial: each section's commands are executed once, after those of all sections before it."""

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping

from comparison import agree, difference
from document import Command, File, Section
from world import Machine

#: programs that not every machine has; where they are missing, commands that begin with them are not executed
_OPTIONAL = ("podman",)


@dataclass
class Outcome:
    """``problem``: what is not as the document says, or ``""``."""

    command: Command
    printed: List[str]
    problem: str


class Walk:
    """``all_outputs``: also what Spack's own commands print, which another version of it may print otherwise."""

    def __init__(self, sections: List[Section], machines: Mapping[str, Machine], all_outputs: bool) -> None:
        self.titles = [section.title for section in sections]
        self._sections = list(sections)
        self._machines = machines
        self._all_outputs = all_outputs
        self._outcomes: Dict[str, List[Outcome]] = {}

    def section(self, title: str) -> List[Outcome]:
        """What came of its commands; what stands before it is executed first, if it was not yet."""
        while title not in self._outcomes:
            section = self._sections.pop(0)
            self._outcomes[section.title] = []
            for step in section.steps:
                if isinstance(step, File):
                    self._machines[step.machine].write(step.path, step.content)
                elif self._can_be_executed(step):
                    self._outcomes[section.title].append(self._execute(step))
        return self._outcomes[title]

    def _can_be_executed(self, command: Command) -> bool:
        program = command.text.split()[0]
        return program not in _OPTIONAL or (self._machines[command.machine].programs / program).exists()

    def _execute(self, command: Command) -> Outcome:
        code, printed = self._machines[command.machine].run(command.text)
        # a command that fails does so in the document too
        fails = any(re.match(r"(==> )?(Error: |Warning: No )", line) for line in command.output)
        problem = ""
        if bool(code) != fails:
            problem = "\n".join([f"exit code {code}", *printed])
        elif self._compared(command) and not agree(command.output, printed):
            problem = difference(command.output, printed)
        return Outcome(command, printed, problem and f"{command.machine}$ {command.text}\n{problem}")

    def _compared(self, command: Command) -> bool:
        return self._all_outputs or not re.search(r"\bspack (?!oci\b)", command.text)
