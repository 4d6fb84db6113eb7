# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""ELF files: what relocation does to them stays within them, and is the same in memory and in parts from the disk.

Where pyelftools reads a damaged file without complaint and ours finds a path in it, both find the same.
"""

import io
import subprocess
from pathlib import Path
from typing import List, Optional

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from spack_oci.formats.elf import read_paths
from spack_oci.relocate.binary import apply, relocate_at, relocate_bytes
from spack_oci.relocate.mapping import PathMapping, PrefixMap

OLD = b"/old/store/linux/zlib-1.3-abcdefghijklmnopqrstuvwxyz234567"
OTHER = b"/old/store/linux/other-1.3-765432zyxwvutsrqponmlkjihgfedcba"
MAPPING = PrefixMap(
    (
        PathMapping(
            OTHER, b"/a/store/that/is/longer/than/the/old/one/linux/other-1.3-765432zyxwvutsrqponmlkj", "other"
        ),
        PathMapping(OLD, b"/n/zlib", "zlib"),
        PathMapping(b"/old/store", b"/new", None),
    )
)
TOKENS = (
    *(
        OLD,
        OTHER,
        b"/old/store",
        b"\0",
        b":",
        b"/",
        b"\x7fELF\2\1\1",
        b"\x7fELF\1\2\1",
        b"\xff" * 8,
        b"\xff" * 4,
        b"\0" * 8,
    ),
    *(number.to_bytes(8, "little") for number in (0, 1, 2, 3, 5, 10, 15, 29, 1 << 20, 1 << 31, 1 << 62, 1 << 63)),
)


def material(directory: Path) -> List[bytes]:
    (directory / "m.c").write_text(
        f'#include <stdio.h>\nint main(void) {{ return puts("{OLD.decode()}/share") < 0; }}\n'
    )
    rpath = b":".join((OLD + b"/lib", b"$ORIGIN/../lib", OTHER + b"/lib64")).decode()
    options = {
        "program": ["-s", f"-Wl,-rpath,{rpath}", f"-Wl,--dynamic-linker,{OLD.decode()}/ld.so"],
        "old": [f"-Wl,-rpath,{rpath},--disable-new-dtags", "-g"],
        "library": ["-shared", "-fPIC"],
        "object": ["-c"],
    }
    for name, arguments in options.items():
        subprocess.run(
            ["cc", "m.c", "-o", name, "-s" if name == "program" else "-O0", *arguments], cwd=directory, check=True
        )
    return [(directory / name).read_bytes() for name in options]


def attempt(data: bytes, directory: Path) -> Optional[str]:
    changes = relocate_bytes(data, MAPPING)
    whole = apply(data, changes.patches)
    if len(whole) != len(data):
        return f"it has {len(whole)} bytes when it is relocated"

    def read_into(at: int, view: memoryview) -> int:
        part = data[at : at + len(view)]
        view[: len(part)] = part
        return len(part)

    for part in (61, 4096):
        if len(data) > 200 * part:
            continue
        other = relocate_at(read_into, MAPPING, part=part)
        if apply(data, other.patches) != whole:
            return f"in parts of {part} bytes it becomes something else"
    paths = read_paths(lambda offset, length: data[offset : offset + length])
    for field in (paths.rpath, paths.interpreter):
        if field is not None and data[field.offset : field.offset + len(field.value) + 1] != field.value + b"\0":
            return f"{field} is not there"
    return _against_pyelftools(data, paths)


def _against_pyelftools(data: bytes, paths) -> Optional[str]:  # type: ignore[no-untyped-def]
    try:
        file = ELFFile(io.BytesIO(data))
        segments = [segment for segment in file.iter_segments() if segment.header.p_type == "PT_INTERP"]
        found = [data[s.header.p_offset :].split(b"\0")[0] for s in segments]
    except (
        ELFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        UnicodeDecodeError,
        AssertionError,
    ):
        return None
    if paths.interpreter is not None and found and paths.interpreter.value not in found:
        return f"the interpreter is {found}, not {paths.interpreter.value!r}"
    return None
