# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What of an install of Spack's goes through bulk: all that an OCI mirror would be asked for first.

``docs/hooks.md`` lists what does not, with the reasons.
"""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, Iterable, List, Mapping, Sequence, Set

import spack.binary_distribution
import spack.mirrors.mirror
import spack.spec
import spack.store
from spack import traverse

from ...errors import SpackOciError, StorageError
from ...index.entry import PackageEntry
from ...util.order import dependencies_first
from .. import compat, fetching
from ..configuration import mirrors


@dataclass
class Choice:
    """Specs by DAG hash, dependencies first, and where each can be had."""

    specs: Dict[str, "spack.spec.Spec"] = field(default_factory=dict)
    #: DAG hash -> OCI mirrors that are asked before any other mirror, in Spack's order
    candidates: Dict[str, List["spack.mirrors.mirror.Mirror"]] = field(default_factory=dict)
    #: DAG hash -> compressed bytes, as far as an index knows them
    sizes: Dict[str, int] = field(default_factory=dict)

    def keep(self, hashes: Iterable[str], needs: Mapping[str, Iterable[str]]) -> None:
        """Only these, and of these only what needs nothing else."""
        kept = set(hashes)
        for dag_hash in list(self.specs):  # dependencies first
            if dag_hash not in kept or not kept.issuperset(needs[dag_hash]):
                kept.discard(dag_hash)
                del self.specs[dag_hash]


def choose(wanted: Sequence["spack.spec.Spec"], needs: Mapping[str, Iterable[str]]) -> Choice:
    """``wanted``: what may come from a cache, by the policy of the user, and is not installed; ``needs``: DAG hash ->
    what is not installed either and the package waits for. What waits for something else is left to the installer: it
    must not be there before that.
    """
    possible = {spec.dag_hash(): spec for spec in _ordinary(wanted)}
    choice = Choice({h: possible[h] for h in dependencies_first({h: list(needs[h]) for h in possible})})
    _leave_out_shared_prefixes(choice, needs)
    if not choice.specs:
        return choice
    where = _Mirrors(choice.specs)
    for dag_hash, spec in choice.specs.items():
        found = where.asked_first(spec)
        if found:
            choice.candidates[dag_hash] = found
            choice.sizes[dag_hash] = where.size_of(found[0], dag_hash)
    choice.keep(choice.candidates, needs)
    return choice


def _ordinary(wanted: Sequence["spack.spec.Spec"]) -> List["spack.spec.Spec"]:
    # each spec walks through all that it needs to answer that, and hardly ever finds something
    has_splices = any(node.build_spec is not node for node in traverse.traverse_nodes(list(wanted)))
    return [s for s in wanted if not (s.external or s.is_develop or (has_splices and s.spliced))]


def _leave_out_shared_prefixes(choice: Choice, needs: Mapping[str, Iterable[str]]) -> None:
    """Spack has an error for two packages with one prefix."""
    database = spack.store.STORE.db
    with database.read_transaction():  # in which prefixes are asked for, too: each takes a lock otherwise
        prefixes = Counter(str(spec.prefix) for spec in choice.specs.values())
        own = [h for h, s in choice.specs.items() if prefixes[str(s.prefix)] == 1 and not _is_taken(database, s)]
    choice.keep(own, needs)


def _is_taken(database: Any, spec: "spack.spec.Spec") -> bool:
    """By another package, or by the record of an upstream, which the database would not add once more."""
    is_upstream, _ = database.query_by_spec_hash(spec.dag_hash())
    return is_upstream or database.is_occupied_install_prefix(str(spec.prefix))


class _Mirrors:
    """The mirrors of this install, in the order in which Spack asks them for a package."""

    def __init__(self, hashes: Collection[str]) -> None:
        ours = mirrors.configured(mirrors.FETCH)
        self._configured = fetching.configured_mirrors()
        self._has_others = len(self._configured) > len(ours)
        self._without_index: Set[str] = set()
        #: URL of a mirror -> DAG hash -> what its index has of the package, of ``hashes``
        self._entries: Dict[str, Dict[str, PackageEntry]] = {}
        fetching.confirm_indexes(ours)
        cache = fetching.index_cache()
        for mirror in ours:
            with contextlib.suppress(SpackOciError):
                if cache.known(mirrors.open_store(mirror, mirrors.FETCH).url) is None:
                    self._without_index.add(mirror.fetch_url)
            with contextlib.suppress(StorageError):
                self._entries[mirror.fetch_url] = cache.lookup_all(mirror.fetch_url, hashes)

    def asked_first(self, spec: "spack.spec.Spec") -> List["spack.mirrors.mirror.Mirror"]:
        """The OCI mirrors that are asked before a mirror of another kind; none if the first of them has an index that
        does not name the package: Spack's installer will ask it, and most likely in vain."""
        indexed: List[Any] = []
        if self._has_others:
            indexed = spack.binary_distribution.get_mirrors_for_spec(spec, index_only=True)
        dag_hash = spec.dag_hash()
        named = {compat.indexed_url(entry) for entry in indexed}
        named.update(url for url, entries in self._entries.items() if dag_hash in entries)
        found: List[spack.mirrors.mirror.Mirror] = []
        possible = fetching.candidates(spec, [], self._configured)
        for mirror in sorted(possible, key=lambda m: m.fetch_url not in named):
            if not mirrors.is_oci_mirror(mirror):
                break
            found.append(mirror)
        if found and found[0].fetch_url in named | self._without_index:
            return found
        return []

    def size_of(self, mirror: "spack.mirrors.mirror.Mirror", dag_hash: str) -> int:
        """Compressed bytes; 0: nobody knows."""
        entry = self._entries.get(mirror.fetch_url, {}).get(dag_hash)
        return entry.layer.size if entry is not None else 0


def may_write() -> bool:
    """Whether this user may write into the install tree: if not, Spack says what is wrong."""
    path = str(spack.store.STORE.layout.root)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.access(path, os.W_OK | os.X_OK)
