# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writing files: everything that is given, and long runs of zeros as holes, which take no space on the disk."""

import os
from typing import Union

Data = Union[bytes, bytearray, memoryview]

#: zeros of at least this length, at a multiple of it in what is written at a time, become a hole
HOLE = 64 << 10
_ZEROS = bytes(HOLE)


def write_all(descriptor: int, data: Data) -> None:
    """All of ``data``, however much of it the file system takes at a time."""
    written = os.write(descriptor, data) if data else 0
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(descriptor, data)


class SparseWriter:
    """Writes a file from front to end; :meth:`finish` gives it its length, should it end with a hole."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = 0
        self._ends_with_hole = False

    def write(self, data: Data) -> None:
        if len(data) < HOLE:
            return self._write(data)
        view = memoryview(data)
        start = 0
        for at in range(0, len(view) - HOLE + 1, HOLE):
            if _is_hole(view, at):
                self._write(view[start:at])
                self._skip(HOLE)
                start = at + HOLE
        return self._write(view[start:])

    def _write(self, data: Data) -> None:
        if data:
            write_all(self._descriptor, data)
            self._size += len(data)
            self._ends_with_hole = False

    def _skip(self, count: int) -> None:
        os.lseek(self._descriptor, count, os.SEEK_CUR)
        self._size += count
        self._ends_with_hole = True

    def finish(self) -> None:
        if self._ends_with_hole:
            os.ftruncate(self._descriptor, self._size)


def _is_hole(view: memoryview, at: int) -> bool:
    # a look at single bytes spares most files the comparison
    if view[at] or view[at + HOLE - 1] or view[at + HOLE // 2]:
        return False
    return view[at : at + HOLE].tobytes() == _ZEROS
