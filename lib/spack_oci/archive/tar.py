# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Headers of tar members, byte for byte as Python's ``tarfile`` writes them (POSIX.1-2001 pax, the default since 3.8).

Spack's own packages are written by ``tarfile``, so equal members give equal diff IDs. Names are bytes, without a
leading slash. Everything that could differ between two machines is fixed: uid, gid and mtime are 0, and there are no
user or group names.
"""

from functools import lru_cache
from typing import List, Tuple

BLOCK = 512
#: ``tarfile`` fills the archive up to a multiple of this (20 blocks, as tar always did)
RECORD = 20 * BLOCK

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
DIRECTORY = b"5"
_PAX = b"x"

_NAME_LENGTH = 100
#: the largest size that eleven octal digits hold
_MAX_OCTAL_SIZE = 8**11 - 1

_ZEROS = bytes(RECORD)
#: uid and gid; size follows
_OWNER = b"0000000\0" * 2
_MTIME = b"00000000000\0"
_BLANK_CHECKSUM = b" " * 8
#: magic and version, no user, no group, no device, no name prefix
_TAIL = b"ustar\x0000" + bytes(32 + 32 + 8 + 8 + 155 + 12)
_CONSTANT_SUM = sum(_OWNER) + sum(_MTIME) + sum(_BLANK_CHECKSUM) + sum(_TAIL)


def header(name: bytes, kind: bytes, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    """The block or blocks in front of a member's content.

    ``kind``: REGULAR, HARD_LINK, SYMLINK or DIRECTORY (whose name gets a trailing slash); ``size``: of the content in
    bytes; ``link``: the target of a symbolic link, or the name of the member that a hard link repeats.
    """
    if kind == DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    records = _records(name, link, size)
    if not records:
        return _ustar(name, kind, mode, size, link)
    content = _pax_content(records)
    return b"".join(
        (
            _pax_header(len(content)),
            content,
            padding(len(content)),
            _ustar(_ascii(name), kind, mode, 0 if size > _MAX_OCTAL_SIZE else size, _ascii(link)),
        )
    )


def padding(size: int) -> bytes:
    """The zeros behind a content of ``size`` bytes."""
    return _ZEROS[: -size % BLOCK]


def end_of_archive(size: int) -> bytes:
    """What closes an archive whose members take ``size`` bytes: two empty blocks, filled up to a whole record."""
    return _ZEROS[: 2 * BLOCK] + _ZEROS[: -(size + 2 * BLOCK) % RECORD]


def _ustar(name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
    fields = b"%07o\0" % mode
    length = b"%011o\0" % size
    name, link = name[:_NAME_LENGTH], link[:_NAME_LENGTH]
    checksum = _CONSTANT_SUM + sum(name) + sum(fields) + sum(length) + kind[0] + sum(link)
    return b"%s%s%s%s%s%06o\0 %s%s%s" % (
        name.ljust(_NAME_LENGTH, b"\0"),
        fields,
        _OWNER,
        length,
        _MTIME,
        checksum,
        kind,
        link.ljust(_NAME_LENGTH, b"\0"),
        _TAIL,
    )


@lru_cache(maxsize=1024)
def _pax_header(size: int) -> bytes:
    return _ustar(b"././@PaxHeader", _PAX, 0, size, b"")


def _records(name: bytes, link: bytes, size: int) -> List[Tuple[bytes, bytes]]:
    """The pax records that the member needs: whatever does not fit into the ustar header."""
    records = []
    if len(name) > _NAME_LENGTH or not name.isascii():
        records.append((b"path", name))
    if len(link) > _NAME_LENGTH or not link.isascii():
        records.append((b"linkpath", link))
    if size > _MAX_OCTAL_SIZE:
        records.append((b"size", b"%d" % size))
    return records


def _pax_content(records: List[Tuple[bytes, bytes]]) -> bytes:
    lines = [_pax_record(keyword, value) for keyword, value in records]
    if not all(_is_utf8(value) for _, value in records):
        lines.insert(0, b"21 hdrcharset=BINARY\n")
    return b"".join(lines)


def _pax_record(keyword: bytes, value: bytes) -> bytes:
    """``LENGTH KEYWORD=VALUE\\n``, where the length counts its own digits (POSIX, pax, "Extended Header")."""
    rest = len(keyword) + len(value) + 3
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _ascii(value: bytes) -> bytes:
    """The fallback for readers without pax: one ``?`` for each character that is not ASCII."""
    return value if value.isascii() else value.decode("utf-8", "surrogateescape").encode("ascii", "replace")
