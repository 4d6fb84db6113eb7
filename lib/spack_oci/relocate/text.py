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

from .mapping import Buffer, PrefixMap

#: large files are rewritten in parts of this size
CHUNK = 4 << 20
#: a run of bytes without a break that is longer than this may be cut
_LONGEST_RUN = 16 << 20

#: ends every path that old paths can be part of
_BREAK = re.compile(rb"[^\w\-/.+@~:=,]")
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
#: the rest of a path, in which another old path does not start
_REST = re.compile(rb"[\w\-/]*")


def relocate_text(data: Buffer, mapping: PrefixMap) -> Optional[bytes]:
    """``data`` with every old path replaced, or None if nothing changes."""
    pieces: List[Buffer] = []
    copied = go_on = 0
    for at, mapped in mapping.find(data):
        if at >= go_on and _starts_path(data, at):
            end = at + len(mapped.old)
            if mapped.new != mapped.old:
                pieces += [data[copied:at], mapped.new]
                copied = end
            go_on = _REST.match(data, end).end()  # type: ignore[union-attr]
    if not pieces:
        return None
    pieces.append(data[copied:])
    return b"".join(pieces)


def relocate_large_text(file: BinaryIO, mapping: PrefixMap) -> bool:
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
            new = relocate_text(part[:cut], mapping)
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
    match = _BREAK.search(part[::-1][:_LONGEST_RUN])
    if match:
        return len(part) - match.start()
    return 0 if len(part) < _LONGEST_RUN else len(part)


def _starts_path(data: Buffer, at: int) -> bool:
    """False if a "/" precedes, directly or in front of the word that ends at ``at``."""
    while at > 0 and data[at - 1] in _WORD:
        at -= 1
    return at == 0 or data[at - 1] != 0x2F
