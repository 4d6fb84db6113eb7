# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in text: they may shrink and grow freely.

As in Spack, a path counts where it is the start of a path: at its beginning, behind anything that is not part of a
path, or behind a word that is glued to it (``-L/opt/...``). Right after a ``/``, or after a word that follows a ``/``,
it is the middle of another path (``/mnt/opt/...``) and stays.
"""

import re
import shutil
import tempfile
from typing import BinaryIO, List, Optional

from ..errors import UnsafeArchive
from .mapping import Buffer, PrefixMap

#: large files are rewritten in parts of this size
CHUNK = 4 << 20
#: a run of bytes without a break that is longer than this may be cut
LONGEST_RUN = 16 << 20

#: ends every path that old paths can be part of
_BREAK = re.compile(rb"[^\w\-/.+@~:=,]")
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
#: the rest of a path, in which another old path does not start
_REST = re.compile(rb"[\w\-/]*")


class GrowthLimit:
    """Bytes by which the text of one package may still grow: old paths of few characters make much of little."""

    def __init__(self, limit: int, label: str) -> None:
        self._left = limit
        self._limit = limit
        self._label = label

    def take(self, count: int) -> None:
        """Raises UnsafeArchive when the limit is passed; what shrinks gives nothing back."""
        self._left -= max(0, count)
        if self._left < 0:
            raise UnsafeArchive(f"relocation would make the text of {self._label} longer by over {self._limit} bytes")


def relocate_text(data: Buffer, mapping: PrefixMap, growth: GrowthLimit) -> Optional[bytes]:
    """``data`` with every old path replaced, or None if nothing changes. Raises UnsafeArchive, see ``growth``."""
    pieces: List[Buffer] = []
    copied = go_on = 0
    for at, mapped in mapping.find(data):
        if at >= go_on and not follows_slash(data, 0, at):
            end = at + len(mapped.old)
            if mapped.new != mapped.old:
                growth.take(len(mapped.new) - len(mapped.old))
                pieces += [data[copied:at], mapped.new]
                copied = end
            go_on = _REST.match(data, end).end()  # type: ignore[union-attr]
    if not pieces:
        return None
    pieces.append(data[copied:])
    return b"".join(pieces)


def relocate_large_text(file: BinaryIO, mapping: PrefixMap, growth: GrowthLimit) -> bool:
    """Relocate a text file in place, in parts of CHUNK bytes; True if it changed.

    A part ends behind a byte that is in no path, so that nothing is cut in two.
    """
    changed = False
    file.seek(0)
    with tempfile.TemporaryFile() as result:
        rest = b""
        while True:
            data = file.read(CHUNK)
            part = rest + data
            cut = len(part) if not data else _last_break(part)
            rest = part[cut:]
            new = relocate_text(part[:cut], mapping, growth)
            changed = changed or new is not None
            result.write(part[:cut] if new is None else new)
            if not data:
                break
        if changed:
            result.seek(0)
            file.seek(0)
            shutil.copyfileobj(result, file, CHUNK)
            file.truncate()
    return changed


def _last_break(part: bytes) -> int:
    """Behind the last byte that is in no path; 0 if there is none, the whole part if it is absurdly long."""
    match = _BREAK.search(part[::-1][:LONGEST_RUN])
    if match:
        return len(part) - match.start()
    return 0 if len(part) < LONGEST_RUN else len(part)


def follows_slash(data: Buffer, start: int, at: int, behind_slash: bool = False) -> bool:
    """True if a "/" precedes ``at``, directly or in front of the word (letters, digits, ``_``, ``-``) that ends there.

    ``start``: where the text begins in ``data``; ``behind_slash``: what is true of ``start`` itself.
    """
    while at > start and data[at - 1] in _WORD:
        at -= 1
    return data[at - 1] == 0x2F if at > start else behind_slash
