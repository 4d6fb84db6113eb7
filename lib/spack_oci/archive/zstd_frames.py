# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where zstd frames end (RFC 8878, section 3.1), followed from the outside.

``zstandard``'s stream reader takes the end of its source for the end of the data, also in the middle of a frame. This
walks from block header to block header, some ten thousand steps in a gigabyte, and knows better.
"""

from ..errors import CorruptArchive

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_DICTIONARY_ID = (0, 1, 2, 4)
_CONTENT_SIZE = (0, 2, 4, 8)
_RLE = 1


class FrameWalker:
    """Told every compressed byte with :meth:`feed`; ``complete``: the bytes so far are whole frames (at least one)."""

    def __init__(self) -> None:
        self._skip = 0
        self._header = b""
        self._step = self._frame_header
        self._checksum = 0
        self._frames = 0

    @property
    def complete(self) -> bool:
        return self._frames > 0 and not self._skip and not self._header and self._step == self._frame_header

    def feed(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                taken = min(self._skip, end - at)
                self._skip -= taken
                at += taken
                continue
            self._header += data[at : at + 1]
            at += 1
            self._step()

    def _frame_header(self) -> None:
        header = self._header
        if len(header) < 5:
            return
        magic = int.from_bytes(header[:4], "little")
        if magic & 0xFFFFFFF0 == _SKIPPABLE:
            if len(header) == 8:
                self._skip = int.from_bytes(header[4:], "little")
                self._next(self._frame_header)
                self._frames += 1
            return
        if magic != _MAGIC:
            raise CorruptArchive("a zstd stream has something else behind or instead of a frame")
        flags = header[4]
        single_segment = flags >> 5 & 1
        size = _CONTENT_SIZE[flags >> 6] or single_segment
        self._checksum = 4 if flags & 4 else 0
        self._skip = (1 - single_segment) + _DICTIONARY_ID[flags & 3] + size
        self._next(self._block_header)

    def _block_header(self) -> None:
        if len(self._header) < 3:
            return
        value = int.from_bytes(self._header, "little")
        last, kind, size = value & 1, value >> 1 & 3, value >> 3
        self._skip = 1 if kind == _RLE else size
        if last:
            self._skip += self._checksum
            self._frames += 1
        self._next(self._frame_header if last else self._block_header)

    def _next(self, step) -> None:  # type: ignore[no-untyped-def]
        self._header, self._step = b"", step
