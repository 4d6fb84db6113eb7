# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What kind of file holds an old path, and so how it has to be rewritten.

``.spack/binary_distribution`` lists text files and binaries (ELF, Mach-O). Spack leaves everything else as it is, and
so wrong: compressed man pages, compiled terminfo entries, static archives, text in encodings other than UTF-8. The
kinds here are for these; a file that fits none of them stays untouched.
"""

import re
from typing import Container, Optional, Tuple

from . import magic

TEXT = "text"
#: ELF and Mach-O
BINARY = "binary"
#: C strings, any of which may be a path: static archives, compiled terminfo
STRINGS = "strings"
#: some other binary: whole strings that end with NUL are replaced by equally long ones, the rest is left alone
OPAQUE = "opaque"
#: the same behind lines of text that name an interpreter, such as a zip that Python runs
SCRIPT = "script"
#: one or more gzip members of text
GZIP = "gzip"
#: compiled Python that is not checked against its source
PYC = "pyc"

#: larger compressed files are data
MAX_GZIP = 1 << 20

#: no text in any encoding that contains ASCII has these; ESC and the like do occur
_NOT_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_PYC_SUFFIX = b".pyc"
#: PEP 552: hash-based and not checked, so that the source does not matter
_UNCHECKED_HASH = 0b01


def is_gzip(data: bytes) -> bool:
    return data.startswith(magic.GZIP) and len(data) <= MAX_GZIP


def unlisted_kind(name: str, data: bytes) -> Optional[str]:
    """The kind of a file that holds an old path and is in no list; None: leave it.

    ``data``: the file, or its beginning if it is large.
    """
    if magic.is_elf(data):
        return BINARY
    if data.startswith(magic.AR) or (data.startswith(magic.TERMINFO) and "terminfo" in name):
        return STRINGS
    if name.endswith(".pyc"):
        return PYC
    if is_gzip(data):
        return GZIP
    if data.startswith((*magic.SEALED, magic.GZIP)):
        return None
    if not _NOT_TEXT.search(data):
        return TEXT
    return SCRIPT if data.startswith(b"#!") else OPAQUE


def is_checked_pyc(name: bytes, head: bytes, files: Container[bytes]) -> bool:
    """True for compiled Python that is never used without a look at its source, which is one of ``files``.

    Such files hold old paths only as names of their source, which Python puts right on import (``_fix_co_filename``);
    and a source that holds a path gets another text and another time, so that it is compiled anew.
    ``head``: the first eight bytes.
    """
    if not name.endswith(_PYC_SUFFIX) or len(head) < 8:
        return False
    if int.from_bytes(head[4:8], "little") & 0b11 == _UNCHECKED_HASH:
        return False
    return _source_of_pyc(name) in files


def compiled_from(name: bytes, head: bytes) -> Optional[Tuple[bytes, int]]:
    """Of compiled Python that is checked by the time of its source (PEP 552): name and time of that source.

    ``head``: the first twelve bytes.
    """
    if not name.endswith(_PYC_SUFFIX) or len(head) < 12 or any(head[4:8]):
        return None
    return _source_of_pyc(name), int.from_bytes(head[8:12], "little")


def _source_of_pyc(name: bytes) -> bytes:
    directory, _, base = name.rpartition(b"/")
    if directory.endswith(b"/__pycache__"):
        directory = directory[: -len(b"/__pycache__")]
    return directory + b"/" + base.split(b".")[0] + b".py"
