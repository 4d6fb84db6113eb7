# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which path becomes which: the order of FORMAT.md (sbang, packages, store root), and the search for old paths.

Three values: :class:`BuildInfo` says where the package was built, :class:`Relocation` where things are on this machine,
and :class:`PrefixMap`, made of both by :func:`build_mapping`, is what the functions of this package work with.
"""

import os
import re
from dataclasses import dataclass, field
from typing import Dict, Generator, List, Mapping, NamedTuple, Optional, Tuple

from .build_info import BuildInfo
from .search import Buffer, find


@dataclass(frozen=True)
class Relocation:
    """Where things are on the machine that installs."""

    #: dag hash (as the package was built: a spliced node under the hash of the node that it replaces) -> prefix here
    new_prefixes: Mapping[str, str]
    #: ``spack.store.STORE.layout.root``, with padding if there is any
    store_root: str
    #: path of the sbang script here
    sbang_path: str
    #: directory for the short names of ``aliases``; None: ``.a`` in the store
    alias_root: Optional[str] = None


class Place(NamedTuple):
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

    places: Tuple[Place, ...]
    #: the few shortest old paths, which all others begin with: what is searched for
    anchors: Tuple[bytes, ...] = field(init=False)
    #: length of the longest old path
    longest: int = field(init=False)
    _pattern: "re.Pattern[bytes]" = field(init=False, repr=False)
    _by_old: Dict[bytes, Place] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fix = object.__setattr__
        fix(self, "anchors", _shortest([place.old for place in self.places]))
        fix(self, "longest", max((len(place.old) for place in self.places), default=0))
        fix(self, "_pattern", re.compile(b"|".join(re.escape(place.old) for place in self.places)))
        fix(self, "_by_old", {place.old: place for place in self.places})

    @property
    def is_identity(self) -> bool:
        return all(place.old == place.new for place in self.places)

    def changes(self) -> Dict[str, str]:
        """Old path -> new path, without those that stay: the form in which Spack's own functions take it."""
        return {os.fsdecode(p.old): os.fsdecode(p.new) for p in self.places if p.old != p.new}

    def match(self, data: Buffer, at: int = 0) -> Optional[Place]:
        """The old path that stands in ``data`` at ``at``, if any."""
        match = self._pattern.match(data, at) if self.places else None
        return self._by_old[match.group()] if match else None

    def find(self, data: Buffer, start: int = 0) -> Generator[Tuple[int, Place], Optional[int], None]:
        """Every old path in ``data``, from the left, without overlaps.

        The generator may be sent the offset at which to go on, if not behind the path just found.
        """
        hits: List[Tuple[int, bytes]] = [(find(data, anchor, start), anchor) for anchor in self.anchors]
        hits = [hit for hit in hits if hit[0] >= 0]
        while hits:
            at = min(hits)[0]
            place = self.match(data, at)
            if place is None:  # cannot be: an anchor is itself an old path
                return
            go_on = yield at, place
            start = at + len(place.old) if go_on is None else go_on
            hits = [(i if i >= start else find(data, anchor, start), anchor) for i, anchor in hits]
            hits = [hit for hit in hits if hit[0] >= 0]

    def occurs(self, data: Buffer) -> bool:
        return any(find(data, anchor) >= 0 for anchor in self.anchors)


def build_mapping(build_info: BuildInfo, relocation: Relocation) -> PrefixMap:
    """The map for one package: sbang path, each package of ``hash_to_prefix`` that is known here, the store root."""
    places: Dict[str, Place] = {}

    def add(old: str, new: str, dag_hash: Optional[str]) -> None:
        if old and old not in places:
            places[old] = Place(_encode(old), _encode(new), dag_hash)

    add(build_info.sbang_path, relocation.sbang_path, None)
    for dag_hash, new in relocation.new_prefixes.items():
        if dag_hash in build_info.hash_to_prefix:
            add(build_info.hash_to_prefix[dag_hash], new, dag_hash)
    add(build_info.store_root, relocation.store_root, None)
    return PrefixMap(tuple(sorted(places.values(), key=lambda place: -len(place.old))))


def _encode(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _shortest(paths: List[bytes]) -> Tuple[bytes, ...]:
    result: List[bytes] = []
    for path in sorted(paths):
        if not result or not path.startswith(result[-1]):
            result.append(path)
    return tuple(result)
