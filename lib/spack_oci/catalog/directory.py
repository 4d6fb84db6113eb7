# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A page as a directory, which is replaced whole or not at all.

::

    DIR/index.html
    DIR/DIGEST/...              all else; DIGEST is of these files, so that a browser which has an older page open, or
                                a cache on the way, never mixes the files of two
    DIR/.spack-oci-catalog      says that the directory is ours

The new files are put beside the old ones; then ``index.html`` is replaced, which makes them the page; then the old ones
are removed. So there is a page at any moment, whenever the program is killed. Nothing is written into a directory that
has anything else: it might be somebody's.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from typing import Callable, Dict, Iterable, NamedTuple, Tuple

from ..archive.unpack.staging import next_staging_directory
from ..errors import ConfigurationError
from ..util.concurrency.cancellation import interrupted_once
from ..util.concurrency.locks import locked_if_possible
from ..util.files import PART, storage_errors
from ..util.text import elided
from .page import INDEX

MARK = ".spack-oci-catalog"
_MARK_TEXT = b"This directory is a page that `spack oci catalog` wrote, and will be replaced by it.\n"
#: files of a page, and what a run that was killed has left of one
_OURS = re.compile(rf"[0-9a-f]{{16}}\Z|\.[0-9a-f]{{16}}{re.escape(PART)}\Z")

#: seconds after which what was begun was left by a run that was killed
ABANDONED = 3600.0


class Written(NamedTuple):
    files: int
    size: int


def check_directory(path: str) -> None:
    """Raises ConfigurationError if a page must not be written there, StorageError for the disk's own troubles."""
    with storage_errors(f"looking into {path}"):
        if not os.path.lexists(path):
            return
        if not os.path.isdir(path) or os.path.islink(path):
            raise ConfigurationError(f"{path} is no directory", remedy="name one that is empty or not there yet")
        others = sorted(name for name in os.listdir(path) if not _is_ours(name))
        if not os.path.exists(os.path.join(path, MARK)):
            others = sorted(os.listdir(path))
    if others:
        raise ConfigurationError(
            f"{path} holds what is no page of a cache: {elided(others)}",
            remedy="name a directory that is empty or not there yet: a page replaces all that is in its directory",
        )


def write_directory(path: str, files: Iterable[Tuple[str, bytes]], index: Callable[[str], bytes]) -> Written:
    """``files``: (name, content); ``index``: ``index.html`` for the name of the directory that they are in.

    Raises what :func:`check_directory` raises; then ``path`` is as it was, as it is after whatever ``files`` raises.
    """
    path = os.path.abspath(path)
    check_directory(path)
    with storage_errors(f"writing {path}"), interrupted_once():  # SIGTERM and SIGHUP, too, leave nothing
        return _replace(path, files, index) if os.path.isdir(path) else _make(path, files, index)


def _make(path: str, files: Iterable[Tuple[str, bytes]], index: Callable[[str], bytes]) -> Written:
    with next_staging_directory(path) as parent:
        new = os.path.join(parent, "page")  # with the usual permissions, which its parent has not
        os.mkdir(new)
        written = _fill(new, files, index)
        os.rename(new, path)
    return written


def _replace(path: str, files: Iterable[Tuple[str, bytes]], index: Callable[[str], bytes]) -> Written:
    """In the directory itself: what is beside it may belong to others."""
    new = os.path.join(path, f".{secrets.token_hex(8)}{PART}")
    try:
        os.mkdir(new)
        written = _fill(new, files, index)
        with locked_if_possible(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)):
            _take_over(path, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return written


def _is_being_written(path: str) -> bool:
    return path.endswith(PART) and time.time() - os.stat(path).st_mtime < ABANDONED


def _is_ours(name: str) -> bool:
    return name in (INDEX, MARK) or _OURS.match(name) is not None


def _fill(new: str, files: Iterable[Tuple[str, bytes]], index: Callable[[str], bytes]) -> Written:
    unnamed = os.path.join(new, "files")
    os.mkdir(unnamed)
    digests: Dict[str, str] = {}
    size = 0
    for name, data in files:
        with open(os.path.join(unnamed, name), "xb") as f:
            f.write(data)
        digests[name] = hashlib.sha256(data).hexdigest()
        size += len(data)
    digest = hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()[:16]
    os.rename(unnamed, os.path.join(new, digest))
    for name, data in ((MARK, _MARK_TEXT), (INDEX, index(digest))):
        with open(os.path.join(new, name), "xb") as f:
            f.write(data)
        size += len(data)
    return Written(len(digests) + 2, size)


def _take_over(path: str, new: str) -> None:
    """One at a time: each removes what the others have put there. What another one is still writing stays."""
    old = [name for name in os.listdir(path) if _OURS.match(name) and not _is_being_written(os.path.join(path, name))]
    (digest,) = set(os.listdir(new)) - {INDEX, MARK}
    os.replace(os.path.join(new, MARK), os.path.join(path, MARK))
    if digest not in old:
        os.rename(os.path.join(new, digest), os.path.join(path, digest))
    os.replace(os.path.join(new, INDEX), os.path.join(path, INDEX))
    for name in old:
        if name != digest:
            shutil.rmtree(os.path.join(path, name), ignore_errors=True)
