# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What specs need at run time (link and run dependencies), in the orders in which Spack has it.

Each traversal of Spack sorts the edges of each spec anew. Here they are sorted once, for the closures of all packages
of a push.
"""

from collections import Counter
from itertools import chain
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

import spack.deptypes as dt
import spack.spec
from spack import traverse

#: what a traversal follows, and whether the parent needs it to run
_Edges = Sequence[Tuple["Node", bool]]


class Node:
    """A spec in a :class:`RuntimeGraph`. As in Spack's traversals, each object is a node of its own."""

    __slots__ = ("_graph", "_edges", "spec", "dag_hash", "external")

    def __init__(self, spec: "spack.spec.Spec", graph: "RuntimeGraph") -> None:
        self.spec = spec  # which keeps its id its own
        self.dag_hash: str = spec.dag_hash()
        self.external: bool = spec.external
        self._graph = graph
        self._edges: Optional[_Edges] = None

    @property
    def edges(self) -> _Edges:
        if self._edges is None:
            edges = traverse.sort_edges(self.spec.edges_to_dependencies(depflag=dt.LINK | dt.RUN))
            self._edges = [(self._graph.node(e.spec), bool(e.depflag & dt.RUN)) for e in edges]
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
    """Remembers the edges of specs. Not for several threads at once."""

    def __init__(self) -> None:
        self._nodes: Dict[int, Node] = {}

    def node(self, spec: "spack.spec.Spec") -> Node:
        found = self._nodes.get(id(spec))
        if found is None:
            found = self._nodes[id(spec)] = Node(spec, self)
        return found

    def closure(self, specs: Iterable["spack.spec.Spec"]) -> Closure:
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
