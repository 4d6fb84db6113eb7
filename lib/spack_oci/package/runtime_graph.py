# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What specs need at run time (link and run dependencies), in the orders in which Spack has it.

Each traversal of Spack sorts the edges of each spec anew. Here they are sorted once, for the closures of all packages
of a push.
"""

from collections import Counter
from itertools import chain
from typing import Any, Dict, Hashable, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

#: what a traversal follows, and whether the parent needs it to run
_Edges = Sequence[Tuple["Node", bool]]


class Node:
    """A spec in a :class:`RuntimeGraph`."""

    __slots__ = ("_graph", "_edges", "spec", "dag_hash", "external")

    def __init__(self, spec: Any, graph: "RuntimeGraph") -> None:
        self.spec = spec  # which keeps its id its own
        self.dag_hash = graph.hash_of(spec)
        self.external = graph.is_external(spec)
        self._graph = graph
        self._edges: Optional[_Edges] = None

    @property
    def edges(self) -> _Edges:
        if self._edges is None:
            self._edges = [(self._graph.node(spec), runs) for spec, runs in self._graph.edges_of(self.spec)]
        return self._edges


class Closure(NamedTuple):
    """Roots and what they need at run time, dependencies first."""

    #: the reverse of ``traverse_nodes(roots, order="topo", deptype=("run", "link"))``
    topological: List[Node]
    #: as ``build_environment.SetupContext(*roots, context=Context.RUN)`` sets them up: externals before all others
    setup: List[Node]
    #: the roots, and what something in the closure runs: ``UseMode.ROOT`` and ``RUNTIME_EXECUTABLE``
    runnable: Set[Node]


class RuntimeGraph:
    """Remembers the edges of specs; what a spec is, a subclass knows. Not for several threads at once."""

    def __init__(self) -> None:
        self._nodes: Dict[Hashable, Node] = {}

    def identity(self, spec: Any) -> Hashable:
        """Specs with the same one are one node."""
        raise NotImplementedError

    def hash_of(self, spec: Any) -> str:
        raise NotImplementedError

    def is_external(self, spec: Any) -> bool:
        raise NotImplementedError

    def edges_of(self, spec: Any) -> Iterable[Tuple[Any, bool]]:
        """(dependency, does ``spec`` run it) of those that it links or runs, in Spack's order."""
        raise NotImplementedError

    def node(self, spec: Any) -> Node:
        key = self.identity(spec)
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = Node(spec, self)
        return found

    def closure(self, specs: Iterable[Any]) -> Closure:
        """What ``traverse_topo_edges_generator`` does, for both orders at once: a node comes when all that depend on it
        have come. In ``effective_deptypes``, nodes without dependencies come last, in the order they were met."""
        roots = [(self.node(spec), True) for spec in specs]
        missing = _in_edges(roots)
        topological: List[Node] = []
        runs: Dict[Node, bool] = {}
        for edges in chain([roots], (node.edges for node in topological)):  # which grows meanwhile
            for node, runnable in edges:
                runs[node] = runs.get(node, False) or runnable
                missing[node] -= 1
                if not missing[node]:
                    topological.append(node)
        effective = [node for node in topological if node.edges] + [node for node in runs if not node.edges]
        effective.reverse()
        setup = [node for node in effective if node.external] + [node for node in effective if not node.external]
        return Closure(topological[::-1], setup, {node for node, runnable in runs.items() if runnable})


def _in_edges(roots: _Edges) -> Dict[Node, int]:
    """How many edges of the closure lead to each node."""
    count: Dict[Node, int] = Counter()
    met = [node for node, _ in roots]
    for node in met:  # which grows meanwhile
        count[node] += 1
        if count[node] == 1:
            met += [child for child, _ in node.edges]
    return count
