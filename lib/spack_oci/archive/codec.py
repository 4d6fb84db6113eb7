# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Compression of layers: gzip through the fastest library present, zstd, or none.

**Same bytes whatever the number of threads.** The input is cut into blocks of one size, wherever the writes were cut,
and the blocks are compressed independently, by any number of threads.

* gzip: every block of 1 MiB is deflated with the 32 KiB in front of it as dictionary and ends on a byte boundary
  (``Z_SYNC_FLUSH``, as pigz does). The result is one plain gzip member, without name and time, or several in a row
  (RFC 1952, 2.2) where the writer asks for it.
* zstd: every 4 MiB are a frame of their own (RFC 8878: frames may be concatenated). libzstd's own worker threads give
  layers 0.6% smaller, but take 20% more time (the frames' sizes are known) and keep 30 MiB and more for every
  layer under way. From level 6 on, what is beyond the first 4 MiB is one frame (see ``zstd_levels``), and one thread
  compresses it.
"""

import gzip
import re
import struct
import zlib
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Callable, Deque, Dict, NamedTuple, Optional, Protocol, Tuple, Type, Union

import zstandard

from ..descriptor import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from ..errors import ConfigurationError, CorruptArchive
from ..formats import magic
from . import zstd_levels
from .zstd_frames import FrameWalker
from .zstd_levels import FRAME_SIZE, LONG_LEVEL, compress_frame, long_parameters

try:
    from isal import igzip, isal_zlib
except ImportError:  # said by :func:`engines`, which `spack oci doctor` prints
    igzip = isal_zlib = None  # type: ignore[assignment]
try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None  # type: ignore[assignment]

Block = Union[bytes, bytearray, memoryview]

#: bytes of input in one deflate block; part of what makes the output reproducible
BLOCK_SIZE = 1 << 20
_WINDOW = 32 << 10
#: RFC 1952: deflate, no flags, no time, unknown operating system
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
#: the end of a deflate stream: an empty final block
_FINAL_BLOCK = b"\x03\0"

#: what may be needed to open a layer: windows of more than 128 MiB (zstd --long=27) are refused
MAX_WINDOW = 1 << 27

_MEDIA_TYPES = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, "none": OCI_LAYER}
#: highest level; gzip 0 to 3 are isal's, 4 to 9 zlib's
_MAX_LEVEL = {"gzip": 9, "zstd": 22, "none": 0}
_MAX_ISAL_LEVEL = 3
#: level when none is given. isal 2 makes layers some 13% larger than zlib's 6 at twelve times its speed
_DEFAULT_LEVEL = {"isal": 2, "zlib-ng": 2, "zlib": 1}


@dataclass(frozen=True)
class Compression:
    """``algorithm``: gzip, zstd or none; ``level``: None for the default."""

    algorithm: str = "gzip"
    level: Optional[int] = None

    def __post_init__(self) -> None:
        if self.algorithm not in _MEDIA_TYPES:
            raise ConfigurationError(f"unknown compression: {self.algorithm}", remedy="use gzip, zstd or none")
        maximum = _MAX_LEVEL[self.algorithm]
        if self.level is not None and not 0 <= self.level <= maximum:
            raise ConfigurationError(f"{self.algorithm} has no level {self.level}", remedy=f"use 0 to {maximum}")

    @classmethod
    def parse(cls, text: str) -> "Compression":
        """``auto``, ``gzip``, ``gzip:6``, ``zstd``, ``zstd:3``, ``none``. Raises ConfigurationError."""
        if text == "auto":
            return cls()
        algorithm, colon, level = text.partition(":")
        if colon and not re.fullmatch("[0-9]{1,3}", level):
            raise ConfigurationError(f"not a compression: {text!r}", remedy="write ALGORITHM[:LEVEL], e.g. zstd:3")
        return cls(algorithm, int(level) if colon else None)

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self.algorithm]

    @property
    def encoder(self) -> str:
        """Library, version and level: two compressions with the same encoder give the same bytes."""
        if self.algorithm == "none":
            return "none"
        if self.algorithm == "zstd":
            return zstd_levels.encoder(_zstd_level(self.level))
        engine = _gzip_engine(self.level)
        return f"{engine.name}-{engine.version}:{engine.level}"

    def __str__(self) -> str:
        return self.algorithm if self.level is None else f"{self.algorithm}:{self.level}"


class Compressor(Protocol):
    """``write`` as often as there is input, then ``finish`` once; or ``abort``, which never raises."""

    def write(self, data: Block) -> None: ...

    def next_member(self) -> None:
        """What follows goes into a gzip member or zstd frame of its own, and can be cut off without decompressing."""

    def finish(self) -> None: ...

    def abort(self) -> None: ...


def open_compressor(
    compression: Compression, sink: Callable[[bytes], Any], *, pool: Optional[Executor] = None, threads: int = 1
) -> Compressor:
    """A compressor that hands its output to ``sink``, in order and in the thread that calls it.

    ``pool``: where blocks are compressed (None: in the calling thread); ``threads``: how many may be under way there.
    Neither changes the output.
    """
    if compression.algorithm == "gzip":
        return _GzipCompressor(_gzip_engine(compression.level), sink, pool, threads)
    if compression.algorithm == "zstd":
        level = _zstd_level(compression.level)
        return _LongZstdCompressor(level, sink) if level >= LONG_LEVEL else _ZstdCompressor(level, sink, pool, threads)
    return _Verbatim(sink)


def memory_of(compression: Compression) -> int:
    """Bytes that compressing one layer takes at most: for each of three blocks (one is filled, two may be under way in
    the pool) its input, its output, and the compressor's own; of zstd, see :func:`.zstd_levels.memory_of`.
    """
    if compression.algorithm == "zstd":
        return zstd_levels.memory_of(_zstd_level(compression.level))
    return 3 * (2 * BLOCK_SIZE + (1 << 20))


def engines() -> Dict[str, str]:
    """Which libraries compress, for `spack oci doctor`: {"gzip": "isal 1.9.1, level 2", ...}."""
    result = {}
    for name, level in (("gzip", None), ("gzip:6", 6)):
        engine = _gzip_engine(level)
        result[name] = f"{engine.name} {engine.version}, level {engine.level}"
    result["zstd"] = f"libzstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}, level {_zstd_level(None)}"
    return result


class _Engine(NamedTuple):
    name: str
    version: str
    level: int
    #: a module with zlib's functions
    module: Any
    #: zlib's memLevel. isal's small token buffer begins a new Huffman table more often: 1.4% smaller for 6% more time
    memory: int = 8


def _gzip_engine(level: Optional[int]) -> _Engine:
    if isal_zlib is not None and (level is None or level <= _MAX_ISAL_LEVEL):
        return _Engine("isal", _version("isal"), _DEFAULT_LEVEL["isal"] if level is None else level, isal_zlib, 3)
    if zlib_ng is not None:
        return _Engine("zlib-ng", str(zlib_ng.ZLIBNG_VERSION), level or _DEFAULT_LEVEL["zlib-ng"], zlib_ng)
    return _Engine("zlib", zlib.ZLIB_RUNTIME_VERSION, level or _DEFAULT_LEVEL["zlib"], zlib)


#: what packing costs with a library and level, as measured on real packages: reading, scanning and hashing included
_COST = {("isal", 2): 1.0, ("zlib-ng", 2): 2.5, ("zlib", 1): 3.0, ("zlib-ng", 6): 4.0, ("zlib", 6): 8.0}


def slowdown_of_six() -> float:
    """How many times as long as at gzip's default level it takes to pack at level 6."""
    default, six = _gzip_engine(None), _gzip_engine(6)
    return _COST[six.name, six.level] / _COST[default.name, default.level]


def _zstd_level(level: Optional[int]) -> int:
    return zstd_levels.DEFAULT_LEVEL if level is None else level


def _version(module: str) -> str:
    return str(getattr(__import__(module), "__version__", "?"))


def _deflate(engine: _Engine, data: Block, window: bytes) -> bytes:
    """One block of a raw deflate stream, ending on a byte boundary."""
    zlib_ = engine.module
    if window:
        compressor = zlib_.compressobj(engine.level, zlib_.DEFLATED, -15, engine.memory, 0, window)
    else:
        compressor = zlib_.compressobj(engine.level, zlib_.DEFLATED, -15, engine.memory, 0)
    return compressor.compress(data) + compressor.flush(zlib_.Z_SYNC_FLUSH)


class _Blocks:
    """Cuts what is written into blocks of one size, so that the output does not depend on how it was written.

    ``emit`` gets buffers that belong to the writer, and are his again when it returns.
    """

    def __init__(self, size: int, emit: Callable[[Block], Any]) -> None:
        self._size = size
        self._emit = emit
        self._pending = bytearray()

    def write(self, data: Block) -> None:
        pending = self._pending
        if not pending and len(data) == self._size:
            self._emit(data)
            return
        if len(pending) + len(data) < self._size:
            pending += data
            return
        view = memoryview(data)
        taken = self._size - len(pending)
        pending += view[:taken]
        self._emit(pending)
        while len(view) - taken >= self._size:
            self._emit(view[taken : taken + self._size])
            taken += self._size
        self._pending = bytearray(view[taken:])

    def flush(self) -> None:
        if self._pending:
            self._emit(self._pending)
            self._pending = bytearray()


class _BlockCompressor:
    """Compresses block by block, here or in a pool, and hands the results on in order."""

    def __init__(
        self,
        size: int,
        compress: Callable[[Block], None],
        sink: Callable[[bytes], Any],
        pool: Optional[Executor],
        ahead: int,
    ) -> None:
        """``compress``: calls :meth:`_run` for a block."""
        self._sink = sink
        self._pool = pool
        self._ahead = max(1, ahead)
        self._blocks = _Blocks(size, compress)
        self._under_way: Deque[Future[bytes]] = deque()

    def write(self, data: Block) -> None:
        self._blocks.write(data)

    def _run(self, function: Callable[..., bytes], block: Block, *arguments: Any) -> None:
        if self._pool is None:
            self._sink(function(block, *arguments))
            return
        self._under_way.append(self._pool.submit(function, bytes(block), *arguments))
        while len(self._under_way) > self._ahead or (self._under_way and self._under_way[0].done()):
            self._sink(self._under_way.popleft().result())

    def finish(self) -> None:
        self._blocks.flush()
        while self._under_way:
            self._sink(self._under_way.popleft().result())

    def abort(self) -> None:
        while self._under_way:
            self._under_way.popleft().cancel()


class _GzipCompressor(_BlockCompressor):
    def __init__(self, engine: _Engine, sink: Callable[[bytes], Any], pool: Optional[Executor], ahead: int) -> None:
        super().__init__(BLOCK_SIZE, self._compress, sink, pool, ahead)
        self._deflate = partial(_deflate, engine)
        self._crc32 = engine.module.crc32
        self._window = b""
        self._crc = 0
        self._length = 0
        sink(_GZIP_HEADER)

    def _compress(self, block: Block) -> None:
        self._crc = self._crc32(block, self._crc)
        self._length += len(block)
        window, self._window = self._window, bytes(block[-_WINDOW:])
        self._run(self._deflate, block, window)

    def finish(self) -> None:
        super().finish()
        self._sink(_FINAL_BLOCK + struct.pack("<LL", self._crc, self._length & 0xFFFFFFFF))

    def next_member(self) -> None:
        self.finish()
        self._window, self._crc, self._length = b"", 0, 0
        self._sink(_GZIP_HEADER)


class _ZstdCompressor(_BlockCompressor):
    def __init__(self, level: int, sink: Callable[[bytes], Any], pool: Optional[Executor], ahead: int) -> None:
        super().__init__(FRAME_SIZE, self._compress, sink, pool, ahead)
        self._level = level
        self._empty = True

    def _compress(self, block: Block) -> None:
        self._empty = False
        self._run(compress_frame, block, self._level)

    def finish(self) -> None:
        super().finish()
        if self._empty:
            self._sink(compress_frame(b"", self._level))

    def next_member(self) -> None:
        super().finish()


class _LongZstdCompressor:
    """Members of up to ``FRAME_SIZE`` as :class:`_ZstdCompressor` has them; a larger one is one frame."""

    def __init__(self, level: int, sink: Callable[[bytes], Any]) -> None:
        self._level = level
        self._sink = sink
        self._blocks = _Blocks(FRAME_SIZE, self._emit)
        #: the first block of a member, while it may be the only one
        self._first: Optional[bytes] = None
        self._frame: Any = None
        self._empty = True

    def write(self, data: Block) -> None:
        self._blocks.write(data)

    def _emit(self, block: Block) -> None:
        self._empty = False
        if self._frame is None and self._first is None:
            self._first = bytes(block)
            return
        if self._frame is None:
            parameters = long_parameters(self._level, enable_ldm=True, write_checksum=True)
            self._frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
            self._compress(self._first or b"")
            self._first = None
        self._compress(block)

    def _compress(self, block: Block) -> None:
        data = self._frame.compress(block)
        if data:
            self._sink(data)

    def next_member(self) -> None:
        self._blocks.flush()
        if self._frame is not None:
            self._sink(self._frame.flush())
        elif self._first is not None:
            self._sink(compress_frame(self._first, self._level))
        self._frame = self._first = None

    def finish(self) -> None:
        self.next_member()
        if self._empty:
            self._sink(compress_frame(b"", self._level))

    def abort(self) -> None:
        self._frame = self._first = None


class _Verbatim:
    def __init__(self, sink: Callable[[bytes], Any]) -> None:
        self._blocks = _Blocks(BLOCK_SIZE, lambda block: sink(bytes(block)))

    def write(self, data: Block) -> None:
        self._blocks.write(data)

    def finish(self) -> None:
        self._blocks.flush()

    def next_member(self) -> None:
        self._blocks.flush()

    def abort(self) -> None:
        pass


class Decompressor:
    """The uncompressed bytes of a stream. Damage (also: cut short, garbage behind the end) raises CorruptArchive."""

    def __init__(self, reader: Any, algorithm: str, damage: Tuple[Type[BaseException], ...]) -> None:
        self._reader = reader
        self._algorithm = algorithm
        self._damage = damage

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes (all if negative), and at least one unless the stream is at its end."""
        try:
            return self._reader.read(size)
        except self._damage as e:
            raise CorruptArchive(f"the {self._algorithm} stream of a layer is damaged: {e}") from e

    def readinto(self, buffer: Any) -> int:
        """As :meth:`read`, into ``buffer``; returns the number of bytes."""
        try:
            return self._reader.readinto(buffer)
        except self._damage as e:
            raise CorruptArchive(f"the {self._algorithm} stream of a layer is damaged: {e}") from e

    def close(self) -> None:
        """Does not close the source."""
        self._reader.close()

    def __enter__(self) -> "Decompressor":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_decompressor(media_type_or_magic: Union[str, bytes], stream: BinaryIO) -> Decompressor:
    """A reader of what ``stream`` holds in compressed form, from its first byte.

    ``media_type_or_magic``: a layer's media type (OCI's or Docker's), or the first four bytes of the content, which are
    the better witness: some tools label zstd as gzip. Errors of ``stream`` itself (a digest that does not match)
    come through as they are. Raises CorruptArchive for a media type that is no layer.
    """
    algorithm = _algorithm(media_type_or_magic)
    if algorithm == "gzip":
        opener: Any = igzip.GzipFile if igzip is not None else gzip.GzipFile
        damage: Tuple[Type[BaseException], ...] = (EOFError, gzip.BadGzipFile, zlib.error)
        if isal_zlib is not None:
            damage = (*damage, isal_zlib.error)  # type: ignore[arg-type]  # its stubs have it as an instance
        return Decompressor(opener(fileobj=_Source(stream), mode="rb"), "gzip", damage)
    if algorithm == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        source = _Source(stream, FrameWalker())
        reader = decompressor.stream_reader(
            source,  # type: ignore[arg-type]
            read_size=1 << 18,
            read_across_frames=True,
            closefd=False,
        )
        return Decompressor(reader, "zstd", (zstandard.ZstdError,))
    return Decompressor(_Source(stream, empty=False), "tar", ())


class _Source:
    """The compressed side of a decompressor: an end that comes too early is an error there."""

    def __init__(self, stream: BinaryIO, frames: Optional[FrameWalker] = None, empty: bool = True) -> None:
        self._stream = stream
        self._frames = frames
        self._empty = empty

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if data:
            self._empty = False
            if self._frames:
                self._frames.feed(data)
        elif size and (self._empty or (self._frames and not self._frames.complete)):
            raise CorruptArchive("the compressed stream of a layer was cut short")
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """The source belongs to the caller."""


def _algorithm(media_type_or_magic: Union[str, bytes]) -> str:
    if isinstance(media_type_or_magic, bytes):
        if media_type_or_magic.startswith(magic.GZIP):
            return "gzip"
        return "zstd" if media_type_or_magic.startswith(magic.ZSTD) else "none"
    for suffix, algorithm in (("gzip", "gzip"), ("zstd", "zstd"), (".tar", "none")):
        if media_type_or_magic.endswith(suffix):
            return algorithm
    raise CorruptArchive(f"not the media type of a layer: {media_type_or_magic}")
