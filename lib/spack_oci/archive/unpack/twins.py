# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Names of one package that a file system takes for the same: those that differ in capitals alone (macOS, a directory
of macOS or Windows in a container), or in how an accent is written.

ncurses has such names for terminals (``2621a``, ``2621A``), which mean the same; what means the same is there once.
"""

import os
import stat

from ...errors import StorageError
from ...relocate.search import Buffer


def is_file_with(path: bytes, content: Buffer) -> bool:
    """Whether there is a regular file with this content."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size != len(content):
        return False
    with open(path, "rb") as file:
        return file.read() == content


def is_link_to(path: bytes, target: bytes) -> bool:
    return os.path.islink(path) and os.readlink(path) == target


def are_equal_files(one: bytes, other: bytes) -> bool:
    """Both names may be those of one file; ``one`` is a regular file."""
    if os.path.islink(other) or os.path.getsize(one) != os.path.getsize(other):
        return False
    if os.path.samefile(one, other):
        return True
    with open(one, "rb") as file:
        return is_file_with(other, file.read())


def two_meanings(name: str, label: str) -> StorageError:
    """Of a name that is taken by another that means something else."""
    return StorageError(
        f"{label} has {name} and another file whose name differs in capitals or accents alone, which this file system "
        "takes for the same",
        remedy="install into a directory on a file system that tells them apart (on macOS, a case-sensitive volume)",
    )
