# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in text: they may shrink and grow freely.

As in Spack, a path counts where it is the start of a path: at its beginning, behind anything that is not part of a
path, or behind a word that is glued to it (``-L/opt/...``). Right after a ``/``, or after a word that follows a ``/``,
it is the middle of another path (``/mnt/opt/...``) and stays.
"""

import re
from typing import Generator, List, Optional, Tuple

from .mapping import Buffer, Place, PrefixMap

Search = Generator[Tuple[int, Place], Optional[int], None]

_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
#: the rest of a path, in which another old path does not start
_REST = re.compile(rb"[\w\-/]*")


def relocate_text(data: Buffer, mapping: PrefixMap) -> Optional[bytes]:
    """``data`` with every old path replaced, or None if nothing changes."""
    pieces: List[Buffer] = []
    copied = 0
    changed = False
    search = mapping.find(data)
    hit = next(search, None)
    while hit is not None:
        at, place = hit
        if _starts_path(data, at):
            end = at + len(place.old)
            if place.new != place.old:
                pieces += [data[copied:at], place.new]
                copied = end
                changed = True
            hit = _go_on(search, _REST.match(data, end).end())  # type: ignore[union-attr]
        else:
            hit = _go_on(search, at + 1)
    if not changed:
        return None
    pieces.append(data[copied:])
    return b"".join(pieces)


def _starts_path(data: Buffer, at: int) -> bool:
    """False if a "/" precedes, directly or in front of the word that ends at ``at``."""
    while at > 0 and data[at - 1] in _WORD:
        at -= 1
    return at == 0 or data[at - 1] != 0x2F


def _go_on(search: Search, at: int) -> Optional[Tuple[int, Place]]:
    try:
        return search.send(at)
    except StopIteration:
        return None
