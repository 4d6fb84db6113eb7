# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The first bytes that tell file formats apart, and Spack's rule for what is text."""

import codecs
import re
from typing import Union

Buffer = Union[bytes, bytearray]

#: Spack takes nothing shorter than this for text or for a binary
MIN_SIZE = 8

ELF = b"\x7fELF"
#: Mach-O of 64 and 32 bits, both byte orders
MACHO = (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xce")
#: RFC 1952, with the only compression method that exists
GZIP = b"\x1f\x8b\x08"
ZSTD = b"\x28\xb5\x2f\xfd"
AR = b"!<arch>\n"
#: term(5): legacy and 32-bit number formats
TERMINFO = (b"\x1a\x01", b"\x1e\x02")
#: formats whose content is covered by a checksum, or is compressed
SEALED = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf", b"Rar!", b"MSCF", b"\xfd7zXZ", b"BZh", ZSTD, b"\x1f\x9d"),
    *(b"\x89PNG", b"%PDF", b"SQLite format 3", b"hsqs"),
)

_NOT_LATIN1_TEXT = re.compile(b"[\x00\x7f-\x9f]")


def is_elf(magic: Buffer) -> bool:
    return magic.startswith(ELF)


def is_macho(magic: Buffer) -> bool:
    """Fat files share their magic with Java classes; these have a version of 45 or more where those count slices."""
    head = bytes(magic[:4])
    if head in MACHO:
        return True
    if head == b"\xca\xfe\xba\xbe":
        return int.from_bytes(magic[4:8], "big") < 10
    return head == b"\xbe\xba\xfe\xca" and int.from_bytes(magic[4:8], "little") < 10


def is_binary(magic: Buffer) -> bool:
    """``magic``: the first 8 bytes of a file."""
    return len(magic) >= MIN_SIZE and (is_elf(magic) or is_macho(magic))


def is_latin1_text(data: Union[Buffer, memoryview]) -> bool:
    """Whether there are no control characters of ISO 8859-1 in ``data``."""
    return not _NOT_LATIN1_TEXT.search(data)


def is_text(data: Union[Buffer, memoryview]) -> bool:
    """Spack's rule for a whole file: UTF-8, or ISO 8859-1 without control characters."""
    if len(data) < MIN_SIZE:
        return False
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return is_latin1_text(data)
    return True
