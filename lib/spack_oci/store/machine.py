# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""This machine, as far as it decides which packages run on it."""

import contextlib
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, List, Mapping, Optional, Tuple

from ..image.needs.libc import GLIBC, MUSL, Libc
from ..specs.constraints import Graph, target_name
from ..specs.targets import family, host_target, runs_on
from .database import runtime_edges
from .system import this_system


@dataclass(frozen=True)
class Misfit:
    """Why a package does not run here, for one (``is for aarch64``) and for several (``are for aarch64``)."""

    one: str
    several: str


@dataclass(frozen=True)
class Machine:
    platform: str
    os: str
    target: str
    #: None: not known, then any will do
    libc: Optional[Libc]

    def misfit(self, node: Mapping[str, Any], graph: Graph) -> Optional[Misfit]:
        """``graph``: has the nodes that the package links and runs."""
        platform, target = node["arch"]["platform"], target_name(node)
        if platform != self.platform:
            return _for(platform)
        if family(target) != family(self.target):
            return _for(family(target))
        if not runs_on(target, self.target):
            return _for(target, f", this machine is {self.target}")
        need = libc_of(node, graph)
        if need is not None and self.libc is not None and not self.libc.serves(need):
            has = str(self.libc)
            if self.libc.name == need.name:
                has = has[len(need.name) + 1 :]
            text = f"{need}, this machine has {has}"
            return Misfit(f"needs {text}", f"need {text}")
        return None


def _for(label: str, rest: str = "") -> Misfit:
    return Misfit(f"is for {label}{rest}", f"are for {label}{rest}")


def libc_of(node: Mapping[str, Any], graph: Graph) -> Optional[Libc]:
    """The newest C library that a package and what it links and runs were built with."""
    found: List[Libc] = []
    for other in runtime_nodes(node, graph):
        if other["name"] in (GLIBC, MUSL):
            found.append(Libc.parse(other["name"], other["version"]))
    return max(found, key=lambda libc: libc.version, default=None)


def runtime_nodes(node: Mapping[str, Any], graph: Graph) -> List[Mapping[str, Any]]:
    """A package, and what it links and runs, as far as ``graph`` has it."""
    found = {node["hash"]: node}
    pending = [node]
    while pending:
        for dag_hash in runtime_edges(pending.pop()):
            if dag_hash not in found and dag_hash in graph:
                found[dag_hash] = graph[dag_hash]
                pending.append(graph[dag_hash])
    return list(found.values())


@cache
def this_machine() -> Machine:
    return Machine(*this_system(), host_target(), _host_libc())


def _host_libc() -> Optional[Libc]:
    """What programs of this machine run with; this Python is one of them."""
    with contextlib.suppress(ValueError, OSError, AttributeError):
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        if name == GLIBC:
            return Libc.parse(name, version)
    if sys.platform == "linux" and any(n.startswith("ld-musl-") for n in _names("/lib")):
        return Libc(MUSL)
    return None


def _names(directory: str) -> Tuple[str, ...]:
    try:
        return tuple(os.listdir(directory))
    except OSError:
        return ()
