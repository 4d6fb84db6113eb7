# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How the demo tells what it does."""

import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.spacks.spack_instance import REPOSITORY

DEMO = Path(os.environ.get("SPACK_OCI_DEMO_DIRECTORY") or REPOSITORY / ".demo")


class Clock:
    """Seconds of every step, and of all."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps: List[Tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - started))

    def elapsed(self) -> float:
        return time.monotonic() - self.started


def title(text: str) -> None:
    say(f"\n== {text}")


def say(text: str) -> None:
    print(text, flush=True)


def indented(text: str) -> str:
    return "\n".join(f"    {shorten(line)}" for line in text.strip().splitlines())


def shorten(line: str) -> str:
    """A line for people: padding and hashes are left out, as Spack does."""
    line = re.sub(r"(/__spack_path_[^/\s]*)+", "/[padding]", line)
    return re.sub(r"([dexy])\1{30,}", "[...]", line).replace(f"{DEMO}/", f"{DEMO.name}/")


def short(path: Path) -> str:
    return os.path.relpath(path, REPOSITORY)


def size_of(directory: Path) -> int:
    """Bytes of all files; hard links count once."""
    seen: Dict[Tuple[int, int], int] = {}
    for root, _, names in os.walk(directory):
        for name in names:
            status = os.lstat(os.path.join(root, name))
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def human(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
