# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Generated spec documents that look like those of a large real cache, the same for the same seed.

What is copied from reality (a stack of 36 packages of the builtin repository): nodes of 600 to 1,100 bytes with some
ten variants, the six flag lists and a package hash; a compiler, a C library and the compiler's runtime below
everything; direct dependencies of 2 to 12. The size of a closure is drawn log-uniformly between ``smallest`` and
``largest`` nodes.
"""

import math
import random
from typing import Any, Dict, FrozenSet, Iterator, List, Tuple

_ARCH = {"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"}
_FLAGS: Dict[str, Any] = {name: [] for name in ("cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs")}
_VARIANTS = ("shared", "static", "pic", "mpi", "openmp", "cuda", "python", "docs", "tests", "fortran", "threads", "ipo")
_SYLLABLES = ("lib", "py-", "r-", "perl-", "net", "graph", "hdf", "geo", "bio", "fast", "sci", "data", "core", "utils")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Universe:
    """``nodes``: all nodes, each after those it depends on; the first few are the same below every package."""

    def __init__(self, packages: int, seed: int = 1, smallest: int = 5, largest: int = 120) -> None:
        self._chance = random.Random(seed)
        self.nodes: List[Dict[str, Any]] = []
        self._closures: List[FrozenSet[int]] = []
        self._add_base()
        self.base = len(self.nodes)
        for _ in range(packages):
            target = round(math.exp(self._chance.uniform(math.log(smallest), math.log(largest))))
            self._add_package(target)

    def documents(self, start: int = 0, stop: int = -1) -> Iterator[List[Dict[str, Any]]]:
        """The nodes of each package, its own first; packages ``start`` to ``stop``, all by default."""
        total = len(self.nodes) - self.base
        for number in range(start, total if stop < 0 else stop):
            index = self.base + number
            yield [self.nodes[index], *(self.nodes[i] for i in sorted(self._closures[index] - {index}, reverse=True))]

    def _hash(self, length: int = 32) -> str:
        return "".join(self._chance.choices(_BASE32, k=length))

    def _add(self, name: str, edges: List[Tuple[int, List[str], List[str]]], **extra: Any) -> None:
        index = len(self.nodes)
        closure = frozenset([index]).union(*(self._closures[i] for i, _, _ in edges))
        parameters: Dict[str, Any] = {"build_system": "generic"}
        for variant in sorted(self._chance.sample(_VARIANTS, self._chance.randrange(2, 12))):
            parameters[variant] = self._chance.random() < 0.5
        node: Dict[str, Any] = {
            "name": name,
            "version": f"{self._chance.randrange(10)}.{self._chance.randrange(30)}.{self._chance.randrange(10)}",
            "arch": _ARCH,
            "namespace": "builtin",
            "parameters": {**parameters, **_FLAGS},
            **extra,
            "package_hash": self._hash(52) + "====",
        }
        if edges:
            node["dependencies"] = [
                {
                    "name": self.nodes[i]["name"],
                    "hash": self.nodes[i]["hash"],
                    "parameters": {"deptypes": types, "virtuals": virtuals},
                }
                for i, types, virtuals in sorted(edges, key=lambda edge: self.nodes[edge[0]]["name"])
            ]
        node["annotations"] = {"original_specfile_version": 5}
        node["hash"] = self._hash()
        self.nodes.append(node)
        self._closures.append(closure)

    def _add_base(self) -> None:
        external = {"external": {"path": "/usr", "module": None, "extra_attributes": {}}}
        self._add("glibc", [], **external)
        self._add("gcc", [], **external)
        self._add("compiler-wrapper", [])
        self._add("gcc-runtime", [(1, ["build"], []), (0, ["link"], ["libc"])])

    def _add_package(self, target: int) -> None:
        edges: List[Tuple[int, List[str], List[str]]] = [
            (0, ["link"], ["libc"]),
            (1, ["build"], ["c", "cxx"]),
            (2, ["build"], []),
            (3, ["link"], []),
        ]
        closure = frozenset(range(4))
        for _ in range(40):
            if len(closure) + 1 >= target or len(edges) >= 12 or len(self.nodes) == 4:
                break
            candidate = self._chance.randrange(4, len(self.nodes))
            joined = closure | self._closures[candidate]
            if candidate not in closure and len(joined) + 1 <= target:
                closure = joined
                edges.append((candidate, self._chance.choice([["build"], ["build", "link"], ["link", "run"]]), []))
        name = "".join(self._chance.choices(_SYLLABLES, k=2)) + str(len(self.nodes))
        self._add(name, edges)
