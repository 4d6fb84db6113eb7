# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which files of a prefix have to be relocated, found while they are read.

The rules are those of Spack's readers, which act on the three lists of ``.spack/binary_distribution``:

* a **binary** (ELF or Mach-O by its first bytes) is listed when it holds an old prefix anywhere. Spack lists every
  binary; its relocation changes only those with an old prefix, so the others need not be named;
* a **text** file (at least 8 bytes, all of it UTF-8, or without the control characters of ISO 8859-1) is listed when an
  old prefix stands in it as the start of a path: not right after ``/``, or after a word that follows a ``/``;
* a **link** is listed when its target is absolute and starts with an old prefix.

The search is for the few shortest prefixes that all others begin with (mostly the store root alone), at the speed of
``bytes.find``. Only a hit is looked at closer.
"""

import codecs
import re
from typing import Iterable, List, Optional, Tuple, Union

BINARY = "binary"
TEXT = "text"
OTHER = "other"

Buffer = Union[bytes, bytearray]

#: Spack takes nothing shorter than this for text or binary
_MIN_SIZE = 8
_ELF_MAGIC = b"\x7fELF"
_MACHO_MAGICS = (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xce")
_NOT_LATIN1_TEXT = re.compile(b"[\x00\x7f-\x9f]")
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")

#: hits of one file that are remembered with their place
MAX_HITS = 10_000


def is_elf(magic: Buffer) -> bool:
    return magic.startswith(_ELF_MAGIC)


def is_macho(magic: Buffer) -> bool:
    """Fat files share their magic with Java classes; these have a version of 45 or more where those count slices."""
    head = bytes(magic[:4])
    if head in _MACHO_MAGICS:
        return True
    if head == b"\xca\xfe\xba\xbe":
        return int.from_bytes(magic[4:8], "big") < 10
    return head == b"\xbe\xba\xfe\xca" and int.from_bytes(magic[4:8], "little") < 10


def is_text(data: Buffer) -> bool:
    """Spack's rule for a whole file: UTF-8, or ISO 8859-1 without control characters."""
    if len(data) < _MIN_SIZE:
        return False
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return not _NOT_LATIN1_TEXT.search(data)
    return True


class PrefixSearch:
    """Looks for any of ``old_prefixes`` (absolute paths) in bytes."""

    def __init__(self, old_prefixes: Iterable[str]) -> None:
        prefixes = sorted({prefix.encode("utf-8", "surrogateescape") for prefix in old_prefixes if prefix})
        self.needles: Tuple[bytes, ...] = _shortest(prefixes)
        self.longest = max(map(len, self.needles), default=0)

    def holds(self, data: Buffer) -> bool:
        return any(needle in data for needle in self.needles)

    def hits(self, data: Buffer, seen: int = 0, limit: int = MAX_HITS) -> List[int]:
        """Where prefixes stand, in ascending order, at most ``limit``; not those within the first ``seen`` bytes."""
        result: List[int] = []
        for needle in self.needles:
            at = data.find(needle, max(0, seen - len(needle) + 1))
            while at >= 0 and len(result) < limit:
                result.append(at)
                at = data.find(needle, at + len(needle))
        return sorted(result)

    def starts_path(self, data: Buffer, seen: int = 0, behind_slash: bool = False) -> bool:
        """True if a prefix, not within the first ``seen`` bytes, stands in ``data`` as the start of a path.

        ``behind_slash``: whether the word that ``data`` may begin in the middle of follows a ``/``.
        """
        for needle in self.needles:
            at = data.find(needle, max(0, seen - len(needle) + 1))
            while at >= 0:
                if not follows_slash(data, at, behind_slash):
                    return True
                at = data.find(needle, at + 1)
        return False

    def matches_link(self, target: bytes) -> bool:
        """True for an absolute target that has to be re-pointed."""
        return target.startswith(self.needles) if target.startswith(b"/") else False


def follows_slash(data: Buffer, at: int, behind_slash: bool = False) -> bool:
    """True if the word (letters, digits, ``_``, ``-``; perhaps none) that ends at ``at`` is preceded by ``/``."""
    while at > 0 and data[at - 1] in _WORD:
        at -= 1
    return data[at - 1] == 0x2F if at > 0 else behind_slash


def _shortest(prefixes: List[bytes]) -> Tuple[bytes, ...]:
    """The prefixes that begin with no other one; ``prefixes`` are sorted, so that a shorter one comes first."""
    result: List[bytes] = []
    for prefix in prefixes:
        if not result or not prefix.startswith(result[-1]):
            result.append(prefix)
    return tuple(result)


class FileScan:
    """Scans one file: as a :meth:`whole`, or piece by piece with :meth:`feed` and :meth:`finish`.

    Afterwards: ``kind`` (BINARY, TEXT or OTHER), ``found`` (it has to be relocated; of OTHER: it holds an old prefix,
    which no reader of Spack's will relocate), ``hits`` (offsets in a BINARY, at most MAX_HITS).
    """

    def __init__(self, search: PrefixSearch) -> None:
        self.kind = OTHER
        self.found = False
        self.hits: List[int] = []
        self._search = search
        self._size = 0
        self._text: Optional[_TextCheck] = None
        #: the end of the last piece, for prefixes that cross the seam
        self._tail = b""
        self._behind_slash = False
        self._held = False

    def whole(self, data: Buffer) -> "FileScan":
        binary = len(data) >= _MIN_SIZE and (is_elf(data) or is_macho(data))
        if binary:
            self.kind = BINARY
            self.hits = self._search.hits(data)
            self.found = bool(self.hits)
        elif self._search.holds(data):
            self.kind = TEXT if is_text(data) else OTHER
            self.found = self.kind == OTHER or self._search.starts_path(data)
        return self

    def feed(self, piece: Buffer) -> None:
        """The next piece; the first one has at least 8 bytes, or is all there is."""
        if not self._size and len(piece) >= _MIN_SIZE:
            if is_elf(piece) or is_macho(piece):
                self.kind = BINARY
            else:
                self._text = _TextCheck()
        if self._text and self._text.possible:
            self._text.feed(piece)
        window, seen = self._tail + bytes(piece), len(self._tail)
        if self.kind == BINARY:
            start = self._size - seen
            self.hits += [start + at for at in self._search.hits(window, seen, MAX_HITS - len(self.hits))]
        elif not self.found:
            self._held = self._held or bool(self._search.hits(window, seen, 1))
            self.found = self._held and self._search.starts_path(window, seen, self._behind_slash)
        cut = max(0, len(window) - self._search.longest + 1)
        self._behind_slash = follows_slash(window, cut, self._behind_slash)
        self._tail = window[cut:]
        self._size += len(piece)

    def finish(self) -> None:
        if self.kind == BINARY:
            self.found = bool(self.hits)
        elif self._text and self._text.finish():
            self.kind = TEXT
        else:
            self.found = self._held


class _TextCheck:
    """:func:`is_text` for content that comes in pieces; gives up as soon as neither encoding is possible."""

    def __init__(self) -> None:
        self._utf8: Optional[codecs.IncrementalDecoder] = codecs.getincrementaldecoder("utf-8")("strict")
        self._latin1 = True

    @property
    def possible(self) -> bool:
        return self._utf8 is not None or self._latin1

    def feed(self, piece: Buffer) -> None:
        if self._utf8 is not None:
            try:
                self._utf8.decode(bytes(piece))
            except UnicodeDecodeError:
                self._utf8 = None
        if self._latin1 and _NOT_LATIN1_TEXT.search(piece):
            self._latin1 = False

    def finish(self) -> bool:
        if self._utf8 is not None:
            try:
                self._utf8.decode(b"", True)
            except UnicodeDecodeError:
                self._utf8 = None
        return self.possible
