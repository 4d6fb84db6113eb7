# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's locks on a store: POSIX record locks (``fcntl``) on whole files and on single bytes of them.

- ``.spack-db/lock``, all of it: the database, shared to read and exclusive to write.
- ``.spack-db/prefix_lock``, one byte for each package, at the first 63 bits of its DAG hash: its prefix.

(``spack.util.lock``, ``spack.database.SpecLocker``; the same in 1.0.2, 1.1.0 and 1.2.) Such locks belong to a process
and an inode: closing *any* descriptor of the file gives up all of them. So a process has one descriptor a file, which
stays open. Not for several threads at once.
"""

import base64
import contextlib
import errno
import fcntl
import os
import random
import stat
import time
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ..errors import StorageError, StoreLocked
from ..util.files import open_foreign_lock_file, open_lock_file, share

#: bits of a DAG hash that say which byte of ``prefix_lock`` is a package's (Spack's ``bit_length(sys.maxsize)``)
_BITS = 63
#: seconds that Spack waits for the database
DATABASE_TIMEOUT = 120.0

#: path -> (device, inode, descriptor)
_open_files: Dict[str, Tuple[int, int, int]] = {}


def byte_of(dag_hash: str) -> int:
    """The byte of ``prefix_lock`` that belongs to a package."""
    decoded = base64.b32decode(dag_hash, casefold=True)[:8]
    return int.from_bytes(decoded, "big") >> (len(decoded) * 8 - _BITS)


class FileLock:
    """A lock on ``length`` bytes of a file from ``start`` on; 0: on all of it."""

    def __init__(self, path: str, start: int = 0, length: int = 0, label: str = "") -> None:
        """``label``: names it in errors."""
        self._path = path
        self._start = start
        self._length = length
        self._label = label or path

    def try_acquire(self, exclusive: bool = True) -> bool:
        """Do not wait. Raises StorageError where the file cannot be opened, or not be written for a lock to write."""
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.lockf(_descriptor(self._path), mode | fcntl.LOCK_NB, self._length, self._start)
            return True
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EACCES) and e.filename is None:
                return False
            if e.errno == errno.EBADF:  # opened to read, as it may not be written
                e = PermissionError(errno.EACCES, os.strerror(errno.EACCES), self._path)
            raise StorageError.from_os_error(f"locking {self._label}", e) from e

    def acquire(self, exclusive: bool = True, timeout: Optional[float] = None) -> None:
        """Wait for it; ``timeout`` in seconds, None: for ever. Raises StoreLocked, and as :meth:`try_acquire`."""
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        wait = 0.005
        while not self.try_acquire(exclusive):
            if time.monotonic() >= end:
                raise StoreLocked(f"another process has locked {self._label} for {timeout:.0f} seconds")
            time.sleep(wait)
            wait = min(wait * 1.5, 0.2)

    def release(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.lockf(_descriptor(self._path), fcntl.LOCK_UN, self._length, self._start)

    @contextlib.contextmanager
    def held(self, exclusive: bool = True, timeout: Optional[float] = None) -> Iterator[None]:
        self.acquire(exclusive, timeout)
        try:
            yield
        finally:
            self.release()


def _descriptor(path: str) -> int:
    """The open file; anew if another one has taken its place."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(path)
        known = _open_files.get(path)
        if known is not None and known[:2] == (status.st_dev, status.st_ino):
            return known[2]
    try:
        descriptor = open_lock_file(path, 0o666)
        _share(descriptor, os.path.dirname(path))
    except OSError as e:
        if e.errno not in (errno.EACCES, errno.EROFS):
            raise
        descriptor = open_foreign_lock_file(path)
    status = os.fstat(descriptor)
    _open_files[path] = (status.st_dev, status.st_ino, descriptor)
    return descriptor


def _share(descriptor: int, directory: str) -> None:
    """Whoever may write into the directory may lock, whatever the umask of the one who made the file."""
    wanted = stat.S_IMODE(os.fstat(descriptor).st_mode) | (os.stat(directory).st_mode & 0o666)
    with contextlib.suppress(OSError):
        share(descriptor, wanted)


@contextlib.contextmanager
def all_or_none(locks: Callable[[], Iterable[FileLock]]) -> Iterator[None]:
    """Exclusive locks on all that ``locks()`` names, asked anew for each try.

    Never waits for a lock while it holds one: Spack's installers keep a lock on everything that they have installed
    while they wait for the next, so two that wait for each other would wait for ever.
    """
    while True:
        held = _try_all(locks())
        if held is not None:
            break
        time.sleep(random.uniform(0.05, 0.5))
    try:
        yield
    finally:
        for lock in held:
            lock.release()


def _try_all(locks: Iterable[FileLock]) -> Optional[List[FileLock]]:
    held: List[FileLock] = []
    try:
        for lock in locks:
            if not lock.try_acquire():
                break
            held.append(lock)
        else:
            return held
    except BaseException:
        for lock in held:
            lock.release()
        raise
    for lock in held:
        lock.release()
    return None
