# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One layer made of several, by concatenation.

A tar ends with blocks of zeros, at which every reader stops, so tars cannot simply be put one behind
the other. Our packages' layers hold these blocks in a gzip member (zstd frame) of their own: leaving that member away
and copying the rest as it is joins compressed layers without compressing anything again; one member with the end of the
archive follows the last. Gzip members and zstd frames in a row are one stream by definition (RFC 1952, 2.2; RFC 8878,
3.1). A layer that is made otherwise, by Spack itself or with another algorithm, is compressed again. Either way every
layer is decompressed once: the diff ID is the digest of the joined tar.
"""

import hashlib
import io
import re
from dataclasses import dataclass
from typing import BinaryIO, Callable, Iterable, Iterator, Optional, Sequence, Tuple

from ..archive import tar
from ..archive.codec import Compression, open_compressor, open_decompressor
from ..archive.tar_reader import TarReader
from ..descriptor import Descriptor
from ..errors import CorruptArchive, ImageError
from .manifest import Layer, compression_of

_CHUNK = 1 << 18
#: an end of archive of at most this many bytes is found; ours takes some 40
_TAIL = 256
_MAGIC = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}
_ZERO_END = re.compile(rb"\0*\Z")


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
    sources: Sequence[LayerSource], compression: Compression, sink: BinaryIO, label: str = ""
) -> Composed:
    """Write to ``sink`` (a new file that can seek) one layer with the members of ``sources`` in their order.

    Deterministic. Raises CorruptArchive for a source that is no tar, and what reading raises.
    """
    if not sources:
        raise ImageError("a layer needs at least one package")
    tar_hasher = hashlib.sha256()
    tar_size = copied = compressed = 0
    for source in sources:
        start = sink.tell()
        written, end = _copy_as_is(source, compression.algorithm, sink, tar_hasher)
        if written:
            copied += written
        else:
            sink.seek(start)
            sink.truncate()
            compressed += _compress_again(source, end, compression, sink)
        tar_size += end
    end_of_archive = tar.end_of_archive(tar_size)
    tar_hasher.update(end_of_archive)
    compressed += _compressed(compression, [end_of_archive], sink)
    descriptor = describe_file(sink, compression.media_type)
    return Composed(Layer(descriptor, "sha256:" + tar_hasher.hexdigest(), label), copied, compressed)


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


def _copy_as_is(source: LayerSource, algorithm: str, sink: BinaryIO, hasher: "hashlib._Hash") -> Tuple[int, int]:
    """Copy the compressed bytes without the end of the archive. Hashes the members' part of the tar in any case.

    (compressed bytes written, bytes of the tar before its end); 0 written: this layer has to be compressed again.
    """
    same = compression_of(source.descriptor.media_type) == algorithm
    with source.open() as stream:
        tee = _Tee(stream, sink if same else None)
        archive = _HashedTar(open_decompressor(source.descriptor.media_type, tee), hasher)
        end = archive.read_to_end()
        tee.drain()
    separate = same and _zeros_of(tee.tail, algorithm, archive.size - end)
    if not separate:
        return 0, end
    sink.write(tee.tail[:-separate])
    return tee.size - separate, end


def _zeros_of(tail: bytes, algorithm: str, expected: int) -> int:
    """How many compressed bytes at the end are nothing but ``expected`` zeros in a member of their own; 0 if none."""
    if algorithm == "none":
        # the zeros themselves; they are longer than what is held back
        return 0
    at = tail.rfind(_MAGIC[algorithm])
    while at >= 0:
        candidate = tail[at:]
        try:
            content = open_decompressor(candidate[:4], io.BytesIO(candidate)).read(expected + 1)
        except CorruptArchive:
            content = b""
        if len(content) == expected and _ZERO_END.match(content):
            return len(candidate)
        at = tail.rfind(_MAGIC[algorithm], 0, at)
    return 0


def _compress_again(source: LayerSource, size: int, compression: Compression, sink: BinaryIO) -> int:
    """The first ``size`` bytes of the tar, in a member of their own. Bytes written."""

    def members() -> Iterator[bytes]:
        left = size
        with source.open() as stream:
            content = open_decompressor(source.descriptor.media_type, stream)
            while left:
                chunk = content.read(min(_CHUNK, left))
                left -= len(chunk)
                yield chunk
            while content.read(_CHUNK):  # to the end, for the digest of the source
                pass

    return _compressed(compression, members(), sink)


def _compressed(compression: Compression, chunks: Iterable[bytes], sink: BinaryIO) -> int:
    start = sink.tell()
    compressor = open_compressor(compression, sink.write)
    for chunk in chunks:
        compressor.write(chunk)
    compressor.finish()
    return sink.tell() - start


class _Tee:
    """A stream whose bytes go on to ``sink``, all but the last few, which are in ``tail`` when it was read."""

    def __init__(self, stream: BinaryIO, sink: Optional[BinaryIO]) -> None:
        self._stream = stream
        self._sink = sink
        self.tail = b""
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        if self._sink is not None and data:
            held = self.tail + data
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
    """Reads a tar and hashes it up to the end of its members."""

    def __init__(self, content, hasher: "hashlib._Hash") -> None:  # type: ignore[no-untyped-def]
        self._content = content
        self._hasher = hasher
        self._pending = b""
        self._hashed = 0
        self._reader = TarReader(self._next)

    @property
    def size(self) -> int:
        return self._reader.size

    def _next(self) -> bytes:
        self._flush()
        self._pending = self._content.read(_CHUNK)
        return self._pending

    def _flush(self) -> None:
        """Where the members end is known only after the chunk that it is in was handed out."""
        end = self._reader.end
        part = self._pending if end is None else self._pending[: max(0, end - self._hashed)]
        self._hasher.update(part)
        self._hashed += len(self._pending)
        self._pending = b""

    def read_to_end(self) -> int:
        for _ in self._reader:
            pass
        self._flush()
        assert self._reader.end is not None  # the iteration is over
        return self._reader.end
