# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The members of a package's tarball, on their way to a staging directory.

**What has to be relocated is known last.** The lists and the old prefixes are in ``.spack/binary_distribution``, the
last member. But every old path starts like the prefix in the member names. Files without that start are written at
once; the few with it are kept in memory until the map is known, then relocated and written; a file too large for that
is written and patched where it is. Should an old path start otherwise (an upstream elsewhere), the files that the
lists name are looked at again.

**Nothing leaves the prefix.** Names are plain and relative; every directory is made here, before anything in it; files
are opened exclusively; links are made when all files are written, so nothing is written through a link. Spack and we
write into ``.spack`` later: no link there leads out of it, and what is directly in it is no link.
"""

import os
import stat
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...errors import CorruptArchive, UnsafeArchive
from ...formats.file_kinds import BINARY, MAX_GZIP, TEXT, compiled_from, is_checked_pyc, is_gzip, unlisted_kind
from ...relocate.aliases import Aliases
from ...relocate.build_info import BUILD_INFO, MAX_BUILD_INFO_SIZE, BuildInfo
from ...relocate.files import FileRelocator, MachoRelocator, Relocated
from ...relocate.mapping import PrefixMap, Relocation, build_mapping
from ...relocate.other import gunzip
from ...relocate.search import Buffer, find
from ...relocate.text import GrowthLimit
from ..tar_reader import DIRECTORY, FILE, HARD_LINK, TarMember, TarReader
from .leading import SPACK_DIRECTORY, LeadingDirectories
from .metadata import check_hash
from .sparse import SparseWriter
from .staging import remove_tree
from .twins import are_equal_files, is_file_with, is_link_to, two_meanings

#: files up to this size are kept in memory if they have to be relocated ...
LARGE_FILE = 8 << 20
#: ... as long as they are not more than this together
MEMORY = 64 << 20
#: no path of a store needs more, nor more directories in each other
_MAX_PATH = 4096
_MAX_DEPTH = 256
#: bytes that text may grow by, and how often the size of a package; a store root is seldom five times as long
_MIN_GROWTH, _GROWTH = 64 << 20, 4
_SETID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class PrefixAccess:
    """Who may look into the prefix from the moment it is there."""

    #: of the prefix directory itself (Spack: ``get_package_dir_permissions(spec)``); None: as in the tarball
    mode: Optional[int] = None
    #: its numeric group; None: as the parent directory and the process say
    group: Optional[int] = None


@dataclass
class InstallSummary:
    """What was installed."""

    prefix: str
    old_prefix: str
    build_info: BuildInfo
    mapping: PrefixMap
    #: regular files, hard links and symbolic links, not directories
    files: int = 0
    #: bytes of the regular files
    size: int = 0
    relocated: Relocated = field(default_factory=Relocated)
    #: see :func:`.adapt_manifest`
    manifest: Dict[str, Dict[str, Any]] = field(default_factory=dict)


class _Kept(NamedTuple):
    """A file whose writing waits for the map; ``data`` is None if it is on the disk already."""

    member: TarMember
    data: Optional[bytes]


class Extraction:
    """Takes the members of one tarball to a directory. Names of members are kept as they are in the tarball."""

    def __init__(self, directory: str, access: PrefixAccess, label: str) -> None:
        self._root = os.fsencode(directory)
        self._access = access
        self._label = label
        self._leading = LeadingDirectories()
        self._prefix: Optional[bytes] = None
        self._needle = b""
        self._directories: Dict[bytes, TarMember] = {}
        self._files: Set[bytes] = set()
        self._times: Dict[bytes, int] = {}
        #: sources of compiled Python -> the time that they had when they were compiled
        self._compiled: Dict[bytes, int] = {}
        self._links: Dict[bytes, TarMember] = {}
        self._kept: List[_Kept] = []
        self._memory = 0
        self._build_info: Optional[bytes] = None
        #: (member, prefix as it seemed) that made the prefix shorter, if any did
        self._outside: Optional[Tuple[bytes, bytes]] = None
        self._count = 0
        self._size = 0

    # --- first: everything up to the end of the stream

    def run(self, reader: TarReader) -> None:
        for member in reader:
            member = self._checked(member)
            if self._prefix is None and not self._leading.add(member):
                self._settle_prefix()
            if self._prefix is not None:
                self._take(member, reader)
        if self._prefix is None:
            self._settle_prefix()

    def _checked(self, member: TarMember) -> TarMember:
        name = member.name.rstrip(b"/") if member.kind == DIRECTORY else member.name
        if name.startswith(b"./"):
            name = name[2:]
        parts = name.split(b"/")
        if b".." in parts or b"." in parts or b"" in parts or len(name) > _MAX_PATH:
            self._unsafe(member, "has a name that is absolute, not plain, or too long")
        if len(parts) > _MAX_DEPTH:
            self._unsafe(member, f"is in more than {_MAX_DEPTH} directories")
        if member.mode & _SETID and member.kind in (FILE, DIRECTORY):
            self._unsafe(member, "is setuid or setgid")
        return member._replace(name=name)

    def _settle_prefix(self) -> None:
        if not self._leading.members:
            raise CorruptArchive(f"the tarball of {self._label} does not begin with the directories of its prefix")
        depth = self._leading.depth
        if depth == 0:
            raise CorruptArchive(f"the tarball of {self._label} has no prefix")
        self._set_prefix(depth)
        for member in self._leading.members[depth:]:
            self._make_directory(member)

    def _set_prefix(self, depth: int) -> None:
        member = self._leading.members[depth - 1]
        self._prefix = member.name
        self._directories[member.name] = member
        # one or two components: deep enough to be rare in files, and common to store root, sbang and most upstreams
        self._needle = b"/" + b"/".join(member.name.split(b"/")[: max(1, min(2, depth - 1))])

    def _raise_prefix(self, name: bytes) -> None:
        """The prefix is not as deep as it seemed: a package may begin with one directory in the other."""
        assert self._prefix is not None
        names = [member.name for member in self._leading.members]
        depth = names.index(self._prefix) + 1
        while depth and not name.startswith(names[depth - 1] + b"/"):
            depth -= 1
        self._outside = self._outside or (name, self._prefix)
        if depth < 1 or self._build_info is not None:  # its file was where the prefix seemed to be, so that is it
            raise self._outside_error()
        below = self._prefix[len(names[depth - 1]) + 1 :].split(b"/")
        self._prefix = None
        aside = self._root + b".up"
        os.rename(self._root, aside)
        try:
            os.mkdir(self._root, 0o700)
            self._set_prefix(depth)
            for i in range(1, len(below)):
                os.mkdir(os.path.join(self._root, *below[:i]), 0o700)
            os.rename(aside, os.path.join(self._root, *below))
        finally:
            remove_tree(os.fsdecode(aside))
        for member in self._leading.members[depth:]:
            self._directories[member.name] = member

    def _outside_error(self) -> UnsafeArchive:
        name, prefix = self._outside or (b"", b"")
        return UnsafeArchive(f"the tarball of {self._label} holds {_shown(name)}, which is outside of {_shown(prefix)}")

    def _take(self, member: TarMember, reader: TarReader) -> None:
        assert self._prefix is not None
        if not member.name.startswith(self._prefix + b"/"):
            if member.kind == DIRECTORY and (self._prefix + b"/").startswith(member.name + b"/"):
                return  # a parent of the prefix once more
            self._raise_prefix(member.name)
        if member.kind == DIRECTORY:
            self._make_directory(member)
            return
        parent = os.path.dirname(member.name)
        if parent not in self._directories:
            self._make_parents(member, parent)
        if member.kind == FILE:
            self._take_file(member, reader)
        else:
            if member.name in self._links:
                self._unsafe(member, "is in it twice")
            self._links[member.name] = member
        self._count += 1

    def _make_directory(self, member: TarMember) -> None:
        if member.name not in self._directories:
            parent = os.path.dirname(member.name)
            if parent not in self._directories:
                self._make_parents(member, parent)
            self._mkdir(member)
        self._directories[member.name] = member

    def _make_parents(self, member: TarMember, parent: bytes) -> None:
        """Directories that the tarball does not name. Spack's name all of them, except for ``.spack`` now and then."""
        missing = []
        while parent not in self._directories:
            missing.append(parent)
            parent = os.path.dirname(parent)
        for name in reversed(missing):
            self._directories[name] = directory = TarMember(name, DIRECTORY, 0o755, 0, 0, b"")
            self._mkdir(directory)

    def _mkdir(self, member: TarMember) -> None:
        try:
            os.mkdir(self._path(member.name), 0o700)
        except FileExistsError:
            self._check_twin(member, os.path.isdir(self._path(member.name)))

    def _check_twin(self, member: TarMember, means_the_same: bool) -> None:
        """A name is taken: by itself, or by another that the file system takes for it."""
        if member.name in self._directories or (member.kind != FILE and member.name in self._files):
            self._unsafe(member, "is in it twice")
        if not means_the_same:
            raise two_meanings(self._relative(member.name), self._label)

    def _path(self, name: bytes) -> bytes:
        assert self._prefix is not None
        return self._root + name[len(self._prefix) :]

    def _relative(self, name: bytes) -> str:
        assert self._prefix is not None
        return os.fsdecode(name[len(self._prefix) + 1 :])

    def _take_file(self, member: TarMember, reader: TarReader) -> None:
        assert self._prefix is not None
        if member.name in self._files:
            self._unsafe(member, "is in it twice")
        self._files.add(member.name)
        if member.mtime:  # Spack's are 0
            self._times[member.name] = member.mtime
        self._size += member.size
        inside = member.name[len(self._prefix) + 1 :]
        if inside == BUILD_INFO.encode():
            if member.size > MAX_BUILD_INFO_SIZE:
                self._unsafe(member, f"has {member.size} bytes")
            self._build_info = reader.content()
            self._write(member, self._build_info)
        elif inside.startswith(SPACK_DIRECTORY + b"/"):
            self._stream(member, reader, b"")
        elif member.size <= LARGE_FILE:
            data = reader.content()
            compiled = compiled_from(member.name, data[:12])
            if compiled is not None:
                self._compiled[compiled[0]] = compiled[1]
            if not self._may_hold_path(member, data):
                self._write(member, data)
            elif self._memory + len(data) <= MEMORY:
                self._memory += len(data)
                self._kept.append(_Kept(member, data))
            else:
                self._write(member, data)
                self._kept.append(_Kept(member, None))
        elif self._stream(member, reader, self._needle):
            self._kept.append(_Kept(member, None))

    def _may_hold_path(self, member: TarMember, data: bytes) -> bool:
        if find(data, self._needle) >= 0:
            return not is_checked_pyc(member.name, data[:8], self._files)
        if is_gzip(data):
            content = gunzip(data)
            return content is not None and self._needle in content
        return False

    def _open(self, member: TarMember) -> int:
        return os.open(self._path(member.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)

    def _close(self, descriptor: int, member: TarMember) -> None:
        os.fchmod(descriptor, member.mode)
        os.utime(descriptor, (member.mtime, member.mtime))
        os.close(descriptor)

    def _write(self, member: TarMember, data: Buffer) -> None:
        try:
            descriptor = self._open(member)
        except FileExistsError:
            self._check_twin(member, is_file_with(self._path(member.name), data))
            return
        try:
            writer = SparseWriter(descriptor)
            writer.write(data)
            writer.finish()
        finally:
            self._close(descriptor, member)

    def _stream(self, member: TarMember, reader: TarReader, needle: bytes) -> bool:
        """Write a file of any size; True if ``needle`` (not empty) is in it."""
        found = False
        tail = b""
        try:
            descriptor = self._open(member)
        except FileExistsError:
            self._check_twin(member, False)
            raise
        try:
            writer = SparseWriter(descriptor)
            for data, start, end in reader.pieces():
                if needle and not found:
                    seam = tail + data[start : min(end, start + len(needle))]
                    found = needle in seam or data.find(needle, start, end) >= 0
                    tail = (tail + data[max(start, end - len(needle)) : end])[-len(needle) :]
                writer.write(memoryview(data)[start:end])
            writer.finish()
        finally:
            self._close(descriptor, member)
        return found

    def _unsafe(self, member: TarMember, why: str) -> None:
        raise UnsafeArchive(f"the tarball of {self._label} is not safe: {_shown(member.name)} {why}")

    @property
    def times(self) -> Dict[str, int]:
        """Of the files that have another one than 0, by path below the prefix."""
        return {self._relative(name): time for name, time in self._times.items()}

    # --- then: what had to wait for the map

    def finish_as_built(self, dag_hash: str) -> InstallSummary:
        """As :meth:`finish`, with every path as it was where the package was built: for a look at its files."""
        prefix = "/" + os.fsdecode(self._prefix or b"")
        if self._build_info is None:
            return self.finish(prefix, dag_hash, Relocation({}, "", ""), None)  # which says why not
        info = BuildInfo.parse(self._build_info)
        return self.finish(prefix, dag_hash, Relocation(info.hash_to_prefix, info.store_root, info.sbang_path), None)

    def finish(
        self, prefix: str, dag_hash: str, relocation: Relocation, macho: Optional[MachoRelocator]
    ) -> InstallSummary:
        """Relocate and write what had to wait, and make links, for a package that is to be in ``prefix``."""
        assert self._prefix is not None
        if self._build_info is None and self._outside is not None:
            raise self._outside_error()
        if self._build_info is None:
            raise CorruptArchive(f"the tarball of {self._label} is no Spack package: it has no {BUILD_INFO}")
        for member in self._links.values():
            self._check_metadata_link(member)
        check_hash(os.fsdecode(self._root), dag_hash, self._label)
        info = BuildInfo.parse(self._build_info)
        mapping = build_mapping(info, relocation)
        summary = InstallSummary(prefix, "/" + os.fsdecode(self._prefix), info, mapping, self._count, self._size)
        growth = GrowthLimit(max(_MIN_GROWTH, _GROWTH * self._size), self._label)
        relocator = FileRelocator(mapping, self._label, Aliases(relocation), growth)
        kinds = {**dict.fromkeys(info.text_files, TEXT), **dict.fromkeys(info.binaries, BINARY)}
        waiting = self._kept
        if not mapping.is_identity and not all(anchor.startswith(self._needle) for anchor in mapping.anchors):
            kept_names = {kept.member.name for kept in waiting}
            waiting = waiting + [_Kept(member, None) for member in self._written(kinds, kept_names)]
        if macho is not None:
            self._write_kept(waiting)
            waiting = [_Kept(kept.member, None) for kept in waiting]
            macho([os.path.join(os.fsdecode(self._root), name) for name in info.binaries], mapping)
        for kept in waiting:
            self._relocate_kept(kept, kinds.get(self._relative(kept.member.name)), relocator, summary)
        self._make_links(relocator, summary)
        self._restore_times(summary.relocated.files)
        self._finish_directories()
        return summary

    def _written(self, listed: Iterable[str], kept: Set[bytes]) -> Iterator[TarMember]:
        """The files that are listed and on the disk already."""
        assert self._prefix is not None
        for name in listed:
            full = self._prefix + b"/" + os.fsencode(name)
            if full in self._files and full not in kept:
                mode = os.stat(self._path(full)).st_mode & 0o7777
                yield TarMember(full, FILE, mode, 0, int(os.stat(self._path(full)).st_mtime), b"")

    def _write_kept(self, waiting: List[_Kept]) -> None:
        for kept in waiting:
            if kept.data is not None:
                self._write(kept.member, kept.data)

    def _relocate_kept(
        self, kept: _Kept, kind: Optional[str], relocator: FileRelocator, summary: InstallSummary
    ) -> None:
        member = kept.member
        data: Optional[Buffer] = kept.data
        name = self._relative(member.name)
        path = os.fsdecode(self._path(member.name))
        listed = kind
        if kind is None and not summary.mapping.is_identity:
            kind = unlisted_kind(name, _beginning(path) if kept.data is None else kept.data)
        if kind is None or summary.mapping.is_identity:
            changed = False
        elif data is None:
            changed = relocator.on_disk(name, kind, path)
            if changed:
                os.utime(path, (member.mtime, member.mtime))
        else:
            new = relocator.in_memory(name, kind, kept.data or b"")
            changed = new is not None
            data = data if new is None else new
        if data is not None:
            self._write(member, data)
        if changed:
            summary.relocated.add(name, listed)

    def _restore_times(self, changed: Set[str]) -> None:
        """Of the sources of compiled Python, which is called stale at any other time: whoever may not write here would
        compile it at each start. What was ``changed`` has to be compiled anew."""
        for name, time in self._compiled.items():
            if name in self._files and name not in self._times and self._relative(name) not in changed:
                os.utime(self._path(name), (time, time))
                self._times[name] = time

    def _make_links(self, relocator: FileRelocator, summary: InstallSummary) -> None:
        changed = summary.relocated.files
        for member in self._links.values():
            if member.kind == HARD_LINK:
                target = self._make_hard_link(member)
                if self._relative(target) in changed:
                    summary.relocated.others.append(self._relative(member.name))
                continue
            name = self._relative(member.name)
            old, new = (
                os.path.dirname(os.fsencode(os.path.join(p, name))) for p in (summary.old_prefix, summary.prefix)
            )
            target, path = relocator.link_target(member.link, old, new), self._path(member.name)
            try:
                os.symlink(target, path)
            except FileExistsError:
                self._check_twin(member, is_link_to(path, target))
                continue
            if target != member.link:
                summary.relocated.links.append(self._relative(member.name))
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)

    def _check_metadata_link(self, member: TarMember) -> None:
        assert self._prefix is not None
        metadata = self._prefix + b"/" + SPACK_DIRECTORY
        if member.name != metadata and not member.name.startswith(metadata + b"/"):
            return
        target = member.link if member.kind == HARD_LINK else os.path.join(os.path.dirname(member.name), member.link)
        if os.path.dirname(member.name) in (self._prefix, metadata):
            self._unsafe(member, "is a link, where Spack writes files")
        if not os.path.normpath(target).startswith(metadata + b"/"):
            self._unsafe(member, "is a link that leads out of .spack")

    def _make_hard_link(self, member: TarMember) -> bytes:
        """Returns the name of the file that it leads to."""
        target = member.link[2:] if member.link.startswith(b"./") else member.link
        if target not in self._files:
            self._unsafe(member, f"is a hard link to {_shown(target)}, which is no file of the package")
        try:
            os.link(self._path(target), self._path(member.name), follow_symlinks=False)
        except FileExistsError:
            self._check_twin(member, are_equal_files(self._path(target), self._path(member.name)))
        self._files.add(member.name)
        return target

    def _finish_directories(self) -> None:
        """Modes and times, the deepest first: a directory may be read-only. In a store of a group, directories keep the
        bit that gives the group what is made in them."""
        inherited = os.stat(self._root).st_mode & stat.S_ISGID if self._access.mode is None else 0
        for name in sorted(self._directories, reverse=True):
            member = self._directories[name]
            path = self._path(name)
            if name == self._prefix:
                self._finish_prefix(path, member.mode | inherited)
            else:
                os.chmod(path, member.mode | inherited)
            os.utime(path, (member.mtime, member.mtime))

    def _finish_prefix(self, path: bytes, mode: int) -> None:
        """Group first: chown clears setgid."""
        if self._access.group is not None:
            os.chown(path, -1, self._access.group)
        os.chmod(path, mode if self._access.mode is None else self._access.mode)


def _beginning(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_GZIP + 1)


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")
