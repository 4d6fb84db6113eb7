# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A prefix appears at once: it is made as a hidden sibling, which is renamed when it is complete."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from typing import Iterator, List, Tuple


def _stale_pattern(prefix: str) -> Tuple[str, str]:
    parent, name = os.path.split(prefix)
    return parent, f".{name}.oci-"


@contextlib.contextmanager
def staging_directory(prefix: str) -> Iterator[str]:
    """A new directory for the caller alone, locked as long as the caller lives; removed unless it was renamed."""
    parent, start = _stale_pattern(prefix)
    directory = os.path.join(parent, start + secrets.token_hex(6))
    os.mkdir(directory, 0o700)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Spack holds a lock on the prefix; this one only tells a later run that the owner of the directory is alive
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield directory
    finally:
        os.close(lock)
        remove_tree(directory)


def remove_stale(prefix: str) -> List[str]:
    """Remove what killed installs of ``prefix`` left behind; returns the paths. Directories in use are left alone."""
    parent, start = _stale_pattern(prefix)
    removed = []
    with contextlib.suppress(FileNotFoundError):
        for name in [n for n in os.listdir(parent) if n.startswith(start)]:
            path = os.path.join(parent, name)
            if _is_abandoned(path):
                remove_tree(path)
                removed.append(path)
    return removed


def _is_abandoned(path: str) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # held, or a file system without such locks: better left than taken from under somebody
        return False
    finally:
        os.close(lock)


def remove_tree(path: str) -> None:
    """Whatever the modes in it are; nothing if there is none."""

    def make_writable(function, failed: str, _: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(failed), 0o700)
            os.chmod(failed, 0o700)
            function(failed)

    if os.path.lexists(path):
        shutil.rmtree(path, onerror=make_writable)


def commit(directory: str, prefix: str, replace: bool) -> None:
    try:
        os.rename(directory, prefix)
        return
    except OSError as e:
        if not replace or e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
    parent, start = _stale_pattern(prefix)
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
