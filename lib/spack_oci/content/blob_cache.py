# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The blob cache: layers packed here and blobs fetched here, by digest, in a directory of bounded size.

::

    ROOT/blobs/sha256/<hex>     content; its mtime is when it was last used
    ROOT/layers/<hex>.json      what a prefix in a certain state was packed to: see :class:`LayerKey`
    ROOT/tmp/                   being written; a file that was not written to for an hour is left over from a crash
    ROOT/lock                   held while blobs are removed

Any number of processes may use one cache: a blob appears by rename, complete; one that is removed while another process
reads it stays readable for that process (it is only unlinked). Nothing here is needed for correctness: a cache that
vanishes costs time, and one whose file system has no locks works without.

Packages may be meant for some users only, so the cache is its owner's (0700, files 0600). To share one in a group, make
ROOT before its first use and let the group write to it (``mkdir -p -m 2770 ROOT; chgrp GROUP ROOT``): what is made in
it then belongs to the group as well, whatever the umask.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import threading
import time
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypeVar, Union

from ..descriptor import Descriptor, VerifyingReader, check_digest, hasher_for
from ..errors import DigestMismatch, InvalidContent, InvalidReference, StorageError
from ..util.concurrency.locks import locked_if_possible
from ..util.files import (
    atomic_write,
    existing_directory,
    is_full,
    open_lock_file,
    set_mode,
    share,
    storage_errors,
)

T = TypeVar("T")

#: bytes
DEFAULT_MAX_SIZE = 10 << 30

_COPY = 1 << 20
#: how often blobs may make room for one thing
_ROOM_ATTEMPTS = 3
#: nanoseconds; a temporary file that was written to more recently is not taken for a left-over
_FRESH = 3600 * 10**9


class LayerKey(NamedTuple):
    """``encoder``: :attr:`spack_oci.archive.codec.Compression.encoder`; ``state``: fingerprint of the prefix."""

    dag_hash: str
    encoder: str
    state: str

    @property
    def name(self) -> str:
        return hashlib.sha256("\0".join((self.dag_hash, self.encoder, self.state)).encode("utf-8")).hexdigest()


class KnownLayer(NamedTuple):
    """A layer that a prefix was packed to; the blob itself may be gone.

    ``relocation_summary``: see ``package/relocation_summary.py``; ``origins``: mirror URLs that it was sent to, from
    which it may be mounted.
    """

    descriptor: Descriptor
    diff_id: str
    tar_size: int
    relocation_summary: Dict[str, Any]
    origins: Tuple[str, ...] = ()


class CachedBlob(NamedTuple):
    """A blob of the cache that is to be sent; its digest is checked on the way (DigestMismatch).

    ``open`` raises FileNotFoundError when another process has removed it meanwhile.
    """

    path: str
    descriptor: Descriptor

    def open(self) -> BinaryIO:
        return VerifyingReader(open(self.path, "rb"), self.descriptor, self.path)  # type: ignore[return-value]


def with_room(cache: Optional["BlobCache"], path: str, size: int, action: Callable[[], T], keep: str = "") -> T:
    """``action()``, which writes some ``size`` bytes at ``path``. While its file system is full (or the user's quota),
    blobs of the cache but ``keep`` make room, if they are on the same one; raises what it raises when none is left."""
    was_empty = False
    for _ in range(_ROOM_ATTEMPTS):
        try:
            return action()
        except (OSError, StorageError) as e:
            if cache is None or not is_full(e) or not cache.is_on_disk_of(existing_directory(path)):
                raise
            is_empty = not cache.free(size, keep)
            if is_empty and was_empty:
                raise
            # what was left may have been removed meanwhile by another thread or process, for which it was full as well
            was_empty = is_empty
            size *= 4  # nobody knows how large it is going to be
    return action()


class BlobCache:
    """``max_size``: bytes of all blobs together; 0 keeps nothing beyond what is being used."""

    def __init__(self, root: str, max_size: int = DEFAULT_MAX_SIZE) -> None:
        self.root = root
        self.max_size = max_size
        self._blobs = os.path.join(root, "blobs")
        self._layers = os.path.join(root, "layers")
        self._tmp = os.path.join(root, "tmp")
        self._guard = threading.Lock()
        #: bytes that may be added before the size of the cache is looked at again
        self._room = 0

    def path(self, digest: str) -> str:
        algorithm, _, encoded = check_digest(digest).partition(":")
        return os.path.join(self._blobs, algorithm, encoded)

    def get(self, digest: str) -> Optional[str]:
        """The file that holds the blob, or None. It counts as used now. Another process may remove it any time."""
        path = self.path(digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError:  # a cache that is only to be read
            return path if os.access(path, os.R_OK) else None
        return path

    def add(self, digest: str, source: Union[str, BinaryIO]) -> str:
        """Keep a blob and return its path.

        ``source``: a file, which is **moved** here (and trusted, since the caller has just computed its digest), or a
        stream, which is checked while it is copied. Raises StorageError, DigestMismatch.
        """
        path = self.path(digest)
        with storage_errors(f"keeping {digest} in the blob cache"):
            self.make_directory(os.path.dirname(path))
            if isinstance(source, str):
                size = os.path.getsize(source)
                self._move(source, path)
            else:
                with self._writing(path) as file:
                    size = _copy_verified(source, file, digest)
        self._account(size, keep=path)
        return path

    def drop(self, digest: str) -> None:
        """Forget a blob, e.g. a damaged one."""
        _unlink(self.path(digest))

    def lookup_layer(self, key: LayerKey) -> Optional[KnownLayer]:
        path = os.path.join(self._layers, key.name + ".json")
        try:
            with open(path, encoding="utf-8") as f:
                document = json.load(f)
            os.utime(path)
            return KnownLayer(
                Descriptor.from_dict(document["descriptor"]),
                check_digest(document["diff_id"]),
                int(document["tar_size"]),
                dict(document["facts"]),
                tuple(document.get("origins") or ()),
            )
        except (OSError, ValueError, KeyError, TypeError, InvalidContent, InvalidReference):
            return None  # not there, or not ours: the prefix is packed again

    def remember_layer(self, key: LayerKey, layer: KnownLayer) -> None:
        document = {
            "descriptor": layer.descriptor.to_dict(),
            "diff_id": layer.diff_id,
            "tar_size": layer.tar_size,
            "facts": layer.relocation_summary,
            "origins": list(layer.origins),
        }
        with storage_errors("writing to the blob cache"):
            self.make_directory(self._layers)
            with self._writing(os.path.join(self._layers, key.name + ".json")) as file:
                file.write(json.dumps(document, sort_keys=True).encode("utf-8"))

    def usage(self) -> Tuple[int, int]:
        """Number of blobs, and their bytes."""
        files = self._files(self._blobs)
        return len(files), sum(size for _, size, _ in files)

    def clean(self) -> Tuple[int, int]:
        """Remove everything that is not being written now; returns how many blobs and bytes went."""
        with storage_errors("cleaning the blob cache"), self._lock():
            count, size = self.usage()
            for path, _, _ in self._files(self._blobs) + self._files(self._layers):
                _unlink(path)
            self._remove_leftovers()
        return count, size

    def is_on_disk_of(self, directory: str) -> bool:
        """Whether it would make room there to remove blobs."""
        try:
            return os.stat(self.root).st_dev == os.stat(directory).st_dev
        except OSError:
            return False

    def free(self, wanted: int, keep: str = "") -> int:
        """Make room for ``wanted`` bytes: remove blobs but that of the path ``keep``, the least recently used first.
        Returns how many bytes went."""
        freed = 0
        try:
            with self._lock():
                self._remove_leftovers()
                for path, size, _ in sorted(self._files(self._blobs), key=lambda file: file[2]):
                    if freed >= wanted:
                        break
                    if path != keep:
                        _unlink(path)
                        freed += size
        except OSError:
            pass  # what is wrong is said where the room was needed
        return freed

    def _account(self, added: int, keep: str) -> None:
        """Look at the whole cache only when a quarter of the room that there was may be used up.

        A quarter, because other processes fill it at the same time. The blob is there by now: a directory that cannot
        be read or emptied is no reason to fail.
        """
        with self._guard:
            self._room -= added
            if self._room < 0:
                with contextlib.suppress(OSError):
                    self._room = (self.max_size - self._make_room(keep)) // 4

    def _make_room(self, keep: str) -> int:
        """Remove the blobs that were not used for the longest time until the rest fits; returns its bytes."""
        with self._lock():
            self._remove_leftovers()
            files = self._files(self._blobs)
            total = sum(size for _, size, _ in files)
            for path, size, _ in sorted(files, key=lambda file: file[2]):
                if total <= self.max_size:
                    break
                if path != keep:
                    _unlink(path)
                    total -= size
        return total

    @staticmethod
    def _files(directory: str) -> List[Tuple[str, int, int]]:
        """(path, size, time of the last use) of every file below ``directory``."""
        result = []
        for parent, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(parent, name)
                try:
                    found = os.stat(path)
                except FileNotFoundError:
                    continue
                result.append((path, found.st_size, found.st_mtime_ns))
        return result

    def _writing(self, path: str) -> "contextlib._GeneratorContextManager[BinaryIO]":
        self.make_directory(self._tmp)
        return atomic_write(path, mode=self._modes()[1], exact=True, staging=self._tmp)

    def _remove_leftovers(self) -> None:
        now = time.time_ns()
        for path, _, modified in self._files(self._tmp):
            if now - modified > _FRESH:
                _unlink(path)

    def _move(self, source: str, path: str) -> None:
        set_mode(source, self._modes()[1])
        try:
            os.replace(source, path)
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
            with self._writing(path) as file, open(source, "rb") as stream:
                shutil.copyfileobj(stream, file, _COPY)
            _unlink(source)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.make_directory(self.root)
        # without locks (NFS, Lustre), two may remove the same: what is gone is gone
        with locked_if_possible(self.open_lock(os.path.join(self.root, "lock"))):
            yield

    def open_lock(self, path: str) -> int:
        """A file of the cache for ``flock``, made if it is not there. Raises OSError."""
        descriptor = open_lock_file(path, 0o600)
        share(descriptor, self._modes()[1])
        return descriptor

    def make_directory(self, path: str) -> None:
        """A directory of the cache, with its modes. Raises OSError."""
        if os.path.isdir(path):
            return
        mode = self._modes()[0]
        parent = os.path.dirname(path)
        if len(parent) > len(self.root):
            self.make_directory(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            set_mode(path, mode)

    def _modes(self) -> Tuple[int, int]:
        """Of directories and files: a group's where the root was made for one, else the owner's. Makes the root."""
        try:
            found = os.stat(self.root)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.root), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.root, 0o700)
            found = os.stat(self.root)
        mode = stat.S_IMODE(found.st_mode)
        if mode & stat.S_IWGRP:
            return mode & ~stat.S_IRWXO, 0o660
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and found.st_uid == os.geteuid():  # of a version that made it readable
            os.chmod(self.root, 0o700)
        return 0o700, 0o600


def _copy_verified(source: BinaryIO, target: BinaryIO, digest: str) -> int:
    hasher, size = hasher_for(digest), 0
    while True:
        data = source.read(_COPY)
        if not data:
            break
        hasher.update(data)
        size += len(data)
        target.write(data)
    found = f"{hasher.name}:{hasher.hexdigest()}"
    if found != digest:
        raise DigestMismatch(f"{digest} came as {found}")
    return size


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
