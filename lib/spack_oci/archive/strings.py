# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which of the old prefixes in an ELF file can make room for a longer one.

RPATH, RUNPATH and the interpreter can be moved to the end of the file by a tool. What is not loaded (debug information)
does not matter to a running program. Every other string has to fit where it is.
"""

import struct
from typing import List, Sequence, Tuple

from ..formats.elf import ReadAt, read_paths

_PT_LOAD = 1
#: no sane file has more program headers
_MAX_HEADERS = 4096


def fixed_hits(read_at: ReadAt, hits: Sequence[int]) -> List[int]:
    """Those of ``hits`` (offsets of old prefixes) that cannot grow. Of a file that is no sound ELF file: all."""
    loaded = loaded_ranges(read_at)
    if not loaded:
        return list(hits)
    paths = read_paths(read_at)
    fields = [field for field in (paths.rpath, paths.interpreter) if field is not None]
    movable = [(field.offset, field.offset + len(field.value)) for field in fields]
    return [at for at in hits if _within(at, loaded) and not _within(at, movable)]


def loaded_ranges(read_at: ReadAt) -> List[Tuple[int, int]]:
    """The parts of the file that are mapped when it runs (System V ABI, chapter 5: PT_LOAD); none for objects."""
    ident = read_at(0, 64)
    if len(ident) < 52 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return []
    order = "<" if ident[5] == 1 else ">"
    if ident[4] == 2:
        (table,) = struct.unpack_from(order + "Q", ident, 32)
        size, count = struct.unpack_from(order + "HH", ident, 54)
        entry = struct.Struct(order + "LLQQQQQQ")
    else:
        (table,) = struct.unpack_from(order + "L", ident, 28)
        size, count = struct.unpack_from(order + "HH", ident, 42)
        entry = struct.Struct(order + "LLLLLLLL")
    if size != entry.size or not 0 < count <= _MAX_HEADERS or table >= 1 << 62:
        return []
    data = read_at(table, size * count)
    if len(data) < size * count:
        return []
    result = []
    for header in entry.iter_unpack(data):
        offset, length = (header[2], header[5]) if ident[4] == 2 else (header[1], header[4])
        if header[0] == _PT_LOAD and length:
            result.append((offset, offset + length))
    return result


def _within(at: int, ranges: Sequence[Tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in ranges)
