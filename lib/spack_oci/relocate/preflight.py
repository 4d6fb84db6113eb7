# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a package can be relocated at all, asked before it is downloaded.

Only C strings in binaries cannot grow, and each of them has two names to choose from: the new prefix and its alias.
So an install can fail only if both are longer than the old prefix.
"""

import os
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional

from ..errors import PrefixTooLong
from .aliases import SHORTEST, alias_directory
from .mapping import Relocation


@dataclass(frozen=True)
class Shortfall:
    """A package whose old prefix is too short for both of its new names; lengths in characters."""

    dag_hash: str
    old_prefix: str
    new_prefix: str
    has: int
    needs: int


def expected_old_prefixes(old_prefix: str, dag_hash: str, relocation: Relocation) -> Dict[str, str]:
    """Dag hash -> old prefix, as far as it can be told from the package's own: same projection, same old root.

    Empty if the old prefix does not end like the new one (another projection).
    """
    own = relocation.new_prefixes.get(dag_hash)
    if own is None:
        return {}
    inside = os.path.relpath(own, relocation.store_root)
    if not old_prefix.endswith("/" + inside):
        # another architecture string or projection: only the package itself is known
        return {dag_hash: old_prefix}
    old_root = old_prefix[: -len(inside) - 1]
    result = {}
    for other, prefix in relocation.new_prefixes.items():
        below = os.path.relpath(prefix, relocation.store_root)
        if not below.startswith(".."):
            result[other] = os.path.join(old_root, below)
    return result


def shortfalls(old_prefixes: Mapping[str, str], relocation: Relocation) -> List[Shortfall]:
    """The packages of ``old_prefixes`` (dag hash -> old prefix) that neither new name fits, the worst first."""
    alias_length = len(os.fsencode(alias_directory(relocation))) + 1 + SHORTEST
    result = []
    for dag_hash, old in old_prefixes.items():
        new = relocation.new_prefixes.get(dag_hash)
        if new is None:
            continue
        has, needs = len(os.fsencode(old)), min(alias_length, len(os.fsencode(new)))
        if needs > has:
            result.append(Shortfall(dag_hash, old, new, has, needs))
    return sorted(result, key=lambda s: s.has - s.needs)


def check_lengths(old_prefix: str, dag_hash: str, relocation: Relocation, what: str) -> None:
    """Raise PrefixTooLong if a package with binaries, built in ``old_prefix``, cannot be installed here."""
    found = shortfalls(expected_old_prefixes(old_prefix, dag_hash, relocation), relocation)
    if found:
        raise too_long(found[0], what, alias_directory(relocation))


def too_long(shortfall: Shortfall, what: str, alias_root: str, where: Optional[str] = None) -> PrefixTooLong:
    short = shortfall.needs - shortfall.has
    in_file = f" in {where}" if where else ""
    return PrefixTooLong(
        f"{what} cannot be relocated{in_file}: it was built with {shortfall.old_prefix} ({shortfall.has} characters), "
        f"and the shortest name here, {alias_root}/{shortfall.dag_hash[-SHORTEST:]}, has {shortfall.needs}",
        remedy=f"use an install tree that is {short} characters shorter, set oci:relocation:alias_root to a short "
        f"directory of yours (at most {shortfall.has - SHORTEST - 1} characters), use another mirror, or build from "
        "source (--no-cache)",
    )
