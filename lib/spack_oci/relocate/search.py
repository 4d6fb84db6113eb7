# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Finding a byte string in many megabytes: the C library's ``memmem`` where it is known to be fast, else Python.

glibc and musl search two to three times as fast as ``bytes.find``, and without holding Python's global lock.
"""

import ctypes
import sys
from typing import Any, Callable, List, Optional, Tuple, Union

from ..formats.magic import Buffer

#: a memoryview is of bytes that can be written
View = Union[Buffer, memoryview]

#: bytes below which the call costs more than it saves
_SMALL = 16 << 10


def _load() -> Optional[Callable[..., Any]]:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None).memmem
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return function


_memmem = _load()


def find(data: Buffer, needle: bytes, start: int = 0) -> int:
    """``data.find(needle, start)``, ``start`` not negative."""
    size = len(data) - start
    if _memmem is None or size < _SMALL or not needle:
        return data.find(needle, start)
    begin, held = _address(data)
    found = _memmem(begin + start, size, needle, len(needle))
    return -1 if found is None else found - begin


def find_all(data: View, needle: bytes) -> List[int]:
    """Where ``needle`` (not empty) begins in ``data``, overlapping ones too, from the left."""
    result: List[int] = []
    if _memmem is None or len(data) < _SMALL:
        searched = bytes(data) if isinstance(data, memoryview) else data
        at = searched.find(needle)
        while at >= 0:
            result.append(at)
            at = searched.find(needle, at + 1)
        return result
    begin, held = _address(data)
    end = begin + len(data)
    found = _memmem(begin, len(data), needle, len(needle))
    while found is not None:
        result.append(found - begin)
        found = _memmem(found + 1, end - found - 1, needle, len(needle))
    return result


def _address(data: View) -> Tuple[int, object]:
    """The address, which is valid as long as the second value lives."""
    if isinstance(data, bytes):
        return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0, data
    held = ctypes.c_char.from_buffer(data)
    return ctypes.addressof(held), held
