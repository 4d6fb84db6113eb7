# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is to be known of the layers of a base image: its C library, its shared libraries, and its directories.

A layer is read once, to its end, which checks its digest; what it has is kept under that digest. A large layer whose
glibc alone is asked for is read up to that, and what was found is used, but not kept: its digest is not known.
"""

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Set

from ...archive.tar_reader import DIRECTORY, FILE, SPARSE, TarMember
from ...content import BlobReader
from ...descriptor import Descriptor
from ...errors import ImageError, NotFound
from ..directories import SHARED, Directories, Directory
from ..manifest import Base
from ..needs.libc import GLIBC, Libc, is_libc_file, libc_in
from ..results import Results
from .tarball import layers_from_top, visit_members

#: layers with more compressed bytes are not read to their end for the C library alone; Debian's has 50 to 100 MB
LARGE = 128 << 20


@dataclass
class _Summary:
    """Of one layer. ``directories``: absolute path -> None for one with Spack's own mode and owner."""

    libcs: Set[Libc] = field(default_factory=set)
    directories: Dict[str, Optional[Directory]] = field(default_factory=dict)
    #: names of files and links that may be shared libraries
    libraries: Set[str] = field(default_factory=set)

    def to_json(self) -> Dict[str, Any]:
        libcs = sorted([libc.name, *libc.version] for libc in self.libcs)
        return {"libcs": libcs, "directories": self.directories, "libraries": sorted(self.libraries)}

    @classmethod
    def from_json(cls, document: Dict[str, Any]) -> "_Summary":
        directories = {path: Directory(*found) if found else None for path, found in document["directories"].items()}
        libcs = {Libc(libc[0], tuple(libc[1:])) for libc in document["libcs"]}
        return cls(libcs, directories, set(document["libraries"]))


def libcs_of_base(store: BlobReader, base: Base, cache: Optional[Results] = None) -> List[Libc]:
    """The C libraries of a base image whose layers are in ``store``; usually one, none in a ``static`` image.

    Layers are read from the top, and only until one has a C library. Raises CorruptArchive for one that is no tar,
    DigestMismatch for one that is not what it should be, :class:`ImageError` for one that is not there.
    """
    for descriptor in layers_from_top(base):
        libcs = _summary_of(store, base, descriptor, cache, whole=False).libcs
        if libcs:
            return sorted(libcs, key=lambda libc: (libc.name, libc.version))
    return []


def libraries_of_base(store: BlobReader, base: Base, cache: Optional[Results] = None) -> Optional[Set[str]]:
    """Names of the shared libraries of a base image; None if that is not known: large layers are not read for it.

    Raises as :func:`libcs_of_base`.
    """
    found: Set[str] = set()
    for descriptor in layers_from_top(base):
        if descriptor.size > LARGE and (cache is None or cache.get(_key(descriptor)) is None):
            return None
        found |= _summary_of(store, base, descriptor, cache, whole=True).libraries
    return found


def directories_of_base(
    store: BlobReader, base: Base, paths: Iterable[str], cache: Optional[Results] = None
) -> Directories:
    """Those of ``paths`` (absolute) whose mode or owner in the image differs from Spack's 0755 and root.

    Where the base has none, ``/tmp`` and ``/var/tmp`` are as everywhere. Raises as :func:`libcs_of_base`.
    """
    wanted = set(paths)
    found: Dict[str, Optional[Directory]] = {}
    for descriptor in layers_from_top(base):
        if wanted <= found.keys():
            break
        there = _summary_of(store, base, descriptor, cache, whole=True).directories
        for path in wanted & there.keys() - found.keys():
            found[path] = there[path]
    for path in wanted & SHARED.keys() - found.keys():
        found[path] = SHARED[path]
    return {path: directory for path, directory in sorted(found.items()) if directory}


def _summary_of(
    store: BlobReader, base: Base, descriptor: Descriptor, cache: Optional[Results], *, whole: bool
) -> _Summary:
    """``whole``: the C library alone is not enough."""
    key = _key(descriptor)
    known = cache.get(key) if cache is not None else None
    if known is not None:
        return _Summary.from_json(known)
    summary = _Summary()
    enough_with_glibc = not whole and descriptor.size > LARGE

    def visit(member: TarMember, content: Callable[[], bytes]) -> bool:
        name = os.fsdecode(member.name)
        if member.kind == DIRECTORY:
            directory = Directory(member.mode, member.uid, member.gid)
            summary.directories[_absolute(name)] = directory if directory != Directory() else None
        elif ".so" in os.path.basename(name):
            summary.libraries.add(os.path.basename(name))
        if member.kind in (FILE, SPARSE) and is_libc_file(name):
            libc = libc_in(name, content())
            summary.libcs.update([libc] if libc else [])
            return enough_with_glibc and libc is not None and libc.name == GLIBC
        return False

    try:
        checked = visit_members(store, descriptor, visit)
    except NotFound as e:
        raise ImageError(f"base image {base.name} is damaged: its layer {descriptor.digest} is not there") from e
    if checked and cache is not None:
        cache[key] = summary.to_json()
    return summary


def _key(descriptor: Descriptor) -> str:
    """The number changes with what is known of a layer."""
    return f"layer-2-{descriptor.digest}"


def _absolute(name: str) -> str:
    """``./a/b/`` -> ``/a/b``."""
    return "/" + "/".join(part for part in name.split("/") if part not in ("", "."))
