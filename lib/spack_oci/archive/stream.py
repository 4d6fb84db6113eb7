# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The tar on its way to the compressor: collected in one buffer, hashed and compressed a block at a time.

Files are read straight into the buffer, where the scan finds them: their bytes are copied nowhere else.
"""

import hashlib
import os
from typing import Callable, Tuple

from .codec import BLOCK_SIZE, Compressor


class TarStream:
    """``size`` and ``diff_id`` of what was written, once it is finished."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._hasher = hashlib.sha256()
        self.buffer = bytearray(BLOCK_SIZE)
        self._view = memoryview(self.buffer)
        self._used = 0
        self._done = 0

    @property
    def size(self) -> int:
        return self._done + self._used

    @property
    def room(self) -> int:
        """Bytes until the block is full."""
        return BLOCK_SIZE - self._used

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hasher.hexdigest()}"

    def write(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            end = start + min(len(data) - start, BLOCK_SIZE - self._used)
            self._view[self._used : self._used + end - start] = data[start:end]
            self._advance(end - start)
            start = end

    def read_from(self, descriptor: int, count: int) -> Tuple[int, int]:
        """Read up to ``count`` bytes (not more than ``room``) of a file; where in ``buffer`` they are: (start, end).

        What was read counts as written when :meth:`accept` is called; until then the buffer stays as it is.
        """
        start = end = self._used
        while end < start + count:
            got = os.readv(descriptor, [self._view[end : start + count]])
            if not got:
                break
            end += got
        return start, end

    def accept(self, count: int) -> None:
        self._advance(count)

    def _advance(self, count: int) -> None:
        self._used += count
        if self._used == BLOCK_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._used:
            block = self._view[: self._used]
            self._hasher.update(block)
            self._compressor.write(block)
            self._done += self._used
            self._used = 0

    def next_member(self) -> None:
        """What follows can be cut off the compressed layer: see ``image/compose.py``, which joins layers that way."""
        self._flush()
        self._compressor.next_member()

    def finish(self, trailer: Callable[[int], bytes]) -> None:
        """``trailer``: size so far -> what closes the archive."""
        self.next_member()
        self.write(trailer(self.size))
        self._flush()
        self._compressor.finish()
