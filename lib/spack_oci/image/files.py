# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Layers that are written member by member: small files of ours, and packages with some files left out."""

import hashlib
from dataclasses import dataclass
from typing import BinaryIO, Callable, Dict, Iterable, Iterator, Mapping, Optional, Tuple

from ..archive import tar
from ..archive.codec import Compression, open_compressor, open_decompressor
from ..archive.tar_reader import DIRECTORY, FILE, HARD_LINK, SYMLINK, TarMember, TarReader
from ..package.record import Layer
from .compose import LayerSource, describe_file
from .directories import PLAIN, Directories, header, parents
from .exclusions import Exclusions

_CHUNK = 1 << 18


class _TarWriter:
    """A compressed, reproducible tar; its end is in a member of its own, as :mod:`.compose` wants it."""

    def __init__(self, compression: Compression, sink: BinaryIO) -> None:
        self._compression = compression
        self._sink = sink
        self._compressor = open_compressor(compression, sink.write)
        self._hasher = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._hasher.update(data)
        self._compressor.write(data)
        self._size += len(data)

    def add(self, member: TarMember, content: Iterable[bytes] = ()) -> None:
        self.write(tar.header(member.name, member.kind, member.mode, member.size, member.link))
        for chunk in content:
            self.write(chunk)
        self.write(tar.padding(member.size))

    def next_member(self) -> None:
        self._compressor.next_member()

    def finish(self, label: str) -> Layer:
        self.next_member()
        self.write(tar.end_of_archive(self._size))
        self._compressor.finish()
        descriptor = describe_file(self._sink, self._compression.media_type)
        return Layer(descriptor, "sha256:" + self._hasher.hexdigest(), label)


@dataclass(frozen=True)
class FileEntry:
    """A symbolic link (``link``: its target) or a file."""

    content: bytes = b""
    mode: int = 0o644
    link: Optional[str] = None


def files_layer(
    files: Mapping[str, FileEntry],
    compression: Compression,
    sink: BinaryIO,
    label: str = "",
    directories: Directories = PLAIN,
) -> Layer:
    """Write to ``sink`` a layer of small files: absolute path -> content or link, in their order, all of them root's.

    Parents are added as ``directories`` has them, else with mode 0755, as in Spack's own layers. What else is in
    ``directories`` is there too, because a layer below may have it otherwise.
    """
    writer = _TarWriter(compression, sink)
    needed = {*parents(files), *directories, *parents(directories)}
    for path in sorted({*needed, *files}, key=lambda path: path.split("/")):
        if path not in files:
            writer.write(header(_member_name(path), directories))
            continue
        entry, name = files[path], _member_name(path)
        if entry.link is not None:
            link = entry.link.encode("utf-8", "surrogateescape")
            writer.add(TarMember(name, SYMLINK, 0o777, 0, 0, link))
        else:
            writer.add(TarMember(name, FILE, entry.mode, len(entry.content), 0, b""), [entry.content])
    return writer.finish(label)


def _member_name(path: str) -> bytes:
    return path.lstrip("/").encode("utf-8", "surrogateescape")


def filter_layer(
    source: LayerSource, prefix: str, exclusions: Exclusions, compression: Compression, sink: BinaryIO, label: str = ""
) -> Layer:
    """Write to ``sink`` the layer of ``source`` without what ``exclusions`` name below ``prefix``.

    A hard link whose first name is left out takes the content over. Directories that are left empty stay.
    """
    excluded = exclusions.compiled()
    root = prefix.strip("/").encode("utf-8", "surrogateescape") + b"/"

    def is_out(name: bytes) -> bool:
        name = name.rstrip(b"/")
        return name.startswith(root) and excluded(name[len(root) :].decode("utf-8", "surrogateescape"))

    heirs = _heirs_of_hard_links(source, is_out)
    writer = _TarWriter(compression, sink)
    in_parents = True
    for reader, member in _members(source):
        if in_parents and not (member.kind == DIRECTORY and root.startswith(member.name.rstrip(b"/") + b"/")):
            in_parents = False
            writer.next_member()
        kept = _kept_as(member, heirs, is_out)
        if kept is not None:
            writer.add(kept, (data[start:end] for data, start, end in reader.pieces()))
    return writer.finish(label)


def _members(source: LayerSource) -> Iterator[Tuple[TarReader, TarMember]]:
    with source.open() as stream:
        content = open_decompressor(source.descriptor.media_type, stream)
        reader = TarReader(lambda: content.read(_CHUNK))
        for member in reader:
            yield reader, member


def _heirs_of_hard_links(source: LayerSource, is_out: Callable[[bytes], bool]) -> Dict[bytes, bytes]:
    """First name of a file that is left out -> the first of its other names that is not."""
    heirs: Dict[bytes, bytes] = {}
    for _, member in _members(source):
        if member.kind == HARD_LINK and is_out(member.link) and not is_out(member.name):
            heirs.setdefault(member.link, member.name)
    return heirs


def _kept_as(member: TarMember, heirs: Dict[bytes, bytes], is_out: Callable[[bytes], bool]) -> Optional[TarMember]:
    """The member as it is written, or None."""
    if member.kind == HARD_LINK and member.link in heirs:
        heir = heirs[member.link]
        if is_out(member.name) or member.name == heir:
            return None
        return member._replace(link=heir)
    if not is_out(member.name):
        return member
    if member.kind == FILE and member.name in heirs:
        return member._replace(name=heirs[member.name])
    return None
