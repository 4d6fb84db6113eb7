# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which packages of an index match specs, read by Spack's own code."""

import shlex
from typing import Sequence, Set

import spack.spec

from ...index.model import PackageIndex
from ...operations.catalog import no_package_matches, subset
from .list import may_satisfy, read_database


def hashes_matching(index: PackageIndex, constraints: Sequence[str], url: str) -> Set[str]:
    """DAG hashes of the packages that satisfy any of ``constraints``. Raises NotFound for one that none satisfies."""
    wanted = [spack.spec.Spec(constraint) for constraint in constraints]
    packages = read_database(subset(index, lambda node: may_satisfy(node, wanted)))
    found: Set[str] = set()
    for constraint, spec in zip(constraints, wanted):
        matches = {p.dag_hash() for p in packages if p.satisfies(spec)}
        if not matches:
            see = f"spack oci list --allarch {shlex.quote(url)}"
            raise no_package_matches(url, constraint, spec.name or "", index, see)
        found |= matches
    return found
