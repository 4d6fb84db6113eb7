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
import os
from typing import Iterable, List, Optional, Sequence, Tuple

from ..formats.file_kinds import BINARY, TEXT
from ..formats.magic import MIN_SIZE, Buffer, is_binary, is_latin1_text, is_text
from ..relocate.text import follows_slash

OTHER = "other"

#: a common start of all prefixes that is at least so long is worth looking for first
_RARE = 8

#: hits of one file that are remembered with their place
MAX_HITS = 10_000


class PrefixSearch:
    """Looks for any of ``old_prefixes`` (absolute paths) in bytes.

    All methods take a part of ``data``, from ``start`` to ``end``, so that nothing has to be copied.
    """

    def __init__(self, old_prefixes: Iterable[str]) -> None:
        prefixes = sorted({prefix.encode("utf-8", "surrogateescape") for prefix in old_prefixes if prefix})
        self.needles: Tuple[bytes, ...] = _shortest(prefixes)
        self.longest = max(map(len, self.needles), default=0)
        common = os.path.commonprefix(list(self.needles)) or b""
        #: what is looked for first, if it is long enough to be rare
        self._gate: Sequence[bytes] = [common] if len(common) >= _RARE else self.needles

    def holds(self, data: Buffer, start: int, end: int) -> bool:
        for gate in self._gate:
            if data.find(gate, start, end) >= 0:
                return any(data.find(needle, start, end) >= 0 for needle in self.needles)
        return False

    def hits(self, data: Buffer, start: int, end: int, limit: int = MAX_HITS) -> List[int]:
        """Where prefixes stand in ``data``, in ascending order, at most ``limit``."""
        result: List[int] = []
        if not self.holds(data, start, end):
            return result
        for needle in self.needles:
            at = data.find(needle, start, end)
            while at >= 0 and len(result) < limit:
                result.append(at)
                at = data.find(needle, at + len(needle), end)
        return sorted(result)

    def starts_path(self, data: Buffer, start: int, end: int, behind_slash: bool = False) -> bool:
        """True if a prefix stands in that part of ``data`` as the start of a path.

        ``behind_slash``: whether the word that the part may begin in the middle of follows a ``/``.
        """
        for needle in self.needles:
            at = data.find(needle, start, end)
            while at >= 0:
                if not follows_slash(data, start, at, behind_slash):
                    return True
                at = data.find(needle, at + 1, end)
        return False

    def matches_link(self, target: bytes) -> bool:
        """True for an absolute target that has to be re-pointed."""
        return target.startswith(self.needles) if target.startswith(b"/") else False


def _shortest(prefixes: List[bytes]) -> Tuple[bytes, ...]:
    """The prefixes that begin with no other one; ``prefixes`` are sorted, so that a shorter one comes first."""
    result: List[bytes] = []
    for prefix in prefixes:
        if not result or not prefix.startswith(result[-1]):
            result.append(prefix)
    return tuple(result)


class FileScan:
    """Scans one file: as a :meth:`whole`, or piece by piece with :meth:`begin`, :meth:`feed` and :meth:`finish`.

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
        #: the end of what was seen, for prefixes that cross the seam
        self._tail = b""
        self._behind_slash = False
        self._held = False

    def whole(self, data: Buffer, start: int, end: int) -> "FileScan":
        """Scan a file that is in ``data`` from ``start`` to ``end``."""
        if self._search.holds(data, start, end):
            if is_binary(data[start : start + MIN_SIZE]):
                self.kind = BINARY
                self.hits = [at - start for at in self._search.hits(data, start, end)]
                self.found = True
            else:
                self.kind = TEXT if is_text(memoryview(data)[start:end]) else OTHER
                self.found = self.kind == OTHER or self._search.starts_path(data, start, end)
        return self

    def begin(self, magic: bytes) -> None:
        """``magic``: the first 8 bytes, or all there are."""
        if is_binary(magic):
            self.kind = BINARY
        elif len(magic) >= MIN_SIZE:
            self._text = _TextCheck()

    def feed(self, data: Buffer, start: int, end: int) -> None:
        """The next piece of the file."""
        if self._text and self._text.possible:
            self._text.feed(memoryview(data)[start:end])
        reach = max(self._search.longest - 1, 0)
        seam = self._tail + bytes(data[start : min(end, start + reach)])
        if self.kind == BINARY:
            in_front = self._size - len(self._tail)
            across = [at for at in self._search.hits(seam, 0, len(seam)) if self._crosses(seam, at)]
            self.hits += [in_front + at for at in across]
            inside = self._search.hits(data, start, end, MAX_HITS - len(self.hits))
            self.hits += [self._size + at - start for at in inside]
        elif not self.found:
            behind_slash = follows_slash(self._tail, 0, len(self._tail), self._behind_slash)
            if self._search.holds(seam, 0, len(seam)):
                self._held = True
                self.found = self._search.starts_path(seam, 0, len(seam), self._behind_slash)
            if not self.found and self._search.holds(data, start, end):
                self._held = True
                self.found = self._search.starts_path(data, start, end, behind_slash)
        self._keep_tail(data, start, end, reach)
        self._size += end - start

    def _crosses(self, seam: bytes, at: int) -> bool:
        """A hit in the seam counts only if it begins in front of it and ends behind."""
        cut = len(self._tail)
        length = next(len(needle) for needle in self._search.needles if seam.startswith(needle, at))
        return at < cut < at + length

    def _keep_tail(self, data: Buffer, start: int, end: int, reach: int) -> None:
        if end - start >= reach:
            cut = end - reach
            before = follows_slash(self._tail, 0, len(self._tail), self._behind_slash)
            self._behind_slash = follows_slash(data, start, cut, before)
            self._tail = bytes(data[cut:end])
        else:
            window = self._tail + bytes(data[start:end])
            cut = max(0, len(window) - reach)
            self._behind_slash = follows_slash(window, 0, cut, self._behind_slash)
            self._tail = window[cut:]

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

    def feed(self, piece: memoryview) -> None:
        data = bytes(piece)
        if self._utf8 is not None:
            try:
                self._utf8.decode(data)
            except UnicodeDecodeError:
                self._utf8 = None
        if self._latin1:
            if data.isascii():  # two searches for one byte are much quicker than one for a class
                self._latin1 = b"\0" not in data and b"\x7f" not in data
            else:
                self._latin1 = is_latin1_text(data)

    def finish(self) -> bool:
        if self._utf8 is not None:
            try:
                self._utf8.decode(b"", True)
            except UnicodeDecodeError:
                self._utf8 = None
        return self.possible
