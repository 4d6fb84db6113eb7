# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs of a store on their way into the blob cache, and from there to whoever reads them."""

import contextlib
import fcntl
import io
import os
import secrets
import time
from typing import Any, Callable, Iterator, Optional, Tuple, TypeVar

from ..descriptor import Descriptor, VerifyingReader
from ..errors import DigestMismatch, StorageError
from ..util.files import PART, storage_errors
from ..util.sizes import format_size
from .blob_cache import BlobCache, with_room
from .interfaces import BlobReader, Progress, save_blob

T = TypeVar("T")

_READ = 1 << 20
#: seconds after which a download that nothing was written to was left by a process that is gone, where there are no
#: locks that would tell
_ABANDONED = 3600

#: called with the first bytes of a blob that is being fetched; what it raises stops the download
Peek = Callable[[bytes], None]
#: called with the path of a file in which a blob arrives, when there is something in it; see :func:`open_arriving`
Arrives = Callable[[str], None]

#: bytes from which on a blob is worth to be used while it arrives
LARGE = 8 << 20
#: seconds between two looks at a file that grows
_SHORT, _LONG = 0.001, 0.02


class _PeekedFile(io.BufferedRandom):
    """A new file whose first bytes are shown to ``peek`` before they are written; then ``arrives`` is called, if it is
    written from front to end."""

    def __init__(self, path: str, peek: Optional[Peek], arrives: Optional[Arrives]) -> None:
        # of its owner until the cache gives it the modes of its files
        super().__init__(io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "r+"))
        self._path = path
        self._show = peek
        self._arrives = arrives

    def write(self, data: Any) -> int:
        if self._show is not None:
            self._show_once(bytes(data))
        arrives, self._arrives = self._arrives, None
        if arrives is None or os.fstat(self.fileno()).st_size:  # it had its full size first, to be written in parts
            return super().write(data)
        count = super().write(data)
        arrives(self._path)
        return count

    def peek_if_not_yet(self) -> None:
        """What was written in parts did not come in by :meth:`write`."""
        if self._show is not None:
            self.seek(0)
            self._show_once(self.read(_READ))

    def _show_once(self, data: bytes) -> None:
        show, self._show = self._show, None
        if show is not None:
            show(data)


def fetch_into_cache(
    store: BlobReader,
    descriptor: Descriptor,
    cache: BlobCache,
    progress: Optional[Progress] = None,
    peek: Optional[Peek] = None,
    arrives: Optional[Arrives] = None,
) -> bool:
    """Make sure that the blob cache has a blob, verified. True: it was downloaded; False: it was there.

    ``arrives``: for who would use a LARGE one before it is there.

    However many threads and processes want the same blob at the same time, one of them downloads it and the others wait
    for it. On a full disk, other blobs of the cache make room. Raises DigestMismatch, NotFound, StorageError and the
    other errors of the store, and what ``peek`` and ``progress`` raise.
    """
    if cache.get(descriptor.digest) is not None:
        return False
    action = f"fetching {descriptor.digest} ({format_size(descriptor.size)}) into the blob cache"
    arrives = arrives if descriptor.size >= LARGE else None
    with storage_errors(action), _only_one(cache, descriptor) as path:
        if cache.get(descriptor.digest) is not None:
            return False
        with_room(cache, path, descriptor.size, lambda: _download(store, descriptor, path, progress, peek, arrives))
        cache.add(descriptor.digest, path)
        return True


def _download(
    store: BlobReader,
    descriptor: Descriptor,
    path: str,
    progress: Optional[Progress],
    peek: Optional[Peek],
    arrives: Optional[Arrives],
) -> None:
    try:
        with _PeekedFile(path, peek, arrives) as file:
            save_blob(store, descriptor, file, progress)
            file.peek_if_not_yet()
    except OSError as e:
        e.filename = e.filename or path
        raise


@contextlib.contextmanager
def _only_one(cache: BlobCache, descriptor: Descriptor) -> Iterator[str]:
    """Holds the lock on the download of a blob. The path is a place for it, which nobody else uses, and is empty again
    at the end."""
    directory = os.path.join(cache.root, "fetching")
    name = descriptor.digest.replace(":", "-")
    lock, is_locked = _lock(cache, directory, name + ".lock")
    path = os.path.join(directory, f"{name}.{secrets.token_hex(6)}{PART}")
    try:
        for left in os.listdir(directory):
            if left.startswith(name) and left.endswith(PART):
                _remove_abandoned(os.path.join(directory, left), 0 if is_locked else _ABANDONED)
        yield path
    finally:
        for mine in (path, os.path.join(directory, name + ".lock")):
            with contextlib.suppress(OSError):
                os.unlink(mine)
        os.close(lock)


def _lock(cache: BlobCache, directory: str, name: str) -> Tuple[int, bool]:
    """An open file that is still the one of that name (who held the lock before removes it), and whether it is locked:
    where the file system has no locks, two may download the same."""
    path = os.path.join(directory, name)
    while True:
        cache.make_directory(directory)
        lock = cache.open_lock(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            return lock, False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock, True
        os.close(lock)


def _remove_abandoned(path: str, age: float) -> None:
    """Of a process that was killed."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_mtime <= time.time() - age:
            os.unlink(path)


def use_cached(
    store: BlobReader, descriptor: Descriptor, cache: BlobCache, use: Callable[[VerifyingReader], T], path: str
) -> T:
    """``use`` of a blob in the cache, where it is put if it is not there, to make something at ``path``.

    A damaged entry of the cache is fetched again, and on a full file system other entries make room.
    """

    def once() -> T:
        with open_cached(store, descriptor, cache) as reader:
            return use(reader)

    def twice() -> T:
        try:
            return once()
        except DigestMismatch:
            cache.drop(descriptor.digest)
            return once()

    return with_room(cache, path, 4 * descriptor.size, twice, keep=cache.path(descriptor.digest))


def open_cached(store: BlobReader, descriptor: Descriptor, cache: BlobCache) -> VerifyingReader:
    """A blob from the cache, where it is put if it is not there; whoever reads it to its end has verified it.

    A reader that raises DigestMismatch has found a damaged entry: :meth:`BlobCache.drop` it and try once more.
    """
    for _ in range(3):
        fetch_into_cache(store, descriptor, cache)
        with storage_errors("reading from the blob cache"), contextlib.suppress(FileNotFoundError):
            return VerifyingReader(open(cache.path(descriptor.digest), "rb"), descriptor, "the blob cache")
        # another process made room
    raise StorageError(
        f"the blob cache does not keep {descriptor.digest} ({descriptor.size} bytes)",
        remedy="make oci:cache:max_size larger than the packages that are installed at the same time",
    )


class _ArrivingFile:
    """A file of a known size that is being written from front to end, perhaps more than once."""

    def __init__(self, path: str, size: int, check: Callable[[], None]) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._left = size
        self._check = check

    def read(self, size: int = -1) -> bytes:
        pause = _SHORT
        ended: Optional[Exception] = None
        while True:
            data = self._file.read(size)
            if data or not self._left:
                self._left -= min(len(data), self._left)
                return data
            if ended is not None:
                raise ended
            try:
                self._check()
            except Exception as e:  # the last of it may have come after the look at the file
                ended = e
                continue
            time.sleep(pause)
            pause = min(2 * pause, _LONG)

    def close(self) -> None:
        self._file.close()


def open_arriving(path: str, descriptor: Descriptor, check: Callable[[], None]) -> VerifyingReader:
    """A blob that another thread or process brings into the file at ``path``, of which ``arrives`` was told.

    ``check``: called while more is waited for; raises if no more will come. Whoever reads to the end has verified the
    blob, as with :func:`open_cached`; one that raises DigestMismatch has read of a download that began anew. Raises
    FileNotFoundError if the file is gone already.
    """
    stream: Any = _ArrivingFile(path, descriptor.size, check)
    return VerifyingReader(stream, descriptor, "a download")
