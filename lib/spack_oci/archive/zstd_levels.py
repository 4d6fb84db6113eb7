# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a level of zstd means for layers: how far back repetitions are looked for, and in which pieces.

* **1 and 2**, the fast ones: libzstd would look back 1 MiB at most; here as far as the frame is long, which makes
  layers of real packages 1% smaller in the same time.
* **3 to 5**: as libzstd has them.
* **from 6 on**, for slow links: what is longer than a frame becomes one long frame, in which repetitions are found
  32 MiB apart (static library, shared library and debug information repeat each other, byte code of three optimization
  levels even more). That makes layers of real packages 15% smaller in the same time, but one layer is compressed by one
  thread, and whoever reads it needs 32 MiB of memory for the window.
"""

import threading
from functools import partial
from typing import Any, Union

import zstandard

#: bytes of input in one frame
FRAME_SIZE = 1 << 22
#: 2 takes three quarters of the time of 3, for layers 5% larger, which are still 9% smaller than those of zlib's 9
DEFAULT_LEVEL = 2
#: from this level on, larger members are one frame with a window of so many bits
LONG_LEVEL = 6
LONG_WINDOW = 25

_FAST_LEVELS = (1, 2)

Parameters = zstandard.ZstdCompressionParameters


def encoder(level: int) -> str:
    """Library, version and level: where these are equal, so are the bytes."""
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    window = ":wide" if level in _FAST_LEVELS else f":long={LONG_WINDOW}" if level >= LONG_LEVEL else ""
    return f"zstd-{version}:{level}{window}"


def frame_parameters(level: int, **more: Any) -> Parameters:
    """Of a frame of ``FRAME_SIZE`` bytes or less."""
    if level in _FAST_LEVELS:
        return Parameters.from_level(level, window_log=FRAME_SIZE.bit_length() - 1, **more)
    return Parameters.from_level(level, source_size=FRAME_SIZE, **more)


def long_parameters(level: int, **more: Any) -> Parameters:
    """Of a frame of any length."""
    make = partial(Parameters.from_level, level, window_log=LONG_WINDOW, **more)
    found = make()
    # tables not larger than those of levels 12 and 19: with those of 22, a layer would take more than 500 MiB
    return make(chain_log=min(found.chain_log, 24), hash_log=min(found.hash_log, 23))


def memory_of(level: int) -> int:
    """Bytes that compressing one layer takes at most: for each of three frames (one is filled, two may be under way in
    a pool) its input, its output, and the compressor's own; for a long frame, its window and the compressor's own.
    """
    if level >= LONG_LEVEL:
        # what finds repetitions far apart is not in the estimate: a table of 8 bytes for 128 of the window
        tables = long_parameters(level).estimated_compression_context_size() + (1 << LONG_WINDOW - 4)
        return 2 * FRAME_SIZE + (1 << LONG_WINDOW) + tables
    return 3 * (2 * FRAME_SIZE + frame_parameters(level).estimated_compression_context_size())


_contexts = threading.local()


def compress_frame(data: Union[bytes, bytearray, memoryview], level: int) -> bytes:
    """One frame; every thread keeps its context of the level that it used last."""
    if getattr(_contexts, "level", None) != level:
        _contexts.compressor = _compressor(level)
        _contexts.level = level
    return _contexts.compressor.compress(data)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    if level in _FAST_LEVELS:
        return zstandard.ZstdCompressor(compression_params=frame_parameters(level, write_checksum=True))
    # libzstd has parameters of its own for shorter frames
    return zstandard.ZstdCompressor(level=level, write_checksum=True)
