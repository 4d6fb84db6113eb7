# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that appear complete or not at all, and errors that say what was done to which path."""

import contextlib
import errno
import os
import secrets
import stat
from typing import BinaryIO, Iterator, Optional

from ..errors import StorageError
from .sizes import format_size

#: of files that are being written
PART = ".part"


@contextlib.contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """OSError becomes StorageError; ``action``: e.g. ``"writing /opt/cache/index.json"``. Of a full disk, it says how
    much room there is."""
    try:
        yield
    except OSError as e:
        room = f" ({room_at(e.filename)})" if is_full(e) and e.filename else ""
        raise StorageError.from_os_error(action + room, e) from e


def is_full(error: Optional[BaseException]) -> bool:
    """The disk, or the user's quota; also of an error that was made of the system's."""
    while error is not None:
        if isinstance(error, (OSError, StorageError)) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def room_at(path: str) -> str:
    """``"3.1 MB free of 10.0 GB"`` on the file system of ``path``, which needs not exist itself."""
    try:
        found = os.statvfs(existing_directory(path))
    except OSError:
        return "unknown room"
    free, size = (format_size(blocks * found.f_frsize) for blocks in (found.f_bavail, found.f_blocks))
    return f"{free} free of {size}"


def existing_directory(path: str) -> str:
    """``path`` if it is a directory, else the nearest one above it that there is."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


@contextlib.contextmanager
def atomic_write(
    path: str, *, mode: int = 0o666, exact: bool = False, sync: bool = False, staging: Optional[str] = None
) -> Iterator[BinaryIO]:
    """A new file, which takes the place of ``path`` at the end of the block; after an exception nothing is left of it.

    ``mode``: permissions of the new file, less the umask, unless they are ``exact``. ``sync``: the content is on the
    disk before it has its name (for the name, see :func:`sync_directory`). ``staging``: directory on the same file
    system for the file while it is written; else that of ``path``. The file can be read and is seekable.
    Raises OSError, whose ``filename`` is set also where the system names none (a full disk).
    """
    # no part of the name of ``path``, which may be as long as a name can be
    temporary = os.path.join(staging or os.path.dirname(path), f".{secrets.token_hex(8)}{PART}")
    try:
        try:  # around the opening, too: a signal may come when the file is there
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "w+b") as file:
                if exact:
                    os.fchmod(descriptor, mode)
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as e:
        if e.filename is None:
            e.filename = path
        raise


def open_lock_file(path: str, mode: int) -> int:
    """A file to lock, made if it is not there. No link is followed: whoever else may write into the directory could
    have put one there, to a private file or to where none is wanted. Raises OSError, ELOOP for a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def open_foreign_lock_file(path: str) -> int:
    """The same, of another user or on a file system that is read-only. It may have become a pipe, which nobody opens on
    the other side: that is not waited for. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def share(descriptor: int, mode: int) -> None:
    """Set the permissions of an open file, if it is this user's and is nowhere else as well: others may have made it a
    second name of a private one. Raises OSError."""
    status = os.fstat(descriptor)
    is_mine = status.st_uid == os.geteuid() and status.st_nlink <= 1
    if is_mine and stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)


def set_mode(path: str, mode: int) -> None:
    """Of a file or directory, not of what a link that has taken its place leads to. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """What was renamed into ``path`` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
