# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The run environment of a package by what its prefixes hold: ``modules:prefix_inspections`` of Spack's defaults.

What only a recipe knows (``setup_run_environment``) is not in it.
"""

import os
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from ..package.runtime_graph import Closure, RuntimeGraph
from ..specs.constraints import Graph
from .activation import Change, Changes

#: Spack's etc/spack/defaults/base/modules.yaml, the same in 1.0.2, 1.1.0 and 1.2
_INSPECTIONS = (
    ("bin", "PATH"),
    ("man", "MANPATH"),
    ("share/man", "MANPATH"),
    ("share/aclocal", "ACLOCAL_PATH"),
    ("lib/pkgconfig", "PKG_CONFIG_PATH"),
    ("lib64/pkgconfig", "PKG_CONFIG_PATH"),
    ("share/pkgconfig", "PKG_CONFIG_PATH"),
    ("", "CMAKE_PREFIX_PATH"),
)
_DARWIN = (("lib", "DYLD_FALLBACK_LIBRARY_PATH"), ("lib64", "DYLD_FALLBACK_LIBRARY_PATH"))

_SYSTEM = frozenset(
    os.path.join(path, part).rstrip("/") or "/"
    for path in ("/", "/usr", "/usr/local")
    for part in ("", "bin", "bin64", "include", "lib", "lib64")
)


class NodeGraph(RuntimeGraph):
    """Of nodes as JSON, which have their dependencies in Spack's order."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def identity(self, spec: Mapping[str, Any]) -> str:
        return spec["hash"]

    def hash_of(self, spec: Mapping[str, Any]) -> str:
        return spec["hash"]

    def is_external(self, spec: Mapping[str, Any]) -> bool:
        return bool(spec.get("external"))

    def edges_of(self, spec: Mapping[str, Any]) -> Iterator[Tuple[Mapping[str, Any], bool]]:
        for edge in spec.get("dependencies", ()):
            types = edge["parameters"]["deptypes"]
            if {"link", "run"} & set(types) and edge["hash"] in self._graph:
                yield self._graph[edge["hash"]], "run" in types


def prepended(closure: Closure, prefixes: Mapping[str, str]) -> List[Tuple[str, str]]:
    """(variable, path) in the order in which Spack puts them in front (``environment_modifications_for_specs``)."""
    found: List[Tuple[str, str]] = []
    for node in closure.topological:
        prefix = prefixes[node.dag_hash]
        inspections = _INSPECTIONS + (_DARWIN if node.spec["arch"]["platform"] == "darwin" else ())
        found += _there(prefix, inspections)
    for node in closure.setup:
        prefix = prefixes[node.dag_hash]
        if node in closure.runnable and prefix not in _SYSTEM:
            found += [(name, path) for name, path in _programs(prefix)]
    return found


def _there(prefix: str, inspections: Iterable[Tuple[str, str]]) -> Iterator[Tuple[str, str]]:
    for directory, variable in inspections:
        path = os.path.normpath(os.path.join(prefix, directory))
        if path not in _SYSTEM and os.path.isdir(path):
            yield variable, path


def _programs(prefix: str) -> Iterator[Tuple[str, str]]:
    for directory in ("bin", "bin64"):
        path = os.path.join(prefix, directory)
        if os.path.isdir(path):
            yield "PATH", path


def apply_default_environment(
    roots: Sequence[Mapping[str, Any]], graph: Graph, prefixes: Mapping[str, str], base: Dict[str, str]
) -> Dict[str, str]:
    """``base`` with the environment of ``roots``, to the letter as Spack makes it where no recipe adds anything."""
    result = dict(base)
    for name, path in prepended(NodeGraph(graph).closure(roots), prefixes):
        result[name] = f"{path}:{result[name]}" if result.get(name) else path
    return result


def default_changes(roots: Sequence[Mapping[str, Any]], graph: Graph, prefixes: Mapping[str, str]) -> Changes:
    """The same, for an activation."""
    lists: Dict[str, List[str]] = {}
    for name, path in prepended(NodeGraph(graph).closure(roots), prefixes):
        lists.setdefault(name, []).insert(0, path)
    return tuple(Change(name, tuple(dict.fromkeys(entries))) for name, entries in lists.items())
