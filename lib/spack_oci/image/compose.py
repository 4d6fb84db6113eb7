# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One layer made of several, by concatenation.

Tars cannot simply be put one behind the other: every reader stops at the zeros that end the first, and podman refuses a
tar that names a directory twice ("duplicates of file paths not supported"), as packages do with the parents of their
prefixes. Our packages' layers are therefore written as three gzip members (zstd frames): the parent directories, the
prefix, the end of the archive. Copying the middle ones as they are joins compressed layers without compressing anything
again but a few headers. Gzip members and zstd frames in a row are one stream by definition (RFC 1952, 2.2; RFC 8878,
3.1).

A layer that is made otherwise, by Spack itself or with another algorithm, is compressed again. Either way every layer
is decompressed once: the diff ID is the digest of the joined tar.
"""

import hashlib
import io
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Callable, Iterable, Iterator, List, Sequence, Set, Tuple, cast

import zstandard

from ..archive import tar
from ..archive.codec import Compression, Decompressor, open_compressor, open_decompressor
from ..archive.tar_reader import DIRECTORY, TarMember, TarReader
from ..descriptor import Descriptor
from ..errors import CorruptArchive, ImageError, UnsafeArchive
from ..formats import magic
from ..package.record import Layer
from .directories import PLAIN, Directories, header
from .manifest import compression_of

_CHUNK = 1 << 18
#: an end of archive of at most this many compressed bytes is found; ours takes some 40
_TAIL = 256
#: the same of the parent directories
_HEAD = 4096
_MAGIC = {"gzip": magic.GZIP, "zstd": magic.ZSTD}


@dataclass(frozen=True)
class LayerSource:
    """A compressed layer that can be read from its start, as often as needed (blob cache, store)."""

    descriptor: Descriptor
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Composed:
    """``layer``: the new one; ``copied``, ``compressed``: bytes of the result that were taken as they are, or anew."""

    layer: Layer
    copied: int = 0
    compressed: int = 0


def compose_layers(
    sources: Sequence[LayerSource],
    compression: Compression,
    sink: BinaryIO,
    label: str = "",
    directories: Directories = PLAIN,
) -> Composed:
    """Write to ``sink`` (a new file that can seek) one layer with the members of ``sources`` in their order.

    Directories that several sources have are there once, and as ``directories`` says if they are in it. Deterministic.
    Raises CorruptArchive for a source that is no tar, and what reading raises.
    """
    if not sources:
        raise ImageError("a layer needs at least one package")
    joined = _Joined(compression, sink, directories)
    for source in sources:
        joined.add(source)
    return joined.finish(label)


def describe_file(file: BinaryIO, media_type: str) -> Descriptor:
    """Digest and size of what is in ``file``."""
    file.flush()
    file.seek(0)
    hasher = hashlib.sha256()
    size = 0
    for chunk in iter(lambda: file.read(1 << 20), b""):
        hasher.update(chunk)
        size += len(chunk)
    return Descriptor(media_type, "sha256:" + hasher.hexdigest(), size)


class _NotSeparate(Exception):
    """The source is not made of members that can be copied."""


class _Joined:
    """The layer so far."""

    def __init__(self, compression: Compression, sink: BinaryIO, special: Directories) -> None:
        self._compression = compression
        self._sink = sink
        self._special = special
        self._hasher = hashlib.sha256()
        self._size = 0
        self._directories: Set[bytes] = set()
        self._copied = 0
        self._compressed = 0

    def add(self, source: LayerSource) -> None:
        start, hasher, directories = self._sink.tell(), self._hasher.copy(), set(self._directories)
        size, compressed = self._size, self._compressed
        try:
            self._copied += self._copy_as_is(source)
        except _NotSeparate:
            self._sink.seek(start)
            self._sink.truncate()
            self._hasher, self._directories = hasher, directories
            self._size, self._compressed = size, compressed
            self._write_member(self._members_of(source))

    def finish(self, label: str) -> Composed:
        end_of_archive = tar.end_of_archive(self._size)
        self._write_member([end_of_archive])
        descriptor = describe_file(self._sink, self._compression.media_type)
        layer = Layer(descriptor, "sha256:" + self._hasher.hexdigest(), label)
        return Composed(layer, self._copied, self._compressed)

    def _copy_as_is(self, source: LayerSource) -> int:
        """Returns the number of compressed bytes that were copied."""
        algorithm = self._compression.algorithm
        if compression_of(source.descriptor.media_type) != algorithm or algorithm == "none":
            raise _NotSeparate
        with source.open() as stream:
            tee = _Tee(stream, self._sink)
            head_length, parents = _head(tee.peek(), algorithm)
            others = self._directories - set(parents)
            self._write_parents(parents)
            tee.skip = head_length
            archive = _HashedTar(
                open_decompressor(source.descriptor.media_type, cast(BinaryIO, tee)), self._hasher, _tar_size(parents)
            )
            for position, member in enumerate(archive):
                if position >= len(parents) and member.kind == DIRECTORY and member.name.rstrip(b"/") in others:
                    raise _NotSeparate
            tee.drain()
        tail = _tail(tee.tail, algorithm, archive.size - archive.end)
        self._sink.write(tee.tail[:-tail])
        self._size += archive.end - archive.start
        return tee.size - head_length - tail

    def _write_parents(self, parents: Sequence[bytes]) -> None:
        new = [name for name in parents if name not in self._directories]
        self._directories.update(new)
        if new:
            self._write_member(header(name, self._special) for name in new)

    def _write_member(self, chunks: Iterable[bytes]) -> None:
        """A gzip member or zstd frame of its own."""
        start = self._sink.tell()
        compressor = open_compressor(self._compression, self._sink.write)
        for chunk in chunks:
            self._hasher.update(chunk)
            self._size += len(chunk)
            compressor.write(chunk)
        compressor.finish()
        self._compressed += self._sink.tell() - start

    def _members_of(self, source: LayerSource) -> Iterator[bytes]:
        """The source's members, written anew, without the directories that are there."""
        special = {path.encode("utf-8", "surrogateescape") for path in self._special}
        with source.open() as stream:
            content = open_decompressor(source.descriptor.media_type, stream)
            reader = TarReader(lambda: content.read(_CHUNK))
            for member in reader:
                name = member.name.rstrip(b"/")
                if member.kind == DIRECTORY:
                    if name in self._directories:
                        continue
                    self._directories.add(name)
                    if b"/" + name in special:
                        yield header(name, self._special)
                        continue
                yield tar.header(member.name, member.kind, member.mode, member.size, member.link)
                for data, start, end in reader.pieces():
                    yield data[start:end]
                yield tar.padding(member.size)


def _head(start: bytes, algorithm: str) -> Tuple[int, List[bytes]]:
    """The first member of a layer: its compressed length and the names in it, which must be directories only."""
    try:
        if algorithm == "gzip":
            gzip_object = zlib.decompressobj(31)
            data, complete = gzip_object.decompress(start, _HEAD * 16), gzip_object.eof
            length = len(start) - len(gzip_object.unused_data)
        else:
            zstd_object = zstandard.ZstdDecompressor().decompressobj()
            data, complete = zstd_object.decompress(start), zstd_object.eof
            length = len(start) - len(zstd_object.unused_data)
        if not complete:
            raise _NotSeparate
        return length, _directories_of(data)
    except (zlib.error, zstandard.ZstdError, CorruptArchive, UnsafeArchive) as e:
        raise _NotSeparate from e


def _directories_of(data: bytes) -> List[bytes]:
    """The names in a piece of a tar that holds nothing but directories, written as we write them."""
    chunks = iter([data + bytes(2 * tar.BLOCK), b""])
    members = list(TarReader(lambda: next(chunks)))
    names = [member.name.rstrip(b"/") for member in members]
    if b"".join(tar.header(name, DIRECTORY, 0o755) for name in names) != data:
        raise _NotSeparate
    return names


def _tar_size(directories: Sequence[bytes]) -> int:
    return sum(len(tar.header(name, DIRECTORY, 0o755)) for name in directories)


def _tail(held: bytes, algorithm: str, expected: int) -> int:
    """How many compressed bytes at the end are nothing but ``expected`` zeros in a member of their own."""
    at = held.rfind(_MAGIC[algorithm])
    while at >= 0:
        candidate = held[at:]
        try:
            content = open_decompressor(candidate[:4], io.BytesIO(candidate)).read(expected + 1)
        except CorruptArchive:
            content = b""
        if len(content) == expected and not content.strip(b"\0"):
            return len(candidate)
        at = held.rfind(_MAGIC[algorithm], 0, at)
    raise _NotSeparate


class _Tee:
    """A stream whose bytes go on to ``sink``: not the first ``skip``, and not the last few, which are in ``tail``."""

    def __init__(self, stream: BinaryIO, sink: BinaryIO) -> None:
        self._stream = stream
        self._sink = sink
        self._peeked = b""
        self.skip = 0
        self.tail = b""
        self.size = 0

    def peek(self) -> bytes:
        """The first bytes, which will be read again."""
        while len(self._peeked) < _HEAD:
            data = self._stream.read(_HEAD - len(self._peeked))
            if not data:
                break
            self._peeked += data
        return self._peeked

    def read(self, size: int = -1) -> bytes:
        if self._peeked:
            cut = len(self._peeked) if size < 0 else size
            data, self._peeked = self._peeked[:cut], self._peeked[cut:]
        else:
            data = self._stream.read(size)
        held = self.tail + data[max(0, self.skip - self.size) :]
        self.size += len(data)
        self._sink.write(held[:-_TAIL])
        self.tail = held[-_TAIL:]
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """The stream belongs to the caller."""


class _HashedTar:
    """Iterates over the members of a tar, and hashes it from ``start`` to the end of its members."""

    def __init__(self, content: Decompressor, hasher: "hashlib._Hash", start: int) -> None:
        self._content = content
        self._hasher = hasher
        self.start = start
        self._pending = b""
        self._seen = 0
        self._reader = TarReader(self._next)

    @property
    def size(self) -> int:
        return self._reader.size

    @property
    def end(self) -> int:
        assert self._reader.end is not None  # the iteration is over
        return self._reader.end

    def _next(self) -> bytes:
        self._flush()
        self._pending = self._content.read(_CHUNK)
        return self._pending

    def _flush(self) -> None:
        """Where the members end is known only after the chunk that it is in was handed out."""
        end = self._seen + len(self._pending) if self._reader.end is None else self._reader.end
        self._hasher.update(self._pending[max(0, self.start - self._seen) : max(0, end - self._seen)])
        self._seen += len(self._pending)
        self._pending = b""

    def __iter__(self) -> Iterator[TarMember]:
        yield from self._reader
        self._flush()
