# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real dependency graphs: link and run dependencies of packages of Spack's builtin repository.

``real_graph.txt`` has one package a line, ``NAME: DEPENDENCY ...``, each after its dependencies, application by
application; so every beginning of the file is a graph of its own. Sizes are invented, but spread as real ones are.
"""

import hashlib
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Sequence

from spack_oci import descriptor as d
from spack_oci.image.layers import Member
from spack_oci.package.record import Layer

_FILE = Path(__file__).with_name("real_graph.txt")


def real_graph(size: int) -> Dict[str, List[str]]:
    """The first ``size`` packages: name -> names of its dependencies."""
    lines = [line for line in _FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) >= size
    return {name: dependencies.split() for name, _, dependencies in (line.partition(":") for line in lines[:size])}


def members_of_graph(size: int) -> List[Member]:
    """The graph as members of an image, dependencies first."""
    graph = real_graph(size)
    return [_member(name, frozenset(map(_hash, dependencies)), _size_of(name)) for name, dependencies in graph.items()]


def _hash(name: str, version: int = 1) -> str:
    return hashlib.sha256(f"{name}-{version}".encode()).hexdigest()[:32]


def _size_of(name: str) -> int:
    """Log-normal: median 1 MB, one in a hundred larger than 100 MB."""
    return int(math.exp(random.Random(name).gauss(math.log(1e6), 2))) + 1000


def _member(name: str, dependencies: frozenset, size: int, version: int = 1) -> Member:
    dag_hash = _hash(name, version)
    digest = d.sha256_digest(f"{name} {version}".encode())
    layer = Layer(d.Descriptor(d.OCI_LAYER_GZIP, digest, size), d.sha256_digest(digest.encode()), name)
    return Member(dag_hash, name, layer, dependencies)


def updated(members: Sequence[Member], changed: Member, version: int = 2) -> List[Member]:
    """``members`` after an update of ``changed``: it and all that depend on it have new hashes, layers and sizes."""
    new_hash: Dict[str, str] = {}
    result = []
    for member in members:
        if member.dag_hash == changed.dag_hash or member.dependencies & new_hash.keys():
            new_hash[member.dag_hash] = _hash(member.name, version)
            size = int(member.size * random.Random(f"{member.name}{version}").uniform(0.98, 1.02))
            dependencies = frozenset(new_hash.get(h, h) for h in member.dependencies)
            result.append(_member(member.name, dependencies, size, version))
        else:
            result.append(replace(member))
    return result
