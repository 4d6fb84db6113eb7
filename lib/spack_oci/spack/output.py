# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Printing as Spack prints."""

import sys
from typing import Callable

import spack.llnl.util.tty as tty
import spack.util.path

from ..util.progress import Reporter, reporter_for


def reporter(info: Callable[[str], None] = tty.info) -> Reporter:
    """For long work: a live display on a terminal, lines that ``info`` prints in a log, nothing with ``--json``."""
    return reporter_for(sys.stdout, info, tty.warn)


def print_unpadded(line: str) -> None:
    """A line with prefixes, as Spack's installer shows those of a padded install tree (``[padded-to-255-chars]``)."""
    print(spack.util.path.padding_filter(line))
