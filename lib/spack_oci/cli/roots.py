# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which packages the words of a command line mean: specs, lock files, the tag of an environment's image."""

import os
from collections import ChainMap
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from ..errors import ConfigurationError, NotFound
from ..index.in_place import Wanted
from ..operations.lifecycle import lock_files
from ..specs.constraints import Constraint, Graph, parse_specs
from ..store.database import Records
from ..store.machine import this_machine
from ..store.selection import Candidates, choose, matching
from ..store.source import Source, label


def split(words: Sequence[str]) -> Tuple[List[str], List[Constraint]]:
    """(lock files, specs)."""
    locks = [word for word in words if word.endswith((".lock", "/spack.lock"))]
    rest = [word for word in words if word not in locks]
    return locks, parse_specs(" ".join(rest)) if rest else []


def wanted_of(words: Sequence[str]) -> Optional[Wanted]:
    """What of an index :func:`roots_of` looks at; None: all of it."""
    locks, specs = split(words)
    locked = [(None, dag_hash) for path in locks for dag_hash, _ in lock_files.roots_of_lock(read_lock(path), path)]
    return Wanted.by([*locked, *((spec.name, spec.hash) for spec in specs)])


def roots_of(words: Sequence[str], source: Source, records: Records) -> List[Mapping[str, Any]]:
    """The packages to install. Raises NothingFits, Ambiguous, InvalidSpec, ConfigurationError."""
    locks, specs = split(words)
    found: List[Mapping[str, Any]] = []
    for path in locks:
        found += roots_of_lock(read_lock(path), path, source)
    if specs:
        candidates = candidates_of(source, records)
        found += [choose(spec, candidates, this_machine()) for spec in specs]
    unique = {node["hash"]: node for node in found}
    return list(unique.values())


def candidates_of(source: Source, records: Records) -> Candidates:
    graph: Graph = ChainMap(source.graph, records.nodes)  # type: ignore[arg-type]  # nothing is written
    installed = {h for h in records.installed() if not records.by_hash[h]["spec"].get("external")}
    return Candidates(graph, source.available, installed, source.url)


def read_lock(path: str) -> Mapping[str, Any]:
    return lock_files.read_lock_file(os.path.expanduser(path))


def roots_of_lock(document: Mapping[str, Any], label: str, source: Source) -> List[Mapping[str, Any]]:
    """The roots of a ``spack.lock``. Raises ConfigurationError for another document, NotFound for a root that the cache
    does not have."""
    roots = lock_files.roots_of_lock(document, label)
    absent = [f"{spec}/{h[:7]}" for h, spec in roots if h not in source.available]
    if absent:
        raise NotFound(
            f"{source.url} does not have {', '.join(absent)} of {label}",
            remedy="push the environment there: `spack -e ENVIRONMENT oci push --update-index`",
        )
    return [source.graph[h] for h, _ in roots]


def installed_roots(words: Sequence[str], records: Records, where: str) -> List[Mapping[str, Any]]:
    """Installed packages that specs name: one each. No words: those that somebody asked for, in the order in which they
    were installed."""
    if not words:
        explicit = [r for r in records.by_hash.values() if r["installed"] and r.get("explicit")]
        return [r["spec"] for r in sorted(explicit, key=lambda r: r.get("installation_time") or 0)]
    installed = {h for h in records.installed() if not records.by_hash[h]["spec"].get("external")}
    candidates = Candidates(records.nodes, frozenset(), installed, where)
    return [choose(spec, candidates, this_machine()) for spec in parse_specs(" ".join(words))]


def installed_matching(words: Sequence[str], nodes: Graph, installed: Sequence[str], where: str) -> List[Any]:
    """Installed packages that specs name, each alone unless several are wanted by ``/hash``."""
    candidates = Candidates(nodes, frozenset(), set(installed), where)
    found = []
    for spec in parse_specs(" ".join(words)):
        these = matching(spec, candidates)
        if not these:
            choose(spec, candidates, this_machine())  # raises with the reason
        if len(these) > 1:
            names = ", ".join(label(node) for node in these[:8])
            raise ConfigurationError(
                f"{spec} names {len(these)} installed packages: {names}", remedy="name one by /HASH"
            )
        found += these
    return found
