# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The few fields of an ELF file that hold paths on their own: RPATH or RUNPATH, and the interpreter.

Only what is needed is read (the headers and two strings), so that a library of 100 MB costs as little as a small one.
A file that is not a program or shared library, or that is damaged, has no such fields; its strings are then
treated like all others. Source: System V ABI, chapters 4 and 5; tests compare with pyelftools.
"""

import struct
from dataclasses import dataclass
from typing import Callable, List, NamedTuple, Optional, Tuple

MAGIC = b"\x7fELF"

_CLASS_64, _LITTLE_ENDIAN = 2, 1
_ET_EXEC, _ET_DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = _TAGS = 0, 5, 15, 29
_SHT_STRTAB = 3
#: an interpreter path, an RPATH: nothing sane is longer
_MAX_STRING = 1 << 20
#: dynamic sections larger than this are not believed
_MAX_DYNAMIC = 1 << 20

#: (offset, length) -> bytes, fewer at the end of the file
ReadAt = Callable[[int, int], bytes]


class StringField(NamedTuple):
    """A C string: where it is in the file, and its value without the NUL."""

    offset: int
    value: bytes


@dataclass(frozen=True)
class ElfPaths:
    """RPATH or RUNPATH (a file has at most one of them that counts) and interpreter; None: there is none."""

    rpath: Optional[StringField] = None
    #: whether ``rpath`` is a RUNPATH
    is_runpath: bool = False
    interpreter: Optional[StringField] = None
    #: (start, end) of the parts of the file that are mapped when it runs; None: not known, so perhaps all
    loaded: Optional[Tuple[Tuple[int, int], ...]] = None

    def is_loaded(self, offset: int) -> bool:
        return self.loaded is None or any(start <= offset < end for start, end in self.loaded)


class _Malformed(Exception):
    pass


class _Layout(NamedTuple):
    """The struct formats of one class and byte order, of those fields only that are used."""

    #: behind the identification: kind, offsets of the program and section headers, their numbers
    header: struct.Struct
    #: kind, offset, address, size in the file
    program: struct.Struct
    #: kind, offset, size
    section: struct.Struct
    #: tag, value
    dynamic: struct.Struct


def _layout(is_64: bool, order: str) -> _Layout:
    if is_64:
        formats = ("H14xQQ8xH2xH2x", "L4xQQ8xQ16x", "4xL16xQQ24x", "qQ")
    else:
        formats = ("H10xLL8xH2xH2x", "LLL4xL12x", "4xL8xLL16x", "lL")
    return _Layout(*(struct.Struct(order + f) for f in formats))


_LAYOUTS = {(c, d): _layout(c == _CLASS_64, "<" if d == _LITTLE_ENDIAN else ">") for c in (1, 2) for d in (1, 2)}


def read_paths(read_at: ReadAt) -> ElfPaths:
    """RPATH and interpreter of the file that ``read_at`` reads; an empty ElfPaths if it has none or is malformed."""
    try:
        return _read_paths(read_at)
    except _Malformed:
        return ElfPaths()


def _read_paths(read_at: ReadAt) -> ElfPaths:
    ident = _exactly(read_at, 0, 16)
    layout = _LAYOUTS.get((ident[4], ident[5]))
    if ident[:4] != MAGIC or layout is None:
        raise _Malformed
    header = layout.header.unpack(_exactly(read_at, 16, layout.header.size))
    kind, program_offset, section_offset, program_count, section_count = header
    if kind not in (_ET_EXEC, _ET_DYN):
        raise _Malformed
    loads: List[Tuple[int, int]] = []
    loaded: List[Tuple[int, int]] = []
    dynamic = interpreter = None
    table = _exactly(read_at, program_offset, program_count * layout.program.size)
    for kind, offset, address, size in layout.program.iter_unpack(table):
        if not size:
            continue
        if kind == _PT_LOAD:
            loads.append((address, offset))
            loaded.append((offset, offset + size))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, size)
        elif kind == _PT_INTERP:
            interpreter = (offset, size)
    interpreter_field = _interpreter(read_at, *interpreter) if interpreter else None
    rpath = None
    is_runpath = False
    if dynamic and loads:
        found = _rpath_in_table(read_at, layout, *dynamic)
        if found:
            is_runpath, string, table_address = found
            table_offset = _file_offset(loads, table_address)
            table_size = _string_table_size(read_at, layout, section_offset, section_count, table_offset)
            rpath = _string_field(read_at, table_offset + string, table_offset + table_size)
    return ElfPaths(rpath, is_runpath, interpreter_field, tuple(loaded) or None)


def _exactly(read_at: ReadAt, offset: int, length: int) -> bytes:
    data = read_at(offset, length) if offset < 1 << 62 else b""
    if len(data) != length:
        raise _Malformed
    return data


def _interpreter(read_at: ReadAt, offset: int, size: int) -> StringField:
    if size > _MAX_STRING:
        raise _Malformed
    value, end, _ = _exactly(read_at, offset, size).partition(b"\0")
    if not end:
        raise _Malformed
    return StringField(offset, value)


def _rpath_in_table(read_at: ReadAt, layout: _Layout, offset: int, size: int) -> Optional[Tuple[bool, int, int]]:
    """(is RUNPATH, offset in the string table, address of the string table) of the one RPATH or RUNPATH, or None."""
    if size > _MAX_DYNAMIC:
        raise _Malformed
    rpaths, tables = [], []
    data = read_at(offset, size - size % layout.dynamic.size)
    for tag, value in layout.dynamic.iter_unpack(data[: len(data) - len(data) % layout.dynamic.size]):
        if tag not in _TAGS:
            continue
        if tag == _DT_NULL:
            break
        if tag == _DT_STRTAB:
            tables.append(value)
        else:
            rpaths.append((tag == _DT_RUNPATH, value))
    if not rpaths:
        return None
    if len(rpaths) > 1 or len(tables) != 1:
        raise _Malformed
    return (*rpaths[0], tables[0])


def _file_offset(loads: List[Tuple[int, int]], address: int) -> int:
    below = [load for load in loads if load[0] <= address]
    if not below:
        raise _Malformed
    start, offset = max(below)
    return offset + address - start


def _string_table_size(read_at: ReadAt, layout: _Layout, offset: int, count: int, table_offset: int) -> int:
    table = _exactly(read_at, offset, count * layout.section.size)
    for kind, start, size in layout.section.iter_unpack(table):
        if kind == _SHT_STRTAB and start == table_offset:
            return size
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
