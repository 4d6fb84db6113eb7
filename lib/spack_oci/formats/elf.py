# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The few fields of an ELF file that relocation needs: RPATH or RUNPATH, the interpreter, and what is loaded.

This reader is for the thousands of files of an install and a push: it reads the headers and two strings, so that a
library of 100 MB costs as little as a small one (0.1 ms, where pyelftools takes 1 to 35 ms). Whoever reads few files
uses pyelftools, as ``image/needs/`` does; tests compare the two. A file that is no program or shared library, or
that is damaged, has no such fields, and all of it may be loaded. Source: System V ABI, chapters 4 and 5.
"""

import struct
from bisect import bisect_right
from typing import Callable, List, NamedTuple, Optional, Tuple

from .magic import ELF

_CLASS_64, _LITTLE_ENDIAN = 2, 1
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_STRTAB, _DT_STRSZ, _DT_RPATH, _DT_RUNPATH = _TAGS = 0, 5, 10, 15, 29
#: an interpreter path, an RPATH: nothing sane is longer
_MAX_STRING = 1 << 20
#: dynamic sections larger than this are not believed
_MAX_DYNAMIC = 1 << 20
#: nor are more program headers
_MAX_HEADERS = 4096

#: (offset, length) -> bytes, fewer at the end of the file
ReadAt = Callable[[int, int], bytes]
#: (start, end) in the file
Range = Tuple[int, int]


class StringField(NamedTuple):
    """A C string: where it is in the file, and its value without the NUL."""

    offset: int
    value: bytes

    def holds(self, offset: int) -> bool:
        return self.offset <= offset < self.offset + len(self.value)


class ElfPaths(NamedTuple):
    """RPATH or RUNPATH (a file has at most one of them that counts) and interpreter; None: there is none."""

    rpath: Optional[StringField] = None
    #: whether ``rpath`` is a RUNPATH
    is_runpath: bool = False
    interpreter: Optional[StringField] = None
    #: the parts of the file that are mapped when it runs, ascending and apart; None: not known, so perhaps all
    loaded: Optional[Tuple[Range, ...]] = None

    def is_loaded(self, offset: int) -> bool:
        if self.loaded is None:
            return True
        before = bisect_right(self.loaded, (offset, 1 << 64))
        return before > 0 and offset < self.loaded[before - 1][1]

    def is_fixed(self, offset: int) -> bool:
        """Whether a string at ``offset`` has to fit where it is.

        RPATH, RUNPATH and interpreter can be moved to the end of the file by a tool; what is not loaded (debug
        information) does not matter to a running program.
        """
        fields = (self.rpath, self.interpreter)
        return self.is_loaded(offset) and not any(field is not None and field.holds(offset) for field in fields)


class _Malformed(Exception):
    pass


class _Layout(NamedTuple):
    """The struct formats of one class and byte order, of those fields only that are used."""

    #: behind the identification: kind, offset of the program headers, their size and number
    header: struct.Struct
    #: kind, offset, address, size in the file
    program: struct.Struct
    #: tag, value
    dynamic: struct.Struct


def _layout(is_64: bool, order: str) -> _Layout:
    if is_64:
        formats = ("H14xQ14xHH", "L4xQQ8xQ16x", "qQ")
    else:
        formats = ("H10xL10xHH", "LLL4xL12x", "lL")
    return _Layout(*(struct.Struct(order + f) for f in formats))


_LAYOUTS = {(c, d): _layout(c == _CLASS_64, "<" if d == _LITTLE_ENDIAN else ">") for c in (1, 2) for d in (1, 2)}


def read_paths(read_at: ReadAt) -> ElfPaths:
    """What the file that ``read_at`` reads holds; an empty ElfPaths if it is malformed."""
    try:
        return _read_paths(read_at)
    except _Malformed:
        return ElfPaths()


def _read_paths(read_at: ReadAt) -> ElfPaths:
    ident = _exactly(read_at, 0, 16)
    layout = _LAYOUTS.get((ident[4], ident[5]))
    if ident[:4] != ELF or layout is None:
        raise _Malformed
    kind, table_offset, entry_size, count = layout.header.unpack(_exactly(read_at, 16, layout.header.size))
    if kind not in (_ET_EXEC, _ET_DYN) or entry_size != layout.program.size or count > _MAX_HEADERS:
        raise _Malformed
    #: (address, offset, size) of what is loaded
    loads: List[Tuple[int, int, int]] = []
    dynamic = interpreter = None
    for kind, offset, address, size in layout.program.iter_unpack(_exactly(read_at, table_offset, count * entry_size)):
        if not size:
            continue
        if kind == _PT_LOAD:
            loads.append((address, offset, size))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, size)
        elif kind == _PT_INTERP:
            interpreter = (offset, size)
    interpreter_field = _interpreter(read_at, *interpreter) if interpreter else None
    is_runpath, rpath = _rpath(read_at, layout, dynamic, loads) if dynamic and loads else (False, None)
    loaded = _merged([(offset, offset + size) for _, offset, size in loads])
    return ElfPaths(rpath, is_runpath, interpreter_field, loaded or None)


def _exactly(read_at: ReadAt, offset: int, length: int) -> bytes:
    data = read_at(offset, length) if offset < 1 << 62 else b""
    if len(data) != length:
        raise _Malformed
    return data


def _merged(ranges: List[Range]) -> Tuple[Range, ...]:
    result: List[Range] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)


def _interpreter(read_at: ReadAt, offset: int, size: int) -> StringField:
    if size > _MAX_STRING:
        raise _Malformed
    value, end, _ = _exactly(read_at, offset, size).partition(b"\0")
    if not end:
        raise _Malformed
    return StringField(offset, value)


def _rpath(
    read_at: ReadAt, layout: _Layout, dynamic: Tuple[int, int], loads: List[Tuple[int, int, int]]
) -> Tuple[bool, Optional[StringField]]:
    """(whether it is a RUNPATH, the string) of the one RPATH or RUNPATH of the dynamic section (offset, size)."""
    offset, size = dynamic
    if size > _MAX_DYNAMIC:
        raise _Malformed
    rpaths, tables, sizes = [], [], []
    data = read_at(offset, size - size % layout.dynamic.size)
    for tag, value in layout.dynamic.iter_unpack(data[: len(data) - len(data) % layout.dynamic.size]):
        if tag not in _TAGS:
            continue
        if tag == _DT_NULL:
            break
        if tag == _DT_STRTAB:
            tables.append(value)
        elif tag == _DT_STRSZ:
            sizes.append(value)
        else:
            rpaths.append((tag == _DT_RUNPATH, value))
    if not rpaths:
        return False, None
    if len(rpaths) > 1 or len(tables) != 1 or len(sizes) != 1:
        raise _Malformed
    is_runpath, string = rpaths[0]
    table = _file_offset(loads, tables[0], sizes[0])
    return is_runpath, _string_field(read_at, table + string, table + sizes[0])


def _file_offset(loads: List[Tuple[int, int, int]], address: int, length: int) -> int:
    """Where the ``length`` bytes at ``address`` are in the file; they have to be in one segment."""
    for start, offset, size in loads:
        if start <= address and address + length <= start + size:
            return offset + address - start
    raise _Malformed


def _string_field(read_at: ReadAt, start: int, end: int) -> StringField:
    value = b""
    while b"\0" not in value:
        length = min(4096, end - start - len(value))
        more = read_at(start + len(value), length) if length > 0 and len(value) < _MAX_STRING else b""
        if not more:
            raise _Malformed
        value += more
    return StringField(start, value[: value.index(b"\0")])
