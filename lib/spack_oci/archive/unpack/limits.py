# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How much a layer may unpack to: as much as its pusher has announced, if there is space; else a bound for bombs."""

import errno
import os
from typing import Any, Mapping

from ...errors import StorageError
from ...util.files import existing_directory
from ...util.sizes import format_size

#: of the relocation summary that a push leaves with a package: bytes of its tarball without compression
UNPACKED_SIZE = "unpacked_size"


def size_limit(compressed_size: int, summary: Mapping[str, Any]) -> int:
    """Bytes that a layer may unpack to: 250 times its size, 1 GiB in any case, and what its pusher has announced.

    gzip stops at a ratio of 1032, zstd far beyond; software is packed at 2 to 5, but files that are mostly zeros
    (databases that were made in their full size) are real. The caller asks :func:`check_space` for what is announced.
    """
    return max((1 << 30) + 250 * compressed_size, announced(summary))


def announced(summary: Mapping[str, Any]) -> int:
    """0: nothing."""
    value = summary.get(UNPACKED_SIZE)
    return value if isinstance(value, int) else 0


def check_space(prefix: str, summary: Mapping[str, Any], label: str) -> None:
    """Raise StorageError if the announced size of a package is more than what is free where ``prefix`` will be."""
    needed = announced(summary)
    directory = existing_directory(os.path.dirname(prefix))
    try:
        found = os.statvfs(directory)
    except OSError as e:
        raise StorageError.from_os_error(f"looking for space for {label}", e) from e
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise StorageError(
            f"installing {label} into {prefix} needs {format_size(needed)}; "
            f"{format_size(free)} are free in {directory}",
            remedy="free some space on that file system, or choose another install tree",
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
