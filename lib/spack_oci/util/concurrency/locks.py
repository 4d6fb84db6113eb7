# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One writer at a time, among the processes of all machines that see a directory.

``flock`` where the file system has it (local ones, NFS, GPFS, Lustre mounted with ``flock``), else POSIX record locks,
else a lock file that exists while the lock is held (Lustre mounted with ``noflock`` answers ENOSYS to both). All
machines have to see the file system in the same way: one that can only use a lock file does not see another's flock.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from typing import Callable, Iterator, Optional, Sequence

from ...errors import StorageError
from ..files import open_foreign_lock_file, open_lock_file

#: what file systems without a kind of locks answer
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)

_threads = threading.Lock()

#: seconds between two looks at a lock file
_INTERVAL = 0.05
#: seconds after which a lock file that nobody touched was left by a process that is gone
_ABANDONED = 900.0
#: seconds that a lock file is waited for
PATIENCE = 1800.0


@contextlib.contextmanager
def locked_if_possible(descriptor: int) -> Iterator[None]:
    """``flock`` an open file or directory, for what is only better off with a lock: on a file system without locks the
    block runs all the same. Closes ``descriptor``."""
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_lock(path: str) -> Iterator[None]:
    """Hold the lock ``path``, a file that is made where it is not there.

    Raises OSError; StorageError when a lock file is not given back.
    """
    try:
        descriptor = open_lock_file(path, 0o666)
    except PermissionError:  # another user's file in a directory of a group; flock needs no permission to write
        descriptor = open_foreign_lock_file(path)
    try:
        if _locked(fcntl.flock, descriptor, _UNSUPPORTED):
            yield
            return
        # record locks belong to the process: they keep no thread of it out
        with _threads:
            # EBADF: a lock for writing on a file that was opened for reading
            if _locked(fcntl.lockf, descriptor, (*_UNSUPPORTED, errno.EBADF)):
                yield
            else:
                with _lock_file(path + ".held"):
                    yield
    finally:
        os.close(descriptor)


def _locked(lock: Callable[[int, int], None], descriptor: int, unsupported: Sequence[int]) -> bool:
    try:
        lock(descriptor, fcntl.LOCK_EX)
    except OSError as e:
        if e.errno not in unsupported:
            raise
        return False
    return True


@contextlib.contextmanager
def _lock_file(path: str) -> Iterator[None]:
    """``path`` exists while the lock is held; it names its holder."""
    holder = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    waiting_since = time.monotonic()
    while not _created(path, holder):
        if _is_abandoned(path):
            _remove_abandoned(path)
        elif time.monotonic() - waiting_since > PATIENCE:
            minutes = f"{PATIENCE / 60:.0f} minutes"
            raise StorageError(
                f"waiting for {path}: {_holder(path) or 'somebody'} has held this lock for {minutes}",
                remedy="if that process is gone, remove the file",
            )
        else:
            time.sleep(_INTERVAL)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _holder(path) == holder:
                os.unlink(path)


def _created(path: str, holder: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(holder)
    return True


def _holder(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(200)
    except OSError:
        return None


def _is_abandoned(path: str) -> bool:
    """Its process is gone, if that was one of this machine; else nobody has touched it for long."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return False
    host, _, rest = (_holder(path) or "").partition(" ")
    process = rest.partition(" ")[0]
    if host == socket.gethostname() and process.isascii() and process.isdigit():
        return not _is_running(int(process))
    return age > _ABANDONED


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove_abandoned(path: str) -> None:
    """Only the file that was looked at: another process may have removed it, and taken the lock, in the meantime."""
    before = _holder(path)
    aside = f"{path}.{secrets.token_hex(8)}"
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        if _holder(aside) != before:
            os.link(aside, path)  # it is somebody's lock: put it back, unless there is another by now
        os.unlink(aside)
