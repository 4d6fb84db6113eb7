# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a user sees: results on standard output, all else on standard error."""

import sys
from typing import Callable

from ..util.progress import Reporter, reporter_for

_COLORS = {"==>": "\033[1;34m", "Warning:": "\033[1;33m", "Error:": "\033[1;31m"}


def _head(word: str) -> str:
    return f"{_COLORS[word]}{word}\033[0m" if sys.stderr.isatty() else word


def info(message: str) -> None:
    print(f"{_head('==>')} {message}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    print(f"{_head('Warning:')} {message}", file=sys.stderr, flush=True)


def error(message: str) -> None:
    print(f"{_head('Error:')} {message}", file=sys.stderr, flush=True)


def reporter(line: Callable[[str], None] = info) -> Reporter:
    """For long work: a live display on a terminal, lines that ``line`` prints in a log, nothing with ``--json``."""
    return reporter_for(sys.stdout, line, warn)
