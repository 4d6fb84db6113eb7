# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reads a tar stream once, from front to end, without seeking and mostly without copying.

Formats: POSIX ustar and pax, GNU long names and base-256 numbers: what Python's tarfile, GNU tar and libarchive write.
Everything else is refused, not guessed: sparse members, continued volumes, unknown types, two names for a member, a
damaged header. Layers of images are read as by Go's archive/tar, which engines read them with (``lenient``). Names
are bytes. Nothing is checked here that depends on where the members go; see ``unpack``.
"""

import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple
from zlib import adler32

from ..errors import CorruptArchive, UnsafeArchive

BLOCK = 512

FILE, HARD_LINK, SYMLINK, DIRECTORY, SPARSE = b"0", b"1", b"2", b"5", b"S"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARD_LINK, b"2": SYMLINK, b"5": DIRECTORY}
_SUPPORTED = frozenset(_KINDS.values())
_SPECIAL = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe"}
_WITHOUT_CONTENT = frozenset({HARD_LINK, SYMLINK, DIRECTORY, *_SPECIAL})
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
#: the values of others are any bytes
_PAX_TEXTS = (b"path", b"linkpath", b"uname", b"gname")

#: PATH_MAX of Linux is 4096; names and links beyond this are an attack on memory, not names
MAX_NAME = 16 << 10
#: a pax header may hold two such names and a few numbers
_MAX_EXTENSION = 4 * MAX_NAME
#: and extended attributes, in layers that others write; Go's limit
_MAX_LENIENT_EXTENSION = 1 << 20

#: eleven octal digits, the year 2242; a time beyond it is no time
_MAX_TIME = 8**11 - 1

#: name, mode, uid, gid, size, mtime, checksum, type, link name, magic (with version), (users, devices), name prefix,
#: star's trailer
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s80s155s8x4s")
#: where GNU says that a map of holes goes on in the next block: in a header, and in such a block
_MORE_IN_HEADER, _MORE_IN_MAP = 482, 504
_ZERO_BLOCK = bytes(BLOCK)
_NOTHING: Dict[bytes, bytes] = {}


class TarMember(NamedTuple):
    """``name`` and ``link`` without what may be behind a NUL; ``mode``: 12 bits; ``size`` in bytes; ``mtime`` in s.

    ``uid`` and ``gid`` are read in lenient mode only; packages have no owners.
    """

    name: bytes
    kind: bytes
    mode: int
    size: int
    mtime: int
    link: bytes
    uid: int = 0
    gid: int = 0


class Piece(NamedTuple):
    """``data[start:end]`` is content; ``data`` is the reader's own buffer and must not be changed."""

    data: bytes
    start: int
    end: int


class TarReader:
    """Iterate for the members; between two of them, :meth:`pieces` or :meth:`content` give the content.

    ``read``: returns the next bytes of the stream, of any length, and b"" at its end. ``max_size``: bytes of the stream
    after which it is refused as a decompression bomb. ``lenient``: as Go's archive/tar. Members of every kind are given
    (of SPARSE ones what is stored), the last of several extended headers counts, global ones do not; the blocks of
    zeros at the end and the padding before it may be missing, and what follows it is not read. Raises CorruptArchive,
    UnsafeArchive, and what ``read`` raises.
    """

    def __init__(self, read: Callable[[], bytes], max_size: Optional[int] = None, *, lenient: bool = False) -> None:
        self._read = read
        self._max_size = max_size
        self._lenient = lenient
        self._buffer = b""
        self._at = 0
        #: bytes of the stream that were read
        self.size = 0
        #: where the members end and the end of the archive begins; None until it was reached
        self.end: Optional[int] = None
        self._content_left = 0
        self._padding = 0
        self._globals: Dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[TarMember]:
        while True:
            if not self._lenient:
                self._skip(self._content_left + self._padding)
            elif self._ends_behind_member():
                return
            self._content_left = self._padding = 0
            member = self._next()
            if member is None:
                self._finish_leniently() if self._lenient else self._finish()
                return
            self._content_left = member.size
            self._padding = -member.size % BLOCK
            yield member

    @property
    def position(self) -> int:
        """Bytes of the stream up to where the reader is: after a member was handed out, the start of its content."""
        return self.size - (len(self._buffer) - self._at)

    def pieces(self) -> Iterator[Piece]:
        """The content that is left of the current member."""
        while self._content_left:
            if self._at == len(self._buffer):
                self._more()
            start = self._at
            end = min(len(self._buffer), start + self._content_left)
            self._at = end
            self._content_left -= end - start
            yield Piece(self._buffer, start, end)

    def content(self) -> bytes:
        """The content that is left of the current member, in one piece."""
        if self._at + self._content_left <= len(self._buffer):
            start, self._at = self._at, self._at + self._content_left
            self._content_left = 0
            return self._buffer[start : self._at]
        return b"".join([data[start:end] for data, start, end in self.pieces()])

    def _next(self) -> Optional[TarMember]:
        pax = gnu = _NOTHING
        while True:
            block = self._take(BLOCK)
            if block == _ZERO_BLOCK:
                self.end = self.position - BLOCK
                return None
            fields = _HEADER.unpack(block)
            _verify_checksum(block, fields[6])
            kind, size = fields[7], _number(fields[4], "size")
            if kind == _PAX_GLOBAL:
                self._add_globals(self._extension(size))
            elif kind == _PAX:
                self._only_one(pax or gnu)
                pax = dict(_pax_records(self._extension(size)))
            elif kind in (_GNU_NAME, _GNU_LINK):
                keyword = b"path" if kind == _GNU_NAME else b"linkpath"
                self._only_one(pax or keyword in gnu)
                gnu = {**gnu, keyword: self._extension(size).partition(b"\0")[0]}
            elif self._lenient:
                return self._lenient_member(block, fields, size, {**pax, **gnu})
            else:
                return _member(fields, kind, size, {**self._globals, **pax, **gnu} if self._globals else pax or gnu)

    def _only_one(self, others: object) -> None:
        """Which of two counts is another one for each reader."""
        if others and not self._lenient:
            raise UnsafeArchive("a tarball has two extended headers for one member")

    def _add_globals(self, data: bytes) -> None:
        records = dict(_pax_records(data))
        if self._lenient:
            return
        if not records.keys().isdisjoint((b"path", b"linkpath", b"size")):
            raise UnsafeArchive("a tarball has one name or size for all of its members")
        self._globals.update(records)

    def _lenient_member(self, block: bytes, fields: tuple, size: int, extended: Dict[bytes, bytes]) -> TarMember:
        kind = fields[7]
        if kind == SPARSE:
            more = block[_MORE_IN_HEADER]
            while more:
                more = self._take(BLOCK)[_MORE_IN_MAP]
        elif any(key.startswith(b"GNU.sparse.") for key in extended):
            kind = SPARSE
            extended[b"path"] = extended.get(b"GNU.sparse.name") or extended.get(b"path", b"")
        uid, gid = (_owner(extended.get(name), field) for name, field in ((b"uid", fields[2]), (b"gid", fields[3])))
        return _typed_member(fields, _KINDS.get(kind, kind), size, extended)._replace(uid=uid, gid=gid)

    def _extension(self, size: int) -> bytes:
        if size > (_MAX_LENIENT_EXTENSION if self._lenient else _MAX_EXTENSION):
            raise UnsafeArchive(f"a tarball has an extended header of {size} bytes")
        data = self._take(size)
        self._skip(-size % BLOCK)
        return data

    def _take(self, size: int) -> bytes:
        at = self._at
        if at + size <= len(self._buffer):
            self._at = at + size
            return self._buffer[at : self._at]
        parts = [self._buffer[at:]]
        missing = size - len(parts[0])
        while missing > 0:
            self._more()
            parts.append(self._buffer[:missing])
            self._at = min(missing, len(self._buffer))
            missing -= self._at
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size:
            step = min(size, len(self._buffer) - self._at)
            self._at += step
            size -= step
            if size:
                self._more()

    def _ends_behind_member(self) -> bool:
        self._skip(self._content_left)
        return self._ends(self._padding)

    def _ends(self, padding: int = 0) -> bool:
        """Skip the padding; whether the stream ends in it or behind it."""
        while True:
            step = min(padding, len(self._buffer) - self._at)
            self._at += step
            padding -= step
            if self._at < len(self._buffer):
                return False
            data = self._read()
            if not data:
                return True
            self._set(data)

    def _more(self) -> None:
        data = self._read()
        if not data:
            raise CorruptArchive("a tarball ends in the middle of a member")
        self._set(data)

    def _set(self, data: bytes) -> None:
        self._buffer, self._at = data, 0
        self.size += len(data)
        if self._max_size is not None and self.size > self._max_size:
            raise UnsafeArchive(f"a tarball unpacks to more than {self._max_size} bytes")

    def _finish(self) -> None:
        """Read the rest, which must be zeros, so that who reads for us sees (and verifies) the end of the stream."""
        rest = self._buffer[self._at :]
        while True:
            if rest.strip(b"\0"):
                raise CorruptArchive("something follows the end of a tarball")
            rest = self._read()
            if not rest:
                self._buffer, self._at = b"", 0
                return
            self._set(rest)

    def _finish_leniently(self) -> None:
        if not self._ends() and self._take(BLOCK) != _ZERO_BLOCK:
            raise CorruptArchive("something follows the end of a tarball")


def _verify_checksum(block: bytes, field: bytes) -> None:
    """The sum of all bytes, the checksum itself counted as blanks; some old writers summed signed bytes."""
    expected = _number(field, "checksum")
    # the low half of Adler-32, begun at 0, is the sum of the bytes modulo 65521, which 256 bytes do not reach
    found = (adler32(block[:256], 0) & 0xFFFF) + (adler32(block[256:], 0) & 0xFFFF) - sum(block[148:156]) + 8 * 0x20
    if found != expected:
        signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 0x20
        if signed != expected:
            raise CorruptArchive("a header in a tarball has a wrong checksum")


def _number(field: bytes, name: str) -> int:
    digits = field[:-1]  # how most writers fill a field: digits, and a NUL
    if field[-1] == 0 and digits.isdigit() and b"8" not in digits and b"9" not in digits:
        return int(digits, 8)
    if field[0] & 0x80:  # GNU: base 256; negative numbers (0xff) make no sense in any field that is read here
        if field[0] != 0x80:
            raise CorruptArchive(f"a header in a tarball has a negative {name}")
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise CorruptArchive(f"a header in a tarball has no valid {name}: {field!r}")
    return int(digits, 8)


def _mtime(field: bytes) -> int:
    """Times before 1970 and times that cannot be read are taken for 0: nothing depends on them."""
    try:
        return _number(field, "time")
    except CorruptArchive:
        return 0


def _pax_records(data: bytes) -> List[Tuple[bytes, bytes]]:
    """``LENGTH KEY=VALUE\\n`` (POSIX.1-2001, pax); LENGTH counts the whole record."""
    records = []
    at = 0
    while at < len(data):
        if data[at] == 0:  # GNU tar pads with zeros
            break
        length, blank, _ = data[at : at + 20].partition(b" ")
        end = at + int(length) if blank and length.isdigit() else 0
        key, equals, value = data[at + len(length) + 1 : end].partition(b"=")
        text = key + value if key in _PAX_TEXTS else key
        if not (at < end <= len(data)) or not key or not equals or not value.endswith(b"\n") or b"\0" in text:
            raise CorruptArchive("a tarball has a damaged pax header")
        records.append((key, value[:-1]))
        at = end
    return records


def _member(fields: tuple, kind: bytes, size: int, extended: Dict[bytes, bytes]) -> TarMember:
    if extended and any(key.startswith(b"GNU.sparse") for key in extended):
        kind = SPARSE
    member = _typed_member(fields, _KINDS.get(kind, kind), size, extended)
    if member.kind in _SPECIAL:
        raise UnsafeArchive(f"a tarball holds {_SPECIAL[kind]}: {_shown(member.name)}")
    if member.kind not in _SUPPORTED:
        raise CorruptArchive(
            f"a tarball has a member of a kind that is not supported ({kind!r}): {_shown(member.name)}"
        )
    return member


def _typed_member(fields: tuple, kind: bytes, size: int, extended: Dict[bytes, bytes]) -> TarMember:
    """``kind``: a key of ``_KINDS`` is its value. An empty value in ``extended`` is that of the header (POSIX)."""
    name = fields[0].partition(b"\0")[0]
    start = _name_prefix(fields[9], fields[11], fields[12])
    if start:
        name = start + b"/" + name
    link = fields[8].partition(b"\0")[0]
    mtime = _mtime(fields[5])
    if extended:
        name = extended.get(b"path") or name
        link = extended.get(b"linkpath") or link
        size = _decimal(extended.get(b"size") or b"%d" % size)
        if extended.get(b"mtime"):
            mtime = _decimal(extended[b"mtime"].partition(b".")[0].lstrip(b"-"))
    if not name or len(name) > MAX_NAME or len(link) > MAX_NAME or b"\0" in name or b"\0" in link:
        raise UnsafeArchive(f"a tarball has a member with an impossible name or link: {_shown(name)}")
    if kind == FILE and name.endswith(b"/"):  # before POSIX, a directory was a file with such a name
        kind = DIRECTORY
    if kind in _WITHOUT_CONTENT:
        size = 0
    mtime = mtime if mtime <= _MAX_TIME else 0
    return TarMember(name, kind, _number(fields[1], "mode") & 0o7777, size, mtime, link)


def _owner(record: Optional[bytes], field: bytes) -> int:
    return _decimal(record) if record else _number(field, "owner")


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")


def _name_prefix(magic: bytes, field: bytes, trailer: bytes) -> bytes:
    """What belongs in front of the name: all of the field in POSIX, 131 bytes of it in star's extension.

    GNU keeps times there (a: 12 bytes, c: 12 bytes). Go up to 1.7 wrote a prefix all the same under GNU's magic; as
    later ones do (archive/tar, reader.go), what is no time and is ASCII is taken for that.
    """
    if not field[0]:
        return b""
    if magic.startswith(b"ustar\0"):
        return field[: 131 if trailer == b"tar\0" else 155].partition(b"\0")[0]
    if magic.startswith(b"ustar  \0") and not (_is_time(field[:12]) and _is_time(field[12:24])):
        prefix = field.partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def _is_time(field: bytes) -> bool:
    try:
        return not field[0] or _number(field, "time") >= 0
    except CorruptArchive:
        return field[0] == 0xFF  # before 1970


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value.lstrip(b"0")) > 19:
        raise CorruptArchive(f"a tarball has a damaged pax header: {value[:40]!r} is no number")
    return int(value)
