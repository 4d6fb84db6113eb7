# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What can be installed: the packages of a cache."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Mapping, Optional

from ..content import ContentStore
from ..errors import StorageError
from .constraints import Graph

if TYPE_CHECKING:
    from ..index.index_cache import IndexCache
    from ..operations.install.locate import PackageGuard


def label(node: Mapping[str, Any]) -> str:
    """As Spack prints a package: ``zlib@1.3.1/abcdefg``."""
    return f"{node['name']}@{node['version']}/{node['hash'][:7]}"


@dataclass(frozen=True)
class Source:
    """A cache whose index was read."""

    url: str
    graph: Graph
    #: DAG hashes of the packages that it has
    available: AbstractSet[str]
    #: called in each process that reads from it
    open: Callable[[], ContentStore]
    indexes: Optional["IndexCache"] = None
    #: of the cache's policy; None: there is none
    guard: Optional["PackageGuard"] = None

    def size_of(self, dag_hash: str) -> int:
        """Compressed bytes; 0: not known."""
        if self.indexes is not None:
            with contextlib.suppress(StorageError):
                entry = self.indexes.lookup(self.url, dag_hash)
                return entry.layer.size if entry is not None else 0
        return 0
