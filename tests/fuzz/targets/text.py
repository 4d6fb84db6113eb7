# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Text, compressed text, bytecode and C strings with old paths, against slow and obvious references."""

import gzip
import io
import py_compile
import re
import zlib
from pathlib import Path
from typing import List, Optional

from spack_oci.formats.file_kinds import is_gzip
from spack_oci.relocate import text
from spack_oci.relocate.cstring import relocate_strings
from spack_oci.relocate.mapping import PathMapping, PrefixMap
from spack_oci.relocate.other import gunzip, relocate_gzip, relocate_opaque, relocate_pyc_strings
from spack_oci.relocate.pyc import relocate_pyc
from spack_oci.relocate.text import relocate_large_text, relocate_text
from support.packages.layers import NO_LIMIT

PAIRS = {b"/ab/c": b"/x", b"/ab": b"/yy/zzzzz", b"/q/r": b"/r"}
MAPPING = PrefixMap(tuple(PathMapping(old, new, "h" if old == b"/ab/c" else None) for old, new in PAIRS.items()))
TOKENS = (b"/ab", b"/c", b"/q/r", b"/", b"a", b"-", b" ", b".", b"\xc3\xa9", b"_1", b"\n", b"\0", b":", b"\xff")
#: as Spack has it
_REFERENCE = re.compile(rb"(?<![\w\-_/])([\w\-_]*?)(" + b"|".join(map(re.escape, PAIRS)) + rb")([\w\-_/]*)")


def material(directory: Path) -> List[bytes]:
    plain = b"prefix=/ab/c\nlibs=-L/ab/c/lib -I/ab/x:/q/r /mnt/ab \n" * 20
    (directory / "m.py").write_text('X = "/ab/c/y"\ndef f(): return ("/ab", X)\n')
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(directory / "m.py"), str(directory / "m.pyc"), "/ab/c/m.py", invalidation_mode=mode)
    members = gzip.compress(plain) + gzip.compress(b"/ab/c")
    return [plain, (directory / "m.pyc").read_bytes(), members, b"\0/ab/c/share\0/ab\0x/ab/c\0" * 10]


def attempt(data: bytes, directory: Path) -> Optional[str]:
    expected = _REFERENCE.sub(lambda m: m.group(1) + PAIRS[m.group(2)] + m.group(3), data)
    new = relocate_text(data, MAPPING, NO_LIMIT)
    if (data if new is None else new) != expected:
        return "the text is not what Spack makes of it"
    for chunk in (7, 100):
        file, before, text.CHUNK = io.BytesIO(data), text.CHUNK, chunk
        try:
            relocate_large_text(file, MAPPING, NO_LIMIT)
        finally:
            text.CHUNK = before
        if file.getvalue() != expected:
            return f"in parts of {chunk} bytes it becomes something else"
    for patch in (*relocate_strings(data, MAPPING).patches, *relocate_opaque(data, MAPPING, lambda m: ()).patches):
        if not (patch.offset >= 0 and patch.offset + len(patch.data) <= len(data)):
            return f"{patch} is outside"
    return _compressed(data) or _bytecode(data)


def _compressed(data: bytes) -> Optional[str]:
    if not is_gzip(data):
        return None
    content, new = gunzip(data), relocate_gzip(data, MAPPING, NO_LIMIT)
    if new is None:
        return None
    if content is None:
        return "it was relocated, and cannot be unpacked"
    try:
        again = gzip.decompress(new)
    except (OSError, EOFError, zlib.error) as e:
        return f"what it became cannot be unpacked: {e}"
    return None if gunzip(new) == again else "two readers unpack different things"


def _bytecode(data: bytes) -> Optional[str]:
    """Python itself is no judge of damaged bytecode: loading it can end the process."""
    new = relocate_pyc_strings(data, MAPPING, NO_LIMIT)
    if new is None:
        return None
    expected = [relocate_text(string, MAPPING, NO_LIMIT) or string for string in _strings(data)]
    return None if _strings(new) == expected else "its strings are not those of the old one, relocated"


def _strings(data: bytes) -> List[bytes]:
    found: List[bytes] = []
    relocate_pyc(data, lambda string: found.append(bytes(string)))
    return found
