# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What can be installed: the packages of a cache."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Dict, Mapping, Optional, Sequence

from ..content import ContentStore
from ..index.nodes import LONGEST_VERSION

if TYPE_CHECKING:
    from ..index.index_cache import IndexCache
    from ..index.model import PackageEntry
    from ..operations.install.locate import PackageGuard
    from ..specs.constraints import Graph


#: 160 bits in base 32
_HASH = re.compile(r"[a-z2-7]{32}\Z")


def label(node: Mapping[str, Any]) -> str:
    """As Spack prints a package: ``zlib@1.3.1/abcdefg``."""
    return f"{node['name']}@{node['version']}/{node['hash'][:7]}"


@dataclass(frozen=True)
class Source:
    """A cache whose index was read."""

    url: str
    graph: "Graph"
    #: DAG hashes of the packages that it has
    available: AbstractSet[str]
    #: called in each process that reads from it
    open: Callable[[], ContentStore]
    indexes: Optional["IndexCache"] = None
    #: DAG hashes -> what the index says of those packages
    entries: Callable[[Sequence[str]], Mapping[str, "PackageEntry"]] = lambda hashes: {}
    #: of the cache's policy; None: there is none
    guard: Optional["PackageGuard"] = None

    def sizes(self, hashes: Sequence[str]) -> Dict[str, int]:
        """DAG hash -> compressed bytes of a package's own layer; 0: not known."""
        entries = self.entries(hashes)
        return {h: entries[h].layer.size if h in entries else 0 for h in hashes}


def is_plain_node(dag_hash: str, node: Any) -> bool:
    """Whether what an index says of a package has the shape that everything here relies on."""
    if not isinstance(node, dict) or not _HASH.match(dag_hash) or node.get("hash", dag_hash) != dag_hash:
        return False
    arch, parameters = node.get("arch"), node.get("parameters", {})
    texts = [node.get("name"), node.get("version")]
    if not isinstance(arch, dict) or not isinstance(parameters, dict):
        return False
    target = arch.get("target")
    texts += [arch.get("platform"), arch.get("platform_os"), target.get("name") if isinstance(target, dict) else target]
    external = node.get("external")
    if external and not (isinstance(external, dict) and isinstance(external.get("path"), str)):
        return False
    edges = node.get("dependencies", ())
    return (
        all(isinstance(text, str) and len(text) <= LONGEST_VERSION for text in texts)
        and isinstance(edges, (list, tuple))
        and all(map(_is_edge, edges))
    )


def _is_edge(edge: Any) -> bool:
    parameters = edge.get("parameters") if isinstance(edge, dict) else None
    return (
        isinstance(parameters, dict)
        and isinstance(edge.get("hash"), str)
        and isinstance(edge.get("name"), str)
        and isinstance(parameters.get("deptypes"), list)
        and isinstance(parameters.get("virtuals"), list)
    )
