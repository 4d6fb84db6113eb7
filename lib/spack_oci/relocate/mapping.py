# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which path becomes which: the order of docs/format.md (sbang, packages, store root), and the search for old paths.

Three values: :class:`BuildInfo` says where the package was built, :class:`Relocation` where things are on this machine,
and :class:`PrefixMap`, made of both by :func:`build_mapping`, is what the functions of this package work with.
"""

import os
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import UnsafeArchive
from .build_info import BuildInfo
from .search import Buffer, View, find, find_all

#: PATH_MAX of Linux
_MAX_PATH = 4096


class Relocation(NamedTuple):
    """Where things are on the machine that installs."""

    #: dag hash (as the package was built: a spliced node under the hash of the node that it replaces) -> prefix here
    new_prefixes: Mapping[str, str]
    #: ``spack.store.STORE.layout.root``, with padding if there is any
    store_root: str
    #: path of the sbang script here
    sbang_path: str
    #: directory for the short names of ``aliases``; None: ``.a`` in the store
    alias_root: Optional[str] = None


class PathMapping(NamedTuple):
    """One old path and what it becomes."""

    old: bytes
    new: bytes
    #: dag hash of the package whose prefix ``old`` is; None for the store root and the sbang path
    dag_hash: Optional[str]


@dataclass(frozen=True)
class PrefixMap:
    """Old paths, longest first, so that a prefix is found before the root that it begins with.

    A path that stays as it is is part of the map: a dependency in an upstream may well have been there at build time,
    and must not be taken for something under the old store root.
    """

    mappings: Tuple[PathMapping, ...]
    #: old prefixes of packages that are not known here, below an old path of ``mappings``
    unknown: Tuple[bytes, ...] = ()
    #: the few shortest old paths, which all others begin with: what is searched for
    anchors: Tuple[bytes, ...] = field(init=False)
    #: length of the longest old path
    longest: int = field(init=False)
    _sorted: List[bytes] = field(init=False, repr=False)
    #: old path -> the longest other one that it begins with
    _shorter: Dict[bytes, Optional[bytes]] = field(init=False, repr=False)
    _by_old: Dict[bytes, PathMapping] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fix = object.__setattr__
        by_old = {mapped.old: mapped for mapped in self.mappings}
        shorter = _shorter(sorted(by_old))
        fix(self, "anchors", tuple(old for old, other in shorter.items() if other is None))
        fix(self, "longest", max(map(len, by_old), default=0))
        fix(self, "_sorted", list(shorter))
        fix(self, "_shorter", shorter)
        fix(self, "_by_old", by_old)

    @property
    def is_identity(self) -> bool:
        return all(mapped.old == mapped.new for mapped in self.mappings)

    def changes(self) -> Dict[str, str]:
        """Old path -> new path, without those that stay: the form in which Spack's own functions take it."""
        return {os.fsdecode(p.old): os.fsdecode(p.new) for p in self.mappings if p.old != p.new}

    def match(self, data: View, at: int = 0) -> Optional[PathMapping]:
        """The longest old path that stands in ``data`` at ``at``, if any."""
        window = bytes(data[at : at + self.longest])
        # all old paths that the window begins with are the one in front of which it would be sorted in, or begin that
        before = bisect_right(self._sorted, window)
        old = self._sorted[before - 1] if before else None
        while old is not None and not window.startswith(old):
            old = self._shorter[old]
        return None if old is None else self._by_old[old]

    def unknown_at(self, path: bytes) -> Optional[bytes]:
        """The old prefix of a package that is not known here, if ``path`` is in it."""
        return next((old for old in self.unknown if path == old or path.startswith(old + b"/")), None)

    def find(self, data: View) -> Iterator[Tuple[int, PathMapping]]:
        """Every offset in ``data`` at which an old path begins, from the left, and the longest one there.

        They may overlap; the caller skips what he has dealt with.
        """
        offsets = [offset for anchor in self.anchors for offset in find_all(data, anchor)]
        if len(self.anchors) > 1:
            offsets.sort()
        for at in offsets:
            mapped = self.match(data, at)
            if mapped is not None:  # always: an anchor is itself an old path
                yield at, mapped

    def occurs(self, data: Buffer) -> bool:
        return any(find(data, anchor) >= 0 for anchor in self.anchors)


def build_mapping(build_info: BuildInfo, relocation: Relocation) -> PrefixMap:
    """The map for one package: sbang path, each package of ``hash_to_prefix`` that is known here, the store root.

    Raises UnsafeArchive for an old path that is no path of a package: it would be found everywhere.
    """
    mappings: Dict[str, PathMapping] = {}

    def add(old: str, new: str, dag_hash: Optional[str], components: int = 2) -> None:
        if old and old not in mappings:
            _check_old_path(old, components)
            mappings[old] = PathMapping(_encode(old), _encode(new), dag_hash)

    add(build_info.sbang_path, relocation.sbang_path, None)
    for dag_hash, new in relocation.new_prefixes.items():
        if dag_hash in build_info.hash_to_prefix:
            add(build_info.hash_to_prefix[dag_hash], new, dag_hash)
    # a store may well be in /sw
    add(build_info.store_root, relocation.store_root, None, components=1)
    unknown = {
        _encode(old) for dag_hash, old in build_info.hash_to_prefix.items() if dag_hash not in relocation.new_prefixes
    }
    known = {mapped.old for mapped in mappings.values()}
    return PrefixMap(tuple(sorted(mappings.values(), key=lambda mapped: -len(mapped.old))), tuple(unknown - known))


def _check_old_path(path: str, components: int) -> None:
    if not path.startswith("/") or len(list(filter(None, path.split("/")))) < components or len(path) > _MAX_PATH:
        raise UnsafeArchive(
            f"the package says that it was built with {path[:80]!r}, which is no path of a package",
            remedy="do not use this package, or push it again from where it was built",
        )


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _shorter(paths: List[bytes]) -> Dict[bytes, Optional[bytes]]:
    """Each of the sorted ``paths`` -> the longest other one that it begins with, if any."""
    result: Dict[bytes, Optional[bytes]] = {}
    open_paths: List[bytes] = []
    for path in paths:
        while open_paths and not path.startswith(open_paths[-1]):
            open_paths.pop()
        result[path] = open_paths[-1] if open_paths else None
        open_paths.append(path)
    return result
