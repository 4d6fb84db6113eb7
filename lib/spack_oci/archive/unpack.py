# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a compressed stream to an installed prefix in one pass.

Decompress, untar, relocate, write: into a hidden sibling of the prefix, which is renamed when the stream was read to
its end (so that who verifies it has verified it) and everything is in place. On any failure nothing is left.

**What has to be relocated is known last.** The lists and the old prefixes are in ``.spack/binary_distribution``, the
last member. But every old path starts like the prefix in the member names. Files without that start are written at
once; the few with it are kept in memory until the map is known, then relocated and written; a file too large for that
is written and patched where it is. Should an old path start otherwise (an upstream elsewhere), the files that the
lists name are looked at again.

**Nothing leaves the prefix.** Names are plain and relative; every directory is made here, before anything in it; files
are opened exclusively; links are made when all files are written, so nothing is written through a link.
"""

import os
import stat
from dataclasses import dataclass, field
from typing import BinaryIO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import CorruptArchive, DigestMismatch, StorageError, UnsafeArchive
from ..formats.file_kinds import BINARY, MAX_GZIP, TEXT, is_checked_pyc, is_gzip, unlisted_kind
from ..relocate.aliases import Aliases
from ..relocate.build_info import BUILD_INFO, MAX_BUILD_INFO_SIZE, BuildInfo
from ..relocate.mapping import PrefixMap, Relocation, build_mapping
from ..relocate.other import gunzip
from ..relocate.prefix import FileRelocator, MachoRelocator, Relocated
from ..relocate.search import Buffer, find
from .codec import open_decompressor
from .read_ahead import ReadAhead
from .staging import commit, remove_stale, remove_tree, staging_directory
from .tar_reader import DIRECTORY, FILE, HARD_LINK, Member, TarReader

#: files up to this size are kept in memory if they have to be relocated ...
_LARGE_FILE = 8 << 20
#: ... as long as they are not more than this together
_MEMORY = 64 << 20
#: no path of a store needs more
_MAX_PATH = 4096
_SPACK_DIRECTORY = b".spack"
_SETID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class ExtractionPolicy:
    """What a tarball may do. The defaults are what Spack's own tarballs need."""

    #: mode of the prefix directory itself (Spack: ``get_package_dir_permissions(spec)``); None: as in the tarball
    directory_mode: Optional[int] = None
    #: numeric group of the prefix directory; None: as the parent directory and the process say
    group: Optional[int] = None
    #: accept setuid and setgid bits. Spack's own writer never stores them
    set_id: bool = False
    #: set the modification times of the tarball (Spack's are 0), as Python's tarfile does
    times: bool = True
    #: bytes that the tarball may unpack to; None: :func:`size_limit` of the compressed size
    max_size: Optional[int] = None


DEFAULT_POLICY = ExtractionPolicy()


def size_limit(compressed_size: int) -> int:
    """Bytes that a layer may unpack to: 250 times its size, and 1 GiB in any case.

    gzip stops at a ratio of 1032, zstd far beyond; software is packed at 2 to 5.
    """
    return (1 << 30) + 250 * compressed_size


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


class _Kept(NamedTuple):
    """A file whose writing waits for the map; ``data`` is None if it is on the disk already."""

    member: Member
    data: Optional[bytes]


def install_layer(
    source: BinaryIO,
    media_type: str,
    prefix: str,
    relocation: Relocation,
    *,
    policy: ExtractionPolicy = DEFAULT_POLICY,
    diff_id: Optional[str] = None,
    compressed_size: Optional[int] = None,
    replace: bool = False,
    what: str = "",
    aliases: Optional[Aliases] = None,
    macho: Optional[MachoRelocator] = None,
    before_rename: Callable[[InstallSummary], None] = lambda facts: None,
) -> InstallSummary:
    """Install a package's layer into ``prefix`` (absolute).

    ``source``: the compressed stream; whatever it raises at its end (DigestMismatch) stops the install. ``diff_id``:
    the expected digest of the tar, if known. ``compressed_size``: bounds what it may unpack to. ``replace``: an
    existing prefix is replaced; otherwise it is an error. ``what``: names the package in errors. ``aliases``: short
    names for strings that cannot grow (default: those of the store). ``macho``: see ``relocate``. ``before_rename``:
    called when the hidden sibling is complete; what it raises stops the install.

    Missing parent directories of the prefix are made with the process's umask; a caller with other wishes makes them
    before. Raises CorruptArchive, UnsafeArchive, DigestMismatch, PrefixTooLong, StorageError.
    """
    what = what or os.path.basename(prefix)
    if not replace and os.path.lexists(prefix):
        raise StorageError(f"installing {what}: {prefix} exists", remedy="remove it, or install with --overwrite")
    max_size = policy.max_size
    if max_size is None and compressed_size is not None:
        max_size = size_limit(compressed_size)
    aliases = aliases or Aliases(relocation)
    try:
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        remove_stale(prefix)
        with staging_directory(prefix) as directory:
            with open_decompressor(media_type, source) as stream, ReadAhead(stream, compressed_size, diff_id) as tar:
                extraction = _Extraction(directory, policy, what)
                extraction.run(TarReader(tar.read, max_size))
                if diff_id is not None and tar.digest != diff_id:
                    raise DigestMismatch(f"the tarball of {what} has the digest {tar.digest}, not {diff_id}")
            facts = extraction.finish(prefix, relocation, aliases, macho)
            before_rename(facts)
            commit(directory, prefix, replace)
            return facts
    except OSError as e:
        raise StorageError.from_os_error(f"installing {what} into {prefix}", e) from e


class _Extraction:
    """Takes the members of one tarball to a directory. Names of members are kept as they are in the tarball."""

    def __init__(self, directory: str, policy: ExtractionPolicy, what: str) -> None:
        self._root = os.fsencode(directory)
        self._policy = policy
        self._what = what
        #: the directories that lead to the prefix, and the prefix, as far as they are known
        self._leading: List[Member] = []
        self._prefix: Optional[bytes] = None
        self._needle = b""
        self._directories: Dict[bytes, Member] = {}
        self._files: Set[bytes] = set()
        self._links: List[Member] = []
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
            if self._prefix is None and not self._leads(member):
                self._settle_prefix()
            if self._prefix is not None:
                self._take(member, reader)
        if self._prefix is None:
            self._settle_prefix()

    def _checked(self, member: Member) -> Member:
        name = member.name.rstrip(b"/") if member.kind == DIRECTORY else member.name
        if name.startswith(b"./"):
            name = name[2:]
        parts = name.split(b"/")
        if b".." in parts or b"." in parts or b"" in parts or len(name) > _MAX_PATH:
            self._unsafe(member, "has a name that is absolute, not plain, or too long")
        if member.mode & _SETID and member.kind in (FILE, DIRECTORY) and not self._policy.set_id:
            self._unsafe(member, "is setuid or setgid")
        return member._replace(name=name)

    def _leads(self, member: Member) -> bool:
        """Whether the tarball still descends to the prefix: one directory in the other, nothing else."""
        parent = self._leading[-1].name if self._leading else None
        if member.kind != DIRECTORY or (parent is not None and os.path.dirname(member.name) != parent):
            return False
        self._leading.append(member)
        return True

    def _settle_prefix(self) -> None:
        """The last of the leading directories, unless that is ``.spack``: then its parent."""
        if not self._leading:
            raise CorruptArchive(f"the tarball of {self._what} does not begin with the directories of its prefix")
        last = self._leading[-1].name
        depth = len(self._leading) - (1 if os.path.basename(last) == _SPACK_DIRECTORY else 0)
        if depth == 0:
            raise CorruptArchive(f"the tarball of {self._what} has no prefix")
        self._set_prefix(depth)
        for member in self._leading[depth:]:
            self._make_directory(member)

    def _set_prefix(self, depth: int) -> None:
        member = self._leading[depth - 1]
        self._prefix = member.name
        self._directories[member.name] = member
        # one or two components: deep enough to be rare in files, and common to store root, sbang and most upstreams
        self._needle = b"/" + b"/".join(member.name.split(b"/")[: max(1, min(2, depth - 1))])

    def _raise_prefix(self, name: bytes) -> None:
        """The prefix is not as deep as it seemed: a package may begin with one directory in the other."""
        assert self._prefix is not None
        names = [member.name for member in self._leading]
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
        for member in self._leading[depth:]:
            self._directories[member.name] = member

    def _outside_error(self) -> UnsafeArchive:
        name, prefix = self._outside or (b"", b"")
        return UnsafeArchive(f"the tarball of {self._what} holds {_shown(name)}, which is outside of {_shown(prefix)}")

    def _take(self, member: Member, reader: TarReader) -> None:
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
            self._links.append(member)
        self._count += 1

    def _make_directory(self, member: Member) -> None:
        if member.name not in self._directories:
            parent = os.path.dirname(member.name)
            if parent not in self._directories:
                self._make_parents(member, parent)
            self._mkdir(member)
        self._directories[member.name] = member

    def _make_parents(self, member: Member, parent: bytes) -> None:
        """Directories that the tarball does not name. Spack's name all of them, except for ``.spack`` now and then."""
        missing = []
        while parent not in self._directories:
            missing.append(parent)
            parent = os.path.dirname(parent)
        for name in reversed(missing):
            self._directories[name] = directory = Member(name, DIRECTORY, 0o755, 0, 0, b"")
            self._mkdir(directory)

    def _mkdir(self, member: Member) -> None:
        try:
            os.mkdir(self._path(member.name), 0o700)
        except FileExistsError:
            self._unsafe(member, "is in it twice")

    def _path(self, name: bytes) -> bytes:
        assert self._prefix is not None
        return self._root + name[len(self._prefix) :]

    def _relative(self, name: bytes) -> str:
        assert self._prefix is not None
        return os.fsdecode(name[len(self._prefix) + 1 :])

    def _take_file(self, member: Member, reader: TarReader) -> None:
        assert self._prefix is not None
        self._files.add(member.name)
        self._size += member.size
        inside = member.name[len(self._prefix) + 1 :]
        if inside == BUILD_INFO.encode():
            if member.size > MAX_BUILD_INFO_SIZE:
                self._unsafe(member, f"has {member.size} bytes")
            self._build_info = reader.content()
            self._write(member, self._build_info)
        elif inside.startswith(_SPACK_DIRECTORY + b"/"):
            self._stream(member, reader, b"")
        elif member.size <= _LARGE_FILE:
            data = reader.content()
            if not self._may_hold_path(member, data):
                self._write(member, data)
            elif self._memory + len(data) <= _MEMORY:
                self._memory += len(data)
                self._kept.append(_Kept(member, data))
            else:
                self._write(member, data)
                self._kept.append(_Kept(member, None))
        elif self._stream(member, reader, self._needle):
            self._kept.append(_Kept(member, None))

    def _may_hold_path(self, member: Member, data: bytes) -> bool:
        if find(data, self._needle) >= 0:
            return not is_checked_pyc(member.name, data[:8], self._files)
        if is_gzip(data):
            content = gunzip(data)
            return content is not None and self._needle in content
        return False

    def _open(self, member: Member) -> int:
        try:
            return os.open(self._path(member.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            self._unsafe(member, "is in it twice")
            raise

    def _close(self, descriptor: int, member: Member) -> None:
        os.fchmod(descriptor, member.mode)
        if self._policy.times:
            os.utime(descriptor, (member.mtime, member.mtime))
        os.close(descriptor)

    def _write(self, member: Member, data: Buffer) -> None:
        descriptor = self._open(member)
        try:
            _write_all(descriptor, data)
        finally:
            self._close(descriptor, member)

    def _stream(self, member: Member, reader: TarReader, needle: bytes) -> bool:
        """Write a file of any size; True if ``needle`` (not empty) is in it."""
        found = False
        tail = b""
        descriptor = self._open(member)
        try:
            for data, start, end in reader.pieces():
                if needle and not found:
                    seam = tail + data[start : min(end, start + len(needle))]
                    found = needle in seam or data.find(needle, start, end) >= 0
                    tail = (tail + data[max(start, end - len(needle)) : end])[-len(needle) :]
                _write_all(descriptor, memoryview(data)[start:end])
        finally:
            self._close(descriptor, member)
        return found

    def _unsafe(self, member: Member, why: str) -> None:
        raise UnsafeArchive(f"the tarball of {self._what} is not safe: {_shown(member.name)} {why}")

    # --- then: what had to wait for the map

    def finish(
        self, prefix: str, relocation: Relocation, aliases: Aliases, macho: Optional[MachoRelocator]
    ) -> InstallSummary:
        assert self._prefix is not None
        if self._build_info is None and self._outside is not None:
            raise self._outside_error()
        if self._build_info is None:
            raise CorruptArchive(f"the tarball of {self._what} is no Spack package: it has no {BUILD_INFO}")
        info = BuildInfo.parse(self._build_info)
        mapping = build_mapping(info, relocation)
        facts = InstallSummary(prefix, "/" + os.fsdecode(self._prefix), info, mapping, self._count, self._size)
        relocator = FileRelocator(mapping, self._what, aliases)
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
            self._relocate_kept(kept, kinds.get(self._relative(kept.member.name)), relocator, facts)
        self._make_links(relocator, facts)
        self._finish_directories()
        return facts

    def _written(self, listed: Iterable[str], kept: Set[bytes]) -> Iterator[Member]:
        """The files that are listed and on the disk already."""
        assert self._prefix is not None
        for name in listed:
            full = self._prefix + b"/" + os.fsencode(name)
            if full in self._files and full not in kept:
                mode = os.stat(self._path(full)).st_mode & 0o7777
                yield Member(full, FILE, mode, 0, int(os.stat(self._path(full)).st_mtime), b"")

    def _write_kept(self, waiting: List[_Kept]) -> None:
        for kept in waiting:
            if kept.data is not None:
                self._write(kept.member, kept.data)

    def _relocate_kept(self, kept: _Kept, kind: Optional[str], relocator: FileRelocator, facts: InstallSummary) -> None:
        member = kept.member
        data: Optional[Buffer] = kept.data
        name = self._relative(member.name)
        path = os.fsdecode(self._path(member.name))
        listed = kind
        if kind is None and not facts.mapping.is_identity:
            kind = unlisted_kind(name, _beginning(path) if kept.data is None else kept.data)
        if kind is None or facts.mapping.is_identity:
            changed = False
        elif data is None:
            changed = relocator.on_disk(name, kind, path)
            if changed and self._policy.times:
                os.utime(path, (member.mtime, member.mtime))
        else:
            new = relocator.in_memory(name, kind, kept.data or b"")
            changed = new is not None
            data = data if new is None else new
        if data is not None:
            self._write(member, data)
        if changed:
            facts.relocated.add(name, listed)

    def _make_links(self, relocator: FileRelocator, facts: InstallSummary) -> None:
        for member in self._links:
            try:
                if member.kind == HARD_LINK:
                    self._make_hard_link(member)
                    continue
                target = relocator.link_target(member.link)
                if target != member.link:
                    facts.relocated.links.append(self._relative(member.name))
                os.symlink(target, self._path(member.name))
                if self._policy.times:
                    os.utime(self._path(member.name), (member.mtime, member.mtime), follow_symlinks=False)
            except FileExistsError:
                self._unsafe(member, "is in it twice")

    def _make_hard_link(self, member: Member) -> None:
        target = member.link[2:] if member.link.startswith(b"./") else member.link
        if target not in self._files:
            self._unsafe(member, f"is a hard link to {_shown(target)}, which is no file of the package")
        os.link(self._path(target), self._path(member.name), follow_symlinks=False)
        self._files.add(member.name)

    def _finish_directories(self) -> None:
        """Modes and times, the deepest first: a directory may be read-only."""
        for name in sorted(self._directories, reverse=True):
            member = self._directories[name]
            path = self._path(name)
            os.chmod(path, member.mode)
            if name == self._prefix:
                self._finish_prefix(path)
            if self._policy.times:
                os.utime(path, (member.mtime, member.mtime))

    def _finish_prefix(self, path: bytes) -> None:
        if self._policy.group is not None:
            os.chown(path, -1, self._policy.group)
        if self._policy.directory_mode is not None:
            os.chmod(path, self._policy.directory_mode)


def _write_all(descriptor: int, data) -> None:
    written = os.write(descriptor, data) if data else 0
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(descriptor, data)


def _beginning(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_GZIP + 1)


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")
