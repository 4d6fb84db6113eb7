# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that Spack does not relocate, although they hold old paths; see ``formats/file_kinds.py``."""

import re
import zlib
from typing import List, Optional

from ..formats import magic
from .binary import BinaryChanges
from .cstring import OtherNames, Patch, relocate_strings
from .mapping import PrefixMap
from .pyc import relocate_pyc
from .text import GrowthLimit, relocate_text

#: bytes that a gzip member may unpack to
_MAX_TEXT = 32 << 20
#: every member has the rest of the file copied once
_MAX_MEMBERS = 1000
#: what a string in a file of unknown format may consist of: printable ASCII and UTF-8
_PRINTABLE = re.compile(rb"[\x20-\x7e\x80-\xff]*")
_MAX_STRING = 4096
_FIRST_LINES = re.compile(rb"(?:#![^\n]{0,4096}\n){0,2}")
#: RFC 1952: flags that announce a CRC of the header, extra fields, a name, a comment
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16


def relocate_opaque(data: bytes, mapping: PrefixMap, other_names: OtherNames) -> BinaryChanges:
    """Changes for a file of unknown format: only whole strings, in front of a NUL, and only by equally long ones."""
    strings = relocate_strings(data, mapping, other_names)
    patches = [
        Patch(at, new)
        for at, new in strings.patches
        if _is_whole_string(data, at) and new[-1:] != b"\0" and mapping.match(data, at) is not None
    ]
    return BinaryChanges(patches, [])


def _is_whole_string(data: bytes, at: int) -> bool:
    if at > 0 and data[at - 1] != 0:
        return False
    end = _PRINTABLE.match(data, at, at + _MAX_STRING).end()  # type: ignore[union-attr]
    return data[end : end + 1] == b"\0"


def relocate_first_lines(data: bytes, mapping: PrefixMap, growth: GrowthLimit) -> Optional[bytes]:
    """The lines that name an interpreter: one, or that of ``sbang`` and one. What is behind them may move: a zip is
    read from its end. None if nothing changes."""
    end = _FIRST_LINES.match(data).end()  # type: ignore[union-attr]
    new = relocate_text(data[:end], mapping, growth)
    return None if new is None else new + data[end:]


def relocate_pyc_strings(data: bytes, mapping: PrefixMap, growth: GrowthLimit) -> Optional[bytes]:
    return relocate_pyc(data, lambda text: relocate_text(text, mapping, growth) if mapping.occurs(text) else None)


def gunzip(data: bytes) -> Optional[bytes]:
    """What all members of ``data`` hold; None if it is damaged or unpacks to more than 32 MiB."""
    members = _members(data)
    return None if members is None else b"".join(content for _, content in members)


def relocate_gzip(data: bytes, mapping: PrefixMap, growth: GrowthLimit) -> Optional[bytes]:
    """The text in every member relocated; headers (time, name, comment) stay. None if nothing changes."""
    members = _members(data)
    if members is None or not any(mapping.occurs(content) for _, content in members):
        return None
    result = []
    changed = False
    for header, content in members:
        new = None if b"\0" in content else relocate_text(content, mapping, growth)
        changed = changed or new is not None
        result.append(header + _deflate(content if new is None else new))
    return b"".join(result) if changed else None


def _deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = compressor.compress(content) + compressor.flush()
    return body + zlib.crc32(content).to_bytes(4, "little") + (len(content) & 0xFFFFFFFF).to_bytes(4, "little")


def _members(data: bytes) -> Optional[List[tuple]]:
    """(header, content) of each member; None if something is wrong, too large or too many."""
    result: List[tuple] = []
    total = 0
    while data:
        header = _header_length(data)
        if header is None:
            # zeros behind the last member are allowed, and dropped
            return result if result and not data.strip(b"\0") else None
        inflater = zlib.decompressobj(31)
        try:
            content = inflater.decompress(data, _MAX_TEXT - total + 1)
        except zlib.error:
            return None
        total += len(content)
        if total > _MAX_TEXT or not inflater.eof or len(result) == _MAX_MEMBERS:
            return None
        result.append((_without_checksum(data[:header]), content))
        data = inflater.unused_data
    return result


def _header_length(data: bytes) -> Optional[int]:
    if len(data) < 18 or not data.startswith(magic.GZIP):
        return None
    flags, at = data[3], 10
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            at = data.find(b"\0", at) + 1
            if at == 0:
                return None
    if flags & _FHCRC:
        at += 2
    return at if at < len(data) else None


def _without_checksum(header: bytes) -> bytes:
    if not header[3] & _FHCRC:
        return header
    return header[:3] + bytes((header[3] & ~_FHCRC,)) + header[4:-2]
