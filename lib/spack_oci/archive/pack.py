# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package's layer: the reproducible, compressed tar of an install prefix, made in one pass over its files.

While a file is read, its bytes go to the scan for old prefixes, to the digest of the tar (the diff ID), to the
compressor and, compressed, to the digest of the layer and to the sink. The members are those that Spack writes, in
Spack's order: the parent directories, then each directory, its files by name, its sub-directories by name.
"""

import hashlib
import json
import os
import re
import stat
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..content import Progress
from ..descriptor import Descriptor
from ..errors import PrefixChanged, StorageError
from ..formats.elf import read_paths
from ..relocate.build_info import BUILD_INFO
from ..util.concurrency.cancellation import Cancelled
from . import tar
from .codec import Compression, open_compressor
from .prefix_files import Entry, prefix_files, read_error
from .scan import BINARY, OTHER, TEXT, FileScan, PrefixSearch
from .stream import TarStream

_DIRECTORY_MODE = 0o755
_LINK_MODE = 0o755
#: how much of a string is looked at to tell which old prefix it starts with
_LONGEST_PREFIX = 4096


@dataclass
class RelocationSummary:
    """What a reader may want to know before it downloads the layer."""

    #: bytes of the install prefix
    prefix_length: int
    #: binaries that hold an old prefix, and how often they do
    binaries: int = 0
    strings: int = 0
    #: those of ``strings`` that cannot grow: see :meth:`~spack_oci.formats.elf.ElfPaths.is_fixed`
    fixed_strings: int = 0
    #: length of the shortest package's prefix in ``fixed_strings``, 0 if there is none. Paths below the store root that
    #: are no package's do not count: they lead nowhere in another store
    shortest_fixed: int = 0
    #: files that are neither text nor ELF or Mach-O but hold an old prefix: Spack leaves them as they are
    unknown_files: int = 0
    #: bytes of the tarball: what a reader lets it unpack to, and needs space for
    unpacked_size: int = 0

    def to_dict(self) -> Dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class PackedLayer:
    """``descriptor``: of the compressed tar; ``diff_id``: digest of the tar; ``tar_size``: its bytes."""

    descriptor: Descriptor
    diff_id: str
    tar_size: int
    #: members other than directories
    files: int
    #: paths relative to the prefix
    relocate_textfiles: Sequence[str] = field(default=(), repr=False)
    relocate_binaries: Sequence[str] = field(default=(), repr=False)
    relocate_links: Sequence[str] = field(default=(), repr=False)
    summary: RelocationSummary = field(default_factory=lambda: RelocationSummary(0))


def pack_prefix(
    prefix: str,
    *,
    build_info: Mapping[str, Any],
    old_prefixes: Sequence[str],
    compression: Compression,
    sink: BinaryIO,
    pool: Optional[Executor] = None,
    threads: int = 1,
    progress: Optional[Progress] = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> PackedLayer:
    """Write the layer of ``prefix`` (absolute) to ``sink``.

    ``build_info``: the head of ``.spack/binary_distribution``, to which the relocation lists are added;
    ``old_prefixes``: what to look for; ``pool`` and ``threads``: see :func:`~.codec.open_compressor`; ``progress``:
    told the bytes read. Raises PrefixChanged when files change or vanish meanwhile, StorageError when they cannot be
    read or the sink cannot be written, Cancelled.
    """
    output = _Output(sink)
    compressor = open_compressor(compression, output.write, pool=pool, threads=threads)
    stream = TarStream(compressor)
    packer = _Packer(os.fsencode(prefix), build_info, old_prefixes, stream, progress, cancelled)
    try:
        packer.pack()
    except BaseException:
        compressor.abort()
        raise
    packer.summary.unpacked_size = stream.size
    return PackedLayer(
        Descriptor(compression.media_type, f"sha256:{output.hasher.hexdigest()}", output.size),
        stream.diff_id,
        stream.size,
        packer.files,
        tuple(packer.textfiles),
        tuple(packer.binaries),
        tuple(packer.links),
        packer.summary,
    )


class _Output:
    """The compressed side: digest, size, sink."""

    def __init__(self, sink: BinaryIO) -> None:
        self.hasher = hashlib.sha256()
        self.size = 0
        self._sink = sink

    def write(self, data: bytes) -> None:
        self.hasher.update(data)
        self.size += len(data)
        try:
            self._sink.write(data)
        except OSError as e:
            raise StorageError.from_os_error("writing a layer", e) from e


class _Packer:
    def __init__(
        self,
        prefix: bytes,
        build_info: Mapping[str, Any],
        old_prefixes: Sequence[str],
        stream: TarStream,
        progress: Optional[Progress],
        cancelled: Callable[[], bool],
    ) -> None:
        self.files = 0
        self.textfiles: List[str] = []
        self.binaries: List[str] = []
        self.links: List[str] = []
        self.summary = RelocationSummary(len(prefix))
        self._prefix = prefix
        self._name = prefix.lstrip(b"/")
        self._search = PrefixSearch(old_prefixes)
        self._head = build_info
        self._packages = [os.fsencode(prefix) for prefix in build_info.get("hash_to_prefix", {}).values()]
        self._stream = stream
        self._progress = progress or (lambda count: None)
        self._cancelled = cancelled
        #: (device, inode) -> name of the member that has the content
        self._hard_links: Dict[Tuple[int, int], bytes] = {}
        self._build_info = self._identity_of_build_info()

    def pack(self) -> None:
        self._add_parents()
        self._stream.next_member()
        for directory, entries in prefix_files(self._prefix):
            if self._cancelled():
                raise Cancelled
            self._stream.write(tar.header(self._member(directory), tar.DIRECTORY, _DIRECTORY_MODE))
            for entry in entries:
                if entry.is_link:
                    self._add_link(entry)
                else:
                    self._add_file(entry)
        self._add_build_info()
        self._stream.finish(tar.end_of_archive)

    def _member(self, relative: bytes) -> bytes:
        return self._name + b"/" + relative if relative else self._name

    def _identity_of_build_info(self) -> Optional[Tuple[int, int]]:
        """Of an older ``binary_distribution`` (the package came from a cache itself), which is not packed."""
        try:
            found = os.lstat(os.path.join(self._prefix, os.fsencode(BUILD_INFO)))
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _add_parents(self) -> None:
        parts = self._name.split(b"/")
        for count in range(1, len(parts)):
            self._stream.write(tar.header(b"/".join(parts[:count]), tar.DIRECTORY, _DIRECTORY_MODE))

    def _add_link(self, entry: Entry) -> None:
        try:
            target = os.readlink(entry.path)
        except OSError as e:
            raise PrefixChanged(f"packing {os.fsdecode(entry.path)}: it was a link and is none now") from e
        if self._search.matches_link(target):
            self.links.append(os.fsdecode(entry.relative))
        self._stream.write(tar.header(self._member(entry.relative), tar.SYMLINK, _LINK_MODE, 0, target))
        self.files += 1

    def _add_file(self, entry: Entry) -> None:
        try:
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as e:
            raise read_error(entry.path, e) from e
        try:
            self._add_open_file(entry, descriptor)
        except OSError as e:
            raise read_error(entry.path, e) from e
        finally:
            os.close(descriptor)

    def _add_open_file(self, entry: Entry, descriptor: int) -> None:
        before = os.fstat(descriptor)
        identity = (before.st_dev, before.st_ino)
        if identity == self._build_info:
            return
        self.files += 1
        name, size = self._member(entry.relative), before.st_size
        mode = 0o755 if before.st_mode & stat.S_IXUSR else 0o644
        if before.st_nlink > 1:
            first = self._hard_links.setdefault(identity, name)
            if first is not name:
                self._stream.write(tar.header(name, tar.HARD_LINK, mode, 0, first))
                return
        self._stream.write(tar.header(name, tar.REGULAR, mode, size))
        if size:
            scan = self._copy(descriptor, entry, size)
            self._stream.write(tar.padding(size))
            if scan.found:
                self._note(entry, scan, descriptor)
        if _state(os.fstat(descriptor)) != _state(before):
            raise PrefixChanged(f"packing {os.fsdecode(entry.path)}: it changed while it was read")

    def _copy(self, descriptor: int, entry: Entry, size: int) -> FileScan:
        """The content of one file, into the archive and through the scan."""
        stream, scan = self._stream, FileScan(self._search)
        # nothing in .spack is relocated
        scanned = not entry.relative.startswith(b".spack/")
        if size <= stream.room:
            start, end = stream.read_from(descriptor, size)
            self._check_length(entry, end - start, size)
            if scanned:
                scan.whole(stream.buffer, start, end)
            stream.accept(size)
            self._progress(size)
            return scan
        scan.begin(os.pread(descriptor, 8, 0))
        left = size
        while left:
            if self._cancelled():
                raise Cancelled
            count = min(left, stream.room)
            start, end = stream.read_from(descriptor, count)
            self._check_length(entry, end - start, count)
            if scanned:
                scan.feed(stream.buffer, start, end)
            stream.accept(count)
            self._progress(count)
            left -= count
        if scanned:
            scan.finish()
        return scan

    @staticmethod
    def _check_length(entry: Entry, got: int, expected: int) -> None:
        if got < expected:
            raise PrefixChanged(f"packing {os.fsdecode(entry.path)}: it shrank while it was read")

    def _note(self, entry: Entry, scan: FileScan, descriptor: int) -> None:
        """Add a file that holds an old prefix to its list, and to the summary."""
        if scan.kind == TEXT:
            self.textfiles.append(os.fsdecode(entry.relative))
        elif scan.kind == OTHER:
            self.summary.unknown_files += 1
        elif scan.kind == BINARY:
            self.binaries.append(os.fsdecode(entry.relative))
            self._count_strings(scan.hits, lambda offset, length: os.pread(descriptor, length, offset))

    def _count_strings(self, hits: Sequence[int], read_at: Callable[[int, int], bytes]) -> None:
        summary = self.summary
        summary.binaries += 1
        summary.strings += len(hits)
        paths = read_paths(read_at)
        fixed = [at for at in hits if paths.is_fixed(at)]
        summary.fixed_strings += len(fixed)
        for at in fixed:
            text = read_at(at, _LONGEST_PREFIX)
            # the longest that matches is the one that a reader replaces
            length = max((len(prefix) for prefix in self._packages if text.startswith(prefix)), default=0)
            if length:
                summary.shortest_fixed = min(summary.shortest_fixed or length, length)

    def _add_build_info(self) -> None:
        document = {
            **self._head,
            "relocate_textfiles": self.textfiles,
            "relocate_binaries": self.binaries,
            "relocate_links": self.links,
        }
        data = build_info_bytes(document)
        self._stream.write(tar.header(self._member(os.fsencode(BUILD_INFO)), tar.REGULAR, 0o644, len(data)))
        self._stream.write(data + tar.padding(len(data)))
        self.files += 1


def _state(found: os.stat_result) -> Tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


#: not printable for YAML 1.1, or a line break to it; JSON lets them stand unescaped
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def build_info_bytes(document: Mapping[str, Any]) -> bytes:
    """``binary_distribution`` as JSON that a YAML loader, which Spack uses, reads alike."""
    text = json.dumps(document, ensure_ascii=False)
    text = _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    # file names that are not UTF-8 hold lone surrogates, which become escapes as well
    return text.encode("utf-8", "backslashreplace")
