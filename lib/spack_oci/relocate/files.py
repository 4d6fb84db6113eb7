# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Relocates the files of a package: one that is in memory on its way to the disk, or one that is there."""

import errno
import os
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Set

from ..errors import PrefixTooLong, RelocationError
from ..formats.file_kinds import BINARY, GZIP, OPAQUE, PYC, SCRIPT, STRINGS, TEXT
from .aliases import SHORTEST, Aliases
from .binary import apply, relocate_at, relocate_bytes
from .cstring import Unplaced
from .mapping import Buffer, PrefixMap
from .other import relocate_first_lines, relocate_gzip, relocate_opaque, relocate_pyc_strings
from .patchelf import Growth, find_patchelf, grow_bytes, grow_file
from .preflight import Shortfall, too_long
from .text import GrowthLimit, relocate_large_text, relocate_text

#: text files larger than this are rewritten in parts
LARGE_TEXT = 8 << 20

#: larger files that Spack would leave as they are, and that have to be in memory as a whole, are left as well
_MAX_WHOLE = 64 << 20

#: relocates Mach-O files, given as paths: Spack's own functions, passed in by the adapter
MachoRelocator = Callable[[List[str], PrefixMap], None]


@dataclass
class Relocated:
    """What was done: paths relative to the prefix."""

    text_files: List[str] = field(default_factory=list)
    binaries: List[str] = field(default_factory=list)
    links: List[str] = field(default_factory=list)
    #: files that Spack would have left as they were, see ``formats/file_kinds.py``
    others: List[str] = field(default_factory=list)

    @property
    def files(self) -> Set[str]:
        """Everything but links."""
        return {*self.text_files, *self.binaries, *self.others}

    def add(self, name: str, listed: Optional[str]) -> None:
        """``listed``: the list of the metadata that names the file, TEXT or BINARY; None if none does."""
        {TEXT: self.text_files, BINARY: self.binaries}.get(listed or "", self.others).append(name)


class FileRelocator:
    """Relocates the files of one package.

    ``label``: how errors name the package; ``aliases``: the short names that may be used.
    """

    def __init__(self, mapping: PrefixMap, label: str, aliases: Aliases, growth: GrowthLimit) -> None:
        self._mapping = mapping
        self._label = label
        self._aliases = aliases
        self._growth = growth

    def in_memory(self, path: str, kind: str, data: bytes) -> Optional[Buffer]:
        """The new content, or None if it stays as it is. Raises PrefixTooLong."""
        if kind == TEXT:
            return relocate_text(data, self._mapping, self._growth)
        if kind == GZIP:
            return relocate_gzip(data, self._mapping, self._growth)
        if kind == PYC:
            return relocate_pyc_strings(data, self._mapping, self._growth)
        if kind == SCRIPT:
            rest = self.in_memory(path, OPAQUE, data)
            first = relocate_first_lines(bytes(rest or data), self._mapping, self._growth)
            return rest if first is None else first
        if kind == OPAQUE:
            changes = relocate_opaque(data, self._mapping, self._aliases.names_of)
        else:
            changes = relocate_bytes(data, self._mapping, self._aliases.names_of)
        growths = self._check(path, changes.unplaced)
        new = apply(data, changes.patches) if changes.patches else None
        return grow_bytes(new or data, growths, f"{path} of {self._label}") if growths else new

    def on_disk(self, path: str, kind: str, file_path: str) -> bool:
        """Rewrite a file in its place, so that all its names stay names of one file. True: it changed."""
        if kind in (BINARY, STRINGS):
            return self._binary_on_disk(path, file_path)
        with open(file_path, "rb+") as file:
            size = os.fstat(file.fileno()).st_size
            if kind == TEXT and size > LARGE_TEXT:
                return relocate_large_text(file, self._mapping, self._growth)
            if size > _MAX_WHOLE:
                return False
            if kind == OPAQUE:  # may be sparse: only what changes is written
                changes = relocate_opaque(file.read(), self._mapping, self._aliases.names_of)
                for offset, replacement in changes.patches:
                    os.pwrite(file.fileno(), replacement, offset)
                return bool(changes.patches)
            data = self.in_memory(path, kind, file.read())
            if data is None:
                return False
            file.seek(0)
            file.write(data)
            file.truncate()
            return True

    def _binary_on_disk(self, path: str, file_path: str) -> bool:
        descriptor = os.open(file_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            changes = relocate_at(
                lambda at, view: _read_into(descriptor, at, view), self._mapping, self._aliases.names_of
            )
            growths = self._check(path, changes.unplaced)
            for offset, replacement in changes.patches:
                os.pwrite(descriptor, replacement, offset)
        finally:
            os.close(descriptor)
        if growths:
            grow_file(file_path, growths, f"{path} of {self._label}")
        return bool(changes.patches or growths)

    def link_target(self, target: bytes, old_directory: bytes, new_directory: bytes) -> bytes:
        """The new target of a symbolic link, which was in ``old_directory`` and is in ``new_directory``.

        A relative one stays, unless it led into another package, and would not from here: that lies elsewhere in the
        store (``install_tree:projections``), or in an upstream.
        """
        if target.startswith(b"/"):
            mapped = self._mapping.match(target)
            return target if mapped is None else mapped.new + target[len(mapped.old) :]
        if b"../" not in target:
            return target
        old = os.path.normpath(os.path.join(old_directory, target))
        mapped = self._mapping.match(old)
        if mapped is None or mapped.dag_hash is None:
            return target
        new = mapped.new + old[len(mapped.old) :]
        return target if os.path.normpath(os.path.join(new_directory, target)) == new else new

    def _check(self, path: str, unplaced: List[Unplaced]) -> List[Growth]:
        """What a tool has to make room for; PrefixTooLong if there is no such tool, or anything else does not fit."""
        for entry in unplaced:
            if entry.became is not None and not os.path.isdir(entry.became):
                raise RelocationError(
                    f"relocating {path} of {self._label}: it was linked with a package that is not among its "
                    f"dependencies here; {os.fsdecode(entry.became)} is not there",
                    remedy="install the package with the dependencies that it was built with, without a splice",
                )
        unplaced = [entry for entry in unplaced if entry.became is None]
        growths = [u.growth for u in unplaced if u.growth is not None]
        if len(growths) == len(unplaced) and (not growths or find_patchelf()):
            return growths
        # a string that no tool can make longer is the worst
        worst = max(unplaced, key=lambda u: (u.growth is None, len(u.mapped.new) - len(u.mapped.old)))
        old, new = os.fsdecode(worst.mapped.old), os.fsdecode(worst.mapped.new)
        if worst.too_long and worst.mapped.dag_hash:
            directory = self._aliases.directory
            needs = len(os.fsencode(directory)) + 1 + SHORTEST
            short = Shortfall(worst.mapped.dag_hash, old, len(worst.mapped.old), needs)
            raise too_long(short, self._label, directory, path, growable=worst.growth is not None)
        if worst.too_long:
            why = f"it is {len(worst.mapped.new) - len(worst.mapped.old)} characters longer"
        else:
            why = "it is a little shorter and ends differently, so that strings that share their end would break"
        raise PrefixTooLong(f"relocating {path} of {self._label}: {new} cannot take the place of {old}: {why}")


def _read_into(descriptor: int, offset: int, view: memoryview) -> int:
    """Fill ``view``, unless the file ends before."""
    filled = 0
    try:
        while filled < len(view):
            count = _preadv(descriptor, view[filled:], offset + filled)
            if not count:
                break
            filled += count
    except (OverflowError, OSError) as e:
        if isinstance(e, OSError) and e.errno != errno.EINVAL:
            raise
        # an offset that no file has, from a damaged header
    return filled


def _preadv(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    data = os.pread(descriptor, len(view), offset)
    view[: len(data)] = data
    return len(data)
