# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in compiled Python: strings of a marshal stream, which carry their length in front.

Nothing in a marshal stream refers to an offset, so a string may change its length. The stream is walked object by
object (Python 3.8 to 3.14; ``Python/marshal.c``) to find where strings begin; anything unknown leaves the file alone.
"""

import struct
from typing import Callable, List, Optional, Tuple

HEADER = 16  # PEP 552: magic, flags, and eight bytes of time and size or hash
_REF_FLAG = 0x80
_LONG = struct.Struct("<l")
#: length in four bytes: bytes, unicode, interned, ascii, interned ascii
_LONG_STRINGS = b"sutaA"
_SHORT_STRINGS = b"zZ"
_EMPTY = b"NTFS.0"
_FIXED = {ord("i"): 4, ord("g"): 8, ord("y"): 16, ord("r"): 4}
#: co_* of a code object: how many integers, then how objects ("o") and integers ("i") follow
_CODE_SHAPES = {"3.8": (6, "oooooooo" + "i" + "o"), "3.11": (5, "oooooooo" + "i" + "oo")}
#: magic numbers, see Lib/importlib/_bootstrap_external.py
_FIRST_MAGIC_38, _FIRST_MAGIC_311, _LAST_MAGIC = 3400, 3450, 3700
#: two calls each; marshal itself stops at 2000
_MAX_DEPTH = 200


class _Unknown(Exception):
    pass


def relocate_pyc(data: bytes, relocate: Callable[[bytes], Optional[bytes]]) -> Optional[bytes]:
    """``data`` with every string replaced by what ``relocate`` makes of it; None if nothing changes or is understood.

    ``relocate``: the new bytes of a string, or None if it stays.
    """
    magic = int.from_bytes(data[:2], "little")
    if len(data) < HEADER or data[2:4] != b"\r\n" or not _FIRST_MAGIC_38 <= magic <= _LAST_MAGIC:
        return None
    walker = _Walker(data, _CODE_SHAPES["3.11" if magic >= _FIRST_MAGIC_311 else "3.8"])
    try:
        end = walker.walk(HEADER)
    except (_Unknown, IndexError, struct.error, RecursionError):
        return None
    if end != len(data):
        return None
    pieces: List[bytes] = []
    copied = 0
    for start, text_start, text_end in walker.strings:
        new = relocate(data[text_start:text_end])
        if new is not None:
            pieces += [data[copied:start], _string(data[start], new)]
            copied = text_end
    return b"".join([*pieces, data[copied:]]) if pieces else None


def _string(kind: int, text: bytes) -> bytes:
    """The object with a length in front; a short one that grows too long becomes a long one."""
    flag, plain = kind & _REF_FLAG, kind & ~_REF_FLAG
    if plain in _SHORT_STRINGS:
        if len(text) < 256:
            return bytes((kind, len(text))) + text
        plain = ord("a") if plain == ord("z") else ord("A")
    return bytes((plain | flag,)) + _LONG.pack(len(text)) + text


class _Walker:
    def __init__(self, data: bytes, code_shape: Tuple[int, str]) -> None:
        self._data = data
        self._code_shape = code_shape
        #: (start of the object, start of the text, end of the text)
        self.strings: List[Tuple[int, int, int]] = []

    def walk(self, at: int, depth: int = 0) -> int:
        """Pass the object at ``at``; returns where the next one begins."""
        if depth > _MAX_DEPTH:
            raise _Unknown
        kind = self._data[at] & ~_REF_FLAG
        start, at = at, at + 1
        if kind in _EMPTY:
            return at
        if kind in _FIXED:
            return self._inside(at + _FIXED[kind])
        if kind in _LONG_STRINGS or kind in _SHORT_STRINGS:
            length, at = self._length(at, kind in _SHORT_STRINGS)
            self.strings.append((start, at, self._inside(at + length)))
            return at + length
        if kind in b"fx":  # floats as text; marshal version 1
            raise _Unknown
        if kind == ord("l"):  # a long: its sign is that of the number of its 15-bit digits
            count = abs(_LONG.unpack_from(self._data, at)[0])
            return self._inside(at + 4 + 2 * count)
        if kind in b"()[<>":
            count, at = self._length(at, kind == ord(")"))
            return self._objects(at, count, depth)
        if kind == ord("{"):
            while self._data[at] != ord("0"):
                at = self.walk(self.walk(at, depth + 1), depth + 1)
            return at + 1
        if kind == ord(":"):  # a slice, 3.14
            return self._objects(at, 3, depth)
        if kind == ord("c"):
            return self._code(at, depth)
        raise _Unknown

    def _length(self, at: int, is_short: bool) -> Tuple[int, int]:
        if is_short:
            return self._data[at], at + 1
        length = _LONG.unpack_from(self._data, at)[0]
        if not 0 <= length <= len(self._data):
            raise _Unknown
        return length, at + 4

    def _objects(self, at: int, count: int, depth: int) -> int:
        for _ in range(count):
            at = self.walk(at, depth + 1)
        return at

    def _code(self, at: int, depth: int) -> int:
        integers, shape = self._code_shape
        at += 4 * integers
        for item in shape:
            at = self.walk(at, depth + 1) if item == "o" else at + 4
        return self._inside(at)

    def _inside(self, at: int) -> int:
        if at > len(self._data):
            raise _Unknown
        return at
