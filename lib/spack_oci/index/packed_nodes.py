# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The nodes of an index in memory where all of them are needed: packed, because as dictionaries a hundred thousand of
them take a gigabyte."""

import functools
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional

from ..descriptor import canonical_json, parse_json
from .entry import PackageEntry
from .frames import packed, unpacked
from .lines import LABEL

#: nodes that are kept as they were parsed: those that most depend on are asked for again and again
_KEPT = 128


class IndexedNode(NamedTuple):
    """A node, as an index gives it."""

    dag_hash: str
    #: of an older index, it may lack the hash
    spec: Mapping[str, Any]
    #: of :class:`PackageEntry`, not yet checked; None: not known, or not in the build cache
    package: Optional[Mapping[str, Any]]
    #: whether the build cache has the package
    is_cached: bool

    @property
    def node(self) -> Mapping[str, Any]:
        """With its hash."""
        return self.spec if "hash" in self.spec else {"hash": self.dag_hash, **self.spec}

    @property
    def entry(self) -> Optional[PackageEntry]:
        """Raises InvalidContent."""
        return None if self.package is None else PackageEntry.from_dict(self.package)


class PackedDocuments(Mapping[str, Mapping[str, Any]]):
    """JSON objects by DAG hash, in the order in which they were added; each is parsed when it is asked for."""

    def __init__(self) -> None:
        self._packed: Dict[str, bytes] = {}
        self._parsed = functools.lru_cache(_KEPT)(self._parse)

    def add(self, dag_hash: str, document: Mapping[str, Any]) -> None:
        self._packed[dag_hash] = packed(canonical_json(document))

    def _parse(self, dag_hash: str) -> Mapping[str, Any]:
        return parse_json(unpacked(self._packed[dag_hash]), LABEL)

    def __getitem__(self, dag_hash: str) -> Mapping[str, Any]:
        return self._parsed(dag_hash)

    def __contains__(self, dag_hash: object) -> bool:
        return dag_hash in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
