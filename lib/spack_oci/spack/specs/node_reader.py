# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's own reader as the last check of a node, before it enters the index that every Spack reads."""

from typing import Sequence

import spack.deptypes
import spack.spec

from ...errors import NotAPackage
from ...index.nodes import Node
from .. import compat


def check_nodes(nodes: Sequence[Node]) -> None:
    """Raises NotAPackage that names the first node that this Spack cannot read."""
    for node in nodes:
        try:
            _read(node)
        except Exception as e:  # its reader takes for granted what it reads, and fails in any way
            raise NotAPackage(
                f"the node {node.label} cannot be read by Spack {compat.SPACK_VERSION}: {type(e).__name__}: {e}"
            ) from e


def _read(node: Node) -> None:
    """As ``Database._read_from_stream`` does it, without the dependencies themselves."""
    reader = spack.spec.SpecfileLatest
    spec = reader.from_node_dict(node.spec)
    edges = list(reader.dependencies_from_node_dict(node.spec))
    names = [edge[0] for edge in edges]
    for name, _, types, _, virtuals, direct in edges:
        depflag = spack.deptypes.canonicalize(types)
        if names.count(name) > 1:  # Spack takes any edge, unless there is another one to that name that excludes it
            stub = reader.from_node_dict({"name": name})
            spec._add_dependency(stub, depflag=depflag, virtuals=tuple(virtuals), direct=direct)
    if "build_spec" in node.spec:
        reader.extract_build_spec_info_from_node_dict(node.spec)
    hash(spec.namespace)
    str(spec)
