# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A prefix appears at once: it is made in a hidden directory beside it, which is renamed when it is complete."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from typing import Any, Iterator, List, Optional, Tuple

from ...util.concurrency.locks import locked_if_possible

#: longest name of a prefix that can be part of a hidden one: NAME_MAX is 255, and 21 bytes are added
_MAX_NAME = 200
#: seconds in which who has made a directory certainly locks it
_NEW = 60.0


def _staging_names(prefix: str) -> Tuple[str, str]:
    """(parent directory, how the names of all staging directories of ``prefix`` begin)"""
    parent, name = os.path.split(prefix)
    encoded = os.fsencode(name)
    if len(encoded) > _MAX_NAME:
        name = os.fsdecode(encoded[: _MAX_NAME - 33]) + "-" + hashlib.sha256(encoded).hexdigest()[:32]
    return parent, f".{name}.oci-"


@contextlib.contextmanager
def staging_directory(prefix: str) -> Iterator[str]:
    """A new directory for the caller alone, locked as long as the caller lives; removed unless it was renamed."""
    parent, start = _staging_names(prefix)
    directory = os.path.join(parent, start + secrets.token_hex(6))
    os.mkdir(directory, 0o700)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Spack holds a lock on the prefix; this one only tells a later run that the owner of the directory is alive
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield directory
    finally:
        os.close(lock)
        remove_tree(directory)


@contextlib.contextmanager
def next_staging_directory(prefix: str) -> Iterator[str]:
    """As :func:`staging_directory`, in place of those that killed processes have left there, and with a directory for
    it. Raises OSError."""
    parent = os.path.dirname(prefix)
    os.makedirs(parent, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # else a new one could be taken for one that was left, before it has its own lock
        with locked_if_possible(os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)):
            remove_stale(prefix)
            directory = stack.enter_context(staging_directory(prefix))
        yield directory


@contextlib.contextmanager
def temporary_directory(name: str, parent: Optional[str] = None) -> Iterator[str]:
    """A directory for large files that goes with the block, in ``parent`` (None: that for temporary files), in which
    others may write as well. What killed processes of this user have left there under this name goes first. Raises
    OSError."""
    beside = os.path.join(parent or tempfile.gettempdir(), f"{name}-{os.geteuid()}")
    with contextlib.suppress(OSError):
        # no lock of a directory that is everybody's: who has just made one has not locked it yet
        remove_stale(beside, _NEW)
    with staging_directory(beside) as directory:
        yield directory


def remove_stale(prefix: str, age: Optional[float] = None) -> List[str]:
    """Remove what killed installs of ``prefix`` left behind; returns the paths. Directories in use are left alone.

    ``age``: only what is this user's, and has been there for so many seconds.
    """
    parent, start = _staging_names(prefix)
    removed = []
    with contextlib.suppress(FileNotFoundError):
        for name in [n for n in os.listdir(parent) if n.startswith(start)]:
            path = os.path.join(parent, name)
            if _is_abandoned(path, age):
                remove_tree(path)
                removed.append(path)
    return removed


def _is_abandoned(path: str, age: Optional[float]) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if age is not None:
            status = os.fstat(lock)
            if status.st_uid != os.geteuid() or status.st_mtime > time.time() - age:
                return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # held, or a file system without such locks: better left than taken from under somebody
        return False
    finally:
        os.close(lock)


def remove_tree(path: str) -> None:
    """Remove a directory, whatever the modes in it; nothing if there is none.

    What cannot be removed (a colleague's file, ``.nfs*`` of a file that is open, a mount) stays, without an error.
    Modes are only changed of directories at ``path`` and below it, never through a link, and bits are only added.
    """

    def make_writable(function: Any, failed: str, _: object) -> None:
        with contextlib.suppress(OSError):
            if failed != path:
                _let_owner_change(os.path.dirname(failed))
            if function in (os.unlink, os.rmdir):
                function(failed)
            elif _let_owner_change(failed):  # a directory that could not be read; it is entered at most once more
                remove_tree(failed)

    if os.path.lexists(path):
        shutil.rmtree(path, onerror=make_writable)


def _let_owner_change(directory: str) -> bool:
    """Give the owner all rights to a directory that is no link. False: he had them."""
    mode = os.lstat(directory).st_mode
    if not stat.S_ISDIR(mode) or mode & stat.S_IRWXU == stat.S_IRWXU:
        return False
    os.chmod(directory, stat.S_IMODE(mode) | stat.S_IRWXU)
    return True


def commit(directory: str, prefix: str, replace: bool) -> None:
    """Rename a complete staging directory to ``prefix``. ``replace``: what is there goes; if that fails, it is back."""
    try:
        os.rename(directory, prefix)
        return
    except OSError as e:
        if not replace or e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    parent, start = _staging_names(prefix)
    old = os.path.join(parent, start + secrets.token_hex(6))
    os.rename(prefix, old)
    try:
        os.rename(directory, prefix)
    except OSError:
        os.rename(old, prefix)
        raise
    if os.path.isdir(old) and not os.path.islink(old):
        remove_tree(old)
    else:
        os.unlink(old)
