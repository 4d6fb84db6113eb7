# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The files of a prefix in the order of the archive."""

import errno
import os
from typing import Iterator, List, NamedTuple, Tuple

from ..errors import PrefixChanged, SpackOciError, StorageError


class Entry(NamedTuple):
    """A file or link of a prefix. ``path``: absolute; ``relative``: below the prefix."""

    path: bytes
    relative: bytes
    is_link: bool


def prefix_files(prefix: bytes) -> Iterator[Tuple[bytes, List[Entry]]]:
    """Each directory below ``prefix`` (relative; b"" first) with its files and links.

    A directory's files come by name, then its sub-directories by name. Devices, sockets and pipes are left out. Names
    are compared as bytes, which for UTF-8 is the order of characters that Spack has. Raises PrefixChanged and
    StorageError.
    """
    pending = [b""]
    while pending:
        directory = pending.pop()
        path = os.path.join(prefix, directory) if directory else prefix
        within = directory + b"/" if directory else b""
        entries, directories = [], []
        try:
            with os.scandir(path) as found:
                for item in found:
                    if item.is_symlink():
                        entries.append(Entry(item.path, within + item.name, True))
                    elif item.is_dir(follow_symlinks=False):
                        directories.append(within + item.name)
                    elif item.is_file(follow_symlinks=False):
                        entries.append(Entry(item.path, within + item.name, False))
        except OSError as e:
            raise read_error(path, e) from e
        entries.sort()
        yield directory, entries
        directories.sort(reverse=True)
        pending.extend(directories)


def read_error(path: bytes, error: OSError) -> SpackOciError:
    """What an error while reading a prefix means."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ELOOP):
        return PrefixChanged(f"packing {os.fsdecode(path)}: it vanished, or became something else, meanwhile")
    return StorageError.from_os_error(f"packing {os.fsdecode(path)}", error)
