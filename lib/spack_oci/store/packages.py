# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The records of a store's packages for a push, from its database and the files of its prefixes alone.

A push is the same, byte for byte, as one by `spack oci push`, where the recipe adds nothing to the run environment.
Where it does, what Spack's default prefix inspections find takes its place, and the manifest says so
(:data:`ENVIRONMENT`).
"""

import os
from functools import cached_property, partial
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from ..content.platform import go_architecture
from ..package.record import Package
from ..specs.constraints import Graph, target_name
from ..specs.format import format_node
from ..specs.targets import family
from .database import Records
from .default_environment import NodeGraph, apply_default_environment
from .recipe import Recipe, recipe_of
from .source import label
from .store import Store

#: annotation of a package whose image does not have the run environment that its recipe sets
ENVIRONMENT = "org.spack-oci.environment"
PREFIX_INSPECTIONS = "prefix inspections"

#: what Spack writes as ``buildcache_layout_version`` of an OCI cache since 1.2; older ones accept it
_LAYOUT_VERSION = 2


class StorePackages:
    """All packages of a store: what they have in common is made once."""

    def __init__(self, store: Store, records: Records) -> None:
        self.store = store
        self.nodes: Graph = records.nodes
        self.prefixes = store.prefixes(self.nodes, records)
        self.graph = NodeGraph(self.nodes)
        self.spack_prefix = _spack_prefix(store.layout.unpadded_root)

    def record(self, dag_hash: str) -> "StorePackage":
        return StorePackage(self.nodes[dag_hash], self)

    def select(
        self, roots: Sequence[str], *, package: bool = True, dependencies: bool = True, build: bool = True
    ) -> List[str]:
        """The packages that a push of ``roots`` means, without externals, dependencies first."""
        wanted = {"build", "link", "run", "test"} if build else {"link", "run", "test"}
        order: List[str] = []
        seen: Set[str] = set()
        pending = [(root, False) for root in reversed(roots)]
        while pending:
            dag_hash, complete = pending.pop()
            if complete:
                order.append(dag_hash)
            elif dag_hash not in seen and dag_hash in self.nodes:
                seen.add(dag_hash)
                pending.append((dag_hash, True))
                if dependencies:
                    edges = self.nodes[dag_hash].get("dependencies", ())
                    pending.extend((e["hash"], False) for e in edges if wanted & set(e["parameters"]["deptypes"]))
        chosen = order if package else [h for h in order if h not in set(roots)]
        return [h for h in chosen if not self.nodes[h].get("external")]

    def document(self, dag_hash: str) -> Dict[str, Any]:
        """``Spec.to_dict(hash=dag_hash)``: each node before what it needs."""
        found: Dict[str, Mapping[str, Any]] = {}
        pending = [dag_hash]
        while pending:
            current = pending.pop()
            if current not in found and current in self.nodes:
                node = self.nodes[current]
                found[current] = node
                references = [edge["hash"] for edge in node.get("dependencies", ())]
                if node.get("build_spec"):
                    references.append(node["build_spec"]["hash"])
                pending.extend(reversed(references))
        return {"spec": {"_meta": {"version": 5}, "nodes": list(found.values())}}


def _spack_prefix(root: str) -> str:
    """Of the Spack that made a store, as far as its place tells; it is only recorded."""
    if os.environ.get("SPACK_ROOT"):
        return os.environ["SPACK_ROOT"]
    inside = "/opt/spack"  # config:install_tree:root of Spack's defaults
    return root[: -len(inside)] if root.endswith(inside) else root


class StorePackage(Package):
    """A record whose expensive parts are made when they are asked for."""

    node: Mapping[str, Any]
    common: StorePackages

    def __init__(self, node: Mapping[str, Any], common: StorePackages) -> None:
        vars(self).update(
            node=node,
            common=common,
            name=node["name"],
            version=node["version"],
            dag_hash=node["hash"],
            prefix=common.prefixes[node["hash"]],
            layout_version=_LAYOUT_VERSION,
            environment=partial(apply_default_environment, [node], common.nodes, common.prefixes),
            provenance=self._provenance,
        )

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_of(self.prefix, self.name)

    def _provenance(self) -> Mapping[str, str]:
        return self.recipe.provenance(self.node, self.common.nodes)

    @cached_property
    def spec_document(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self.common.document(self.dag_hash)

    @cached_property
    def description(self) -> str:  # type: ignore[override]
        return format_node(self.node)

    @cached_property
    def platform(self) -> Tuple[str, str]:  # type: ignore[override]
        return self.node["arch"]["platform"], go_architecture(family(target_name(self.node)))

    @cached_property
    def runtime(self) -> Sequence[Tuple[str, str]]:  # type: ignore[override]
        closure = self.common.graph.closure([self.node]).topological
        return tuple((n.dag_hash, label(n.spec)) for n in closure if not n.external)

    @cached_property
    def annotations(self) -> Mapping[str, str]:  # type: ignore[override]
        return {ENVIRONMENT: PREFIX_INSPECTIONS} if self.recipe.sets_environment else {}

    @cached_property
    def build_info(self) -> Mapping[str, Any]:  # type: ignore[override]
        layout = self.common.store.layout
        hashes = _referred(self.node, self.common.nodes)
        return {
            "sbang_install_path": layout.sbang_path,
            "buildpath": layout.root,
            "spackprefix": self.common.spack_prefix,
            "relative_prefix": os.path.relpath(self.prefix, layout.root),
            "hardlinks_deduped": True,
            "hash_to_prefix": {h: self.common.prefixes[h] for h in hashes},
        }


def _referred(node: Mapping[str, Any], graph: Graph) -> List[str]:
    """Packages that a prefix may refer to: what it links, nearest first, and what it runs itself (Spack's
    ``specs_to_relocate``)."""
    found: Dict[str, None] = {}
    queue = [node]
    seen = {node["hash"]}
    for current in queue:  # which grows meanwhile
        found.setdefault(current["hash"])
        for edge in current.get("dependencies", ()):
            if "link" in edge["parameters"]["deptypes"] and edge["hash"] in graph and edge["hash"] not in seen:
                seen.add(edge["hash"])
                queue.append(graph[edge["hash"]])
    for edge in node.get("dependencies", ()):
        if "run" in edge["parameters"]["deptypes"] and edge["hash"] in graph:
            found.setdefault(edge["hash"])
    return [h for h in found if not graph[h].get("external")]


def environments_lost(packages: Iterable[StorePackage]) -> List[StorePackage]:
    """Those whose recipe adds to the run environment what nobody but Spack can know."""
    return [package for package in packages if package.recipe.sets_environment]
