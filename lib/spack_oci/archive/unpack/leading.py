# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where a package was built, as the first members of its tarball tell: the directories that lead to the prefix."""

import os
import zlib
from typing import List, Optional

from ...errors import CorruptArchive, UnsafeArchive
from ..tar_reader import DIRECTORY, TarMember, TarReader

SPACK_DIRECTORY = b".spack"

#: bytes of the tarball that are looked at
_BEGINNING = 64 << 10


class LeadingDirectories:
    """The directories at the beginning of a tarball, as long as each is in the one before it."""

    def __init__(self) -> None:
        self.members: List[TarMember] = []

    def add(self, member: TarMember) -> bool:
        """False: this member is not one of them, nor is any that follows. Directories' names end without a slash."""
        parent = self.members[-1].name if self.members else None
        if member.kind != DIRECTORY or (parent is not None and os.path.dirname(member.name) != parent):
            return False
        self.members.append(member)
        return True

    @property
    def depth(self) -> int:
        """How many of them lead to the prefix, itself included: all, unless the last one is ``.spack``."""
        if self.members and os.path.basename(self.members[-1].name) == SPACK_DIRECTORY:
            return len(self.members) - 1
        return len(self.members)


def old_prefix_in(data: bytes) -> Optional[str]:
    """The old prefix of a package, from the first bytes of its compressed (gzip) tarball; None if they do not tell."""
    try:
        pieces = iter([zlib.decompressobj(31).decompress(data, _BEGINNING)])
    except zlib.error:
        return None
    leading = LeadingDirectories()
    try:
        for member in TarReader(lambda: next(pieces, b"")):
            if not leading.add(member._replace(name=member.name.rstrip(b"/"))):
                break
    except (CorruptArchive, UnsafeArchive):
        return None
    return "/" + os.fsdecode(leading.members[leading.depth - 1].name) if leading.depth > 1 else None
