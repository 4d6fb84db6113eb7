# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The tutorial as a script: its sections, the commands in them, what the document says that each one prints.

In a ``console`` block, ``NAME$ COMMAND`` is typed on the machine NAME, ``> MORE`` continues it, and the lines up to the
next prompt are what it prints. A line ``...`` there stands for any number of lines. A block whose first line is
``# NAME: PATH`` is a file that its reader writes, on the machine NAME, below the home directory. Blocks of ``sh`` are
read, not executed.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Tuple, Union

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"

_PROMPT = re.compile(r"([a-z]+)\$ (.*)")
_FILE = re.compile(r"# ([a-z]+): (\S+)")


@dataclass
class Command:
    """``lines``: where its output is in the document, [first, last)."""

    machine: str
    text: str
    lines: Tuple[int, int]
    output: List[str]


@dataclass
class File:
    machine: str
    path: str
    content: str


@dataclass
class Section:
    title: str
    steps: List[Union[Command, File]] = field(default_factory=list)


def read_sections(document: Path = TUTORIAL) -> List[Section]:
    """Those that have something to do, in order."""
    sections = [Section("")]
    language, block = "", []
    for number, line in enumerate(document.read_text().splitlines()):
        if line.startswith("```"):
            if language == "console":
                sections[-1].steps += _commands(block)
            elif language and (found := _FILE.match(block[0][1])):
                content = "".join(f"{text}\n" for _, text in block[1:])
                sections[-1].steps.append(File(found.group(1), found.group(2), content))
            language, block = ("" if language else line[3:].strip()), []
        elif language:
            block.append((number, line))
        elif line.startswith("## "):
            sections.append(Section(line[3:].strip()))
    return [section for section in sections if section.steps]


def _commands(block: List[Tuple[int, str]]) -> List[Command]:
    commands: List[Command] = []
    for number, line in block:
        if found := _PROMPT.match(line):
            commands.append(Command(found.group(1), found.group(2), (number + 1, number + 1), []))
        elif line.startswith("> ") and not commands[-1].output:
            commands[-1].text += f"\n{line[2:]}"
            commands[-1].lines = (number + 1, number + 1)
        else:
            commands[-1].output.append(line)
            commands[-1].lines = (commands[-1].lines[0], number + 1)
    return commands


def rewrite(document: Path, printed: List[Tuple[Command, List[str]]]) -> None:
    """Put what commands printed in the place of what the document says. AssertionError if it was edited meanwhile."""
    lines = document.read_text().splitlines()
    for command, output in sorted(printed, key=lambda one: one[0].lines, reverse=True):
        first, last = command.lines
        assert lines[first:last] == command.output, f"{document} has changed since it was read"
        lines[first:last] = output
    document.write_text("".join(f"{line}\n" for line in lines))
