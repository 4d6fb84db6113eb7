# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Relocates files: one that is in memory on its way to the disk, one that is there, a whole extracted prefix."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import PrefixTooLong, StorageError, UnsafeArchive
from ..formats.file_kinds import BINARY, GZIP, OPAQUE, PYC, STRINGS, TEXT
from .aliases import SHORTEST, Aliases
from .binary import apply, new_window, no_other_names, relocate_at, relocate_bytes
from .build_info import BuildInfo
from .cstring import Unplaced
from .mapping import Buffer, PrefixMap
from .other import relocate_gzip, relocate_opaque, relocate_pyc_strings
from .patchelf import Growth, find_patchelf, grow_bytes, grow_file
from .preflight import Shortfall, too_long
from .text import relocate_large_text, relocate_text

#: text files larger than this are rewritten in parts
LARGE_TEXT = 32 << 20

#: files that are relocated at the same time
MAX_THREADS = 8
#: files that threads share
_LARGE = 256 << 10
#: bytes of such files below which threads cost more than they save
_WORTH_THREADS = 4 << 20


class _Job(NamedTuple):
    #: in the prefix
    name: str
    kind: str
    path: str
    size: int


#: relocates Mach-O files, given as paths: Spack's own functions, passed in by the adapter
MachoRelocator = Callable[[List[str], PrefixMap], None]


@dataclass
class Relocated:
    """What was done: paths relative to the prefix."""

    text_files: List[str] = field(default_factory=list)
    binaries: List[str] = field(default_factory=list)
    links: List[str] = field(default_factory=list)
    #: files that Spack would have left as they were, see ``kinds``
    others: List[str] = field(default_factory=list)

    def add(self, name: str, listed: Optional[str]) -> None:
        """``listed``: the list of the metadata that names the file, TEXT or BINARY; None if none does."""
        {TEXT: self.text_files, BINARY: self.binaries}.get(listed or "", self.others).append(name)


class FileRelocator:
    """Relocates the files of one package.

    ``what``: how errors name the package; ``aliases``: the short names that may be used, None for none.
    """

    def __init__(self, mapping: PrefixMap, what: str, aliases: Optional[Aliases] = None) -> None:
        self.mapping = mapping
        self._what = what
        self._aliases = aliases
        self._other_names = aliases.names_of if aliases is not None else no_other_names

    def in_memory(self, path: str, kind: str, data: bytes) -> Optional[Buffer]:
        """The new content, or None if it stays as it is. Raises PrefixTooLong."""
        if kind == TEXT:
            return relocate_text(data, self.mapping)
        if kind == GZIP:
            return relocate_gzip(data, self.mapping)
        if kind == PYC:
            return relocate_pyc_strings(data, self.mapping)
        if kind == OPAQUE:
            changes = relocate_opaque(data, self.mapping, self._other_names)
        else:
            changes = relocate_bytes(data, self.mapping, self._other_names)
        growths = self._check(path, changes.unplaced)
        new = apply(data, changes.patches) if changes.patches else None
        return grow_bytes(new or data, growths, f"{path} of {self._what}") if growths else new

    def on_disk(self, path: str, kind: str, file_path: str, window: Optional[bytearray] = None) -> bool:
        """Rewrite a file in its place, so that all its names stay names of one file. True: it changed.

        ``window``: see :func:`relocate_at`.
        """
        if kind in (BINARY, STRINGS):
            return self._binary_on_disk(path, file_path, window)
        with open(file_path, "rb+") as file:
            if kind == TEXT and os.fstat(file.fileno()).st_size > LARGE_TEXT:
                return relocate_large_text(file, self.mapping)
            data = self.in_memory(path, kind, file.read())
            if data is None:
                return False
            file.seek(0)
            file.write(data)
            file.truncate()
            return True

    def _binary_on_disk(self, path: str, file_path: str, window: Optional[bytearray]) -> bool:
        descriptor = os.open(file_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            changes = relocate_at(
                lambda at, view: _read_into(descriptor, at, view), self.mapping, self._other_names, window
            )
            growths = self._check(path, changes.unplaced)
            for offset, replacement in changes.patches:
                os.pwrite(descriptor, replacement, offset)
        finally:
            os.close(descriptor)
        if growths:
            grow_file(file_path, growths, f"{path} of {self._what}")
        return bool(changes.patches or growths)

    def link_target(self, target: bytes) -> bytes:
        """The new target of a symbolic link; relative ones stay."""
        mapped = self.mapping.match(target) if target.startswith(b"/") else None
        return target if mapped is None else mapped.new + target[len(mapped.old) :]

    def _check(self, path: str, unplaced: List[Unplaced]) -> List[Growth]:
        """What a tool has to make room for; PrefixTooLong if there is no such tool, or anything else does not fit."""
        growths = [u.growth for u in unplaced if u.growth is not None]
        if len(growths) == len(unplaced) and (not growths or find_patchelf()):
            return growths
        # a string that no tool can make longer is the worst
        worst = max(unplaced, key=lambda u: (u.growth is None, len(u.mapped.new) - len(u.mapped.old)))
        old, new = os.fsdecode(worst.mapped.old), os.fsdecode(worst.mapped.new)
        if worst.too_long and self._aliases is not None and worst.mapped.dag_hash:
            directory = self._aliases.directory
            needs = len(os.fsencode(directory)) + 1 + SHORTEST
            short = Shortfall(worst.mapped.dag_hash, old, new, len(worst.mapped.old), needs)
            raise too_long(short, self._what, directory, path, growable=worst.growth is not None)
        if worst.too_long:
            why = f"it is {len(worst.mapped.new) - len(worst.mapped.old)} characters longer"
        else:
            why = "it is a little shorter and ends differently, so that strings that share their end would break"
        raise PrefixTooLong(f"relocating {path} of {self._what}: {new} cannot take the place of {old}: {why}")


def relocate_prefix(
    prefix: str,
    mapping: PrefixMap,
    lists: BuildInfo,
    *,
    what: str = "",
    aliases: Optional[Aliases] = None,
    macho: Optional[MachoRelocator] = None,
) -> Relocated:
    """Relocate an extracted prefix in place: the files and links that ``lists`` names, as Spack would.

    ``macho`` is called with the paths of all listed binaries before their strings are looked at (macOS only). Raises
    PrefixTooLong, StorageError, and UnsafeArchive for a listed path that leaves the prefix.
    """
    relocated = Relocated()
    if mapping.is_identity:
        return relocated
    relocator = FileRelocator(mapping, what or prefix, aliases)
    seen: Set[Tuple[int, int]] = set()
    try:
        binaries = list(_once(prefix, lists.binaries, BINARY, seen))
        if macho is not None:
            macho([job.path for job in binaries], mapping)
        relocated.links = [name for name, path in _inside(prefix, lists.links) if _relocate_link(relocator, path)]
        jobs = [*_once(prefix, lists.text_files, TEXT, seen), *binaries]
        for job, changed in zip(jobs, _relocate_files(relocator, jobs)):
            if changed:
                relocated.add(job.name, job.kind)
    except OSError as e:
        raise StorageError.from_os_error(f"relocating {what or prefix}", e) from e
    return relocated


def _relocate_files(relocator: FileRelocator, jobs: List[_Job]) -> List[bool]:
    """Which files changed. Large ones in threads: most of their time goes into reading and searching, without a lock.

    Small ones, which are work for Python itself, would only take its lock from each other, and so wait for the end.
    """
    changed = [False] * len(jobs)
    #: taken from the end: the largest first, so that no thread is left with one when the others have finished
    by_size = sorted(range(len(jobs)), key=lambda i: jobs[i].size)
    small = [i for i in by_size if jobs[i].size < _LARGE]
    large = by_size[len(small) :]

    def work(waiting: List[int]) -> None:
        window = None
        try:
            while True:
                try:
                    i = waiting.pop()
                except IndexError:
                    return
                job = jobs[i]
                if window is None and job.kind == BINARY:
                    window = new_window(relocator.mapping, job.size)
                changed[i] = relocator.on_disk(job.name, job.kind, job.path, window)
        except BaseException:
            waiting.clear()
            raise

    threads = min(MAX_THREADS, os.cpu_count() or 1, len(large))
    if threads < 2 or sum(jobs[i].size for i in large) < _WORTH_THREADS:
        work(by_size)
        return changed
    with ThreadPoolExecutor(threads - 1, "relocate") as pool:
        others = [pool.submit(work, large) for _ in range(threads - 1)]
        work(large)
        work(small)
        for other in others:
            other.result()
    return changed


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


def _inside(prefix: str, names: Iterable[str]) -> Iterator[Tuple[str, str]]:
    """(name, path); a name that is absolute, leaves the prefix, or passes through a link is refused."""
    #: directories as the names have them -> their paths
    known: Dict[str, str] = {}
    for name in names:
        directory, _, base = name.rpartition("/")
        if name.startswith("/") or base in ("", ".", ".."):
            raise UnsafeArchive(f"relocating {prefix}: {name} is not in the prefix")
        path = known.get(directory)
        if path is None:
            path = known[directory] = _directory(prefix, directory, name)
        yield name, f"{path}/{base}"


def _directory(prefix: str, directory: str, name: str) -> str:
    """The path of a directory below the prefix that is no link, and reached through none."""
    path = prefix
    for part in os.path.normpath(directory).split("/"):
        if part == "..":
            raise UnsafeArchive(f"relocating {prefix}: {name} is not in the prefix")
        if part != ".":
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise UnsafeArchive(f"relocating {prefix}: {name} is reached through a link")
    return path


def _once(prefix: str, names: Iterable[str], kind: str, seen: Set[Tuple[int, int]]) -> Iterator[_Job]:
    """The regular files among ``names``, each file under one of its names only."""
    for name, path in _inside(prefix, names):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            raise UnsafeArchive(f"relocating {prefix}: {name} is a link, not a file")
        key = (status.st_dev, status.st_ino)
        if key not in seen:
            if status.st_nlink > 1:
                seen.add(key)
            yield _Job(name, kind, path, status.st_size)


def _relocate_link(relocator: FileRelocator, path: str) -> bool:
    old = os.readlink(os.fsencode(path))
    new = relocator.link_target(old)
    if new == old:
        return False
    os.unlink(path)
    os.symlink(new, os.fsencode(path))
    return True
