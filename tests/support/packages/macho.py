# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Small Mach-O files, as far as their headers matter (``mach-o/loader.h``)."""

import struct
from typing import List, Sequence

_MAGIC_64 = 0xFEEDFACF
_CPU_ARM64 = 0x0100000C
_MH_DYLIB = 6
_LC_ID_DYLIB, _LC_LOAD_DYLIB, _LC_RPATH = 0xD, 0xC, 0x8000001C


def dylib(identity: str, libraries: Sequence[str], rpaths: Sequence[str], strings: Sequence[str] = ()) -> bytes:
    """A library of 64 bits for arm64; ``strings``: what its code refers to."""
    commands = [_command(_LC_ID_DYLIB, identity, True)]
    commands += [_command(_LC_LOAD_DYLIB, library, True) for library in libraries]
    commands += [_command(_LC_RPATH, rpath, False) for rpath in rpaths]
    size = sum(map(len, commands))
    header = struct.pack("<8L", _MAGIC_64, _CPU_ARM64, 0, _MH_DYLIB, len(commands), size, 0, 0)
    pad = bytes(512)  # what -headerpad_max_install_names leaves
    return header + b"".join(commands) + pad + b"".join(text.encode() + b"\0" for text in strings)


def _command(kind: int, path: str, is_library: bool) -> bytes:
    """struct dylib_command, or rpath_command: sizes are multiples of eight."""
    fixed: List[int] = [2, 0x10000, 0x10000] if is_library else []  # time stamp, versions
    begin = 12 + 4 * len(fixed)
    text = path.encode() + b"\0"
    text = text.ljust(-(-(begin + len(text)) // 8) * 8 - begin, b"\0")
    return struct.pack(f"<{3 + len(fixed)}L", kind, begin + len(text), begin, *fixed) + text
