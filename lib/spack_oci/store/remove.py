# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages out of a store.

What is to be removed is first written down in ``.spack-oci/removing``, then taken out of the database, then deleted; a
run that was killed is finished by the next one.
"""

import contextlib
import os
import re
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Set

from ..archive.unpack.staging import remove_stale, remove_tree
from ..errors import StoreError
from ..relocate.aliases import ALIAS_DIRECTORY, remove_aliases
from ..util.files import atomic_write, storage_errors
from ..util.text import elided
from .database import Records
from .install import environment_path
from .layout import make_directory
from .source import label
from .store import Store

_HASH = re.compile(r"[a-z2-7]{32}\Z")


def with_dependents(records: Records, hashes: Iterable[str]) -> Set[str]:
    """``hashes``, and what is installed and needs them."""
    found: Set[str] = set()
    pending = list(hashes)
    while pending:
        dag_hash = pending.pop()
        if dag_hash not in found:
            found.add(dag_hash)
            pending.extend(records.dependents(dag_hash))
    return found


def in_order_of_removal(records: Records, hashes: Iterable[str]) -> List[Mapping[str, Any]]:
    """Nodes, dependents first. Raises StoreError when something that stays needs one of them."""
    chosen = set(hashes)
    refused = []
    for dag_hash in sorted(chosen):
        needed_by = [other for other in records.dependents(dag_hash) if other not in chosen]
        if needed_by:
            names = sorted(label(records.by_hash[other]["spec"]) for other in needed_by)
            refused.append(f"{label(records.by_hash[dag_hash]['spec'])} is needed by {elided(names)}")
    if refused:
        raise StoreError(
            f"nothing is removed: {elided(sorted(refused))}",
            remedy="--dependents removes what needs it, too; with --dry-run it shows what that is",
        )
    order: List[Mapping[str, Any]] = []
    left = dict.fromkeys(sorted(chosen))
    while left:
        for dag_hash in list(left):
            if not any(other in left for other in records.dependents(dag_hash)):
                order.append(records.by_hash[dag_hash]["spec"])
                del left[dag_hash]
    return order


def remove_packages(store: Store, nodes: Sequence[Mapping[str, Any]], alias_root: str = "") -> None:
    """Remove installed packages, dependents first. Raises StoreError, StorageError."""
    finish_removals(store)
    if not nodes:
        return
    with store.prefixes_locked({node["hash"]: node["name"] for node in nodes}):
        with store.database.transaction() as records:
            # since they were chosen, others may have removed them, or installed what needs them
            there = [node for node in nodes if records.is_installed(node["hash"])]
            in_order_of_removal(records, (node["hash"] for node in there))
            prefixes: Dict[str, str] = {node["hash"]: records.by_hash[node["hash"]]["path"] for node in there}
            _check_prefixes(store, records, prefixes)
            for dag_hash, prefix in prefixes.items():
                _write_down(store, dag_hash, prefix)
            for node in there:
                records.remove(node["hash"])
        for dag_hash, prefix in prefixes.items():
            _delete(store, dag_hash, prefix, alias_root)


def _check_prefixes(store: Store, records: Records, prefixes: Mapping[str, str]) -> None:
    """They are in the store, and nothing is in them: a projection may put one package into the prefix of another."""
    for dag_hash, prefix in prefixes.items():
        if not prefix.startswith(f"{store.root}/"):
            raise StoreError(f"{prefix} is not in the store {store.root}, and is not deleted")
        for other in records.installed():
            path = records.by_hash[other].get("path") or ""
            if other not in prefixes and path.startswith(f"{prefix}/"):
                inside, around = (label(records.by_hash[h]["spec"]) for h in (other, dag_hash))
                raise StoreError(
                    f"{inside} is installed inside of {around}, in {path}", remedy=f"remove {inside} first"
                )


def finish_removals(store: Store) -> None:
    """What a run that was killed has left."""
    directory = store.layout.own_path("removing")
    if not os.path.isdir(directory):
        return
    for dag_hash in filter(_HASH.match, os.listdir(directory)):
        lock = store.database.prefix_lock(dag_hash, dag_hash)
        if not lock.try_acquire():
            continue  # the run that removes it is alive
        try:
            with storage_errors(f"reading {directory}"), open(os.path.join(directory, dag_hash), "rb") as file:
                prefix = os.path.normpath(os.fsdecode(file.read()))
            # in a store of a group, others may write here
            if store.database.read().is_installed(dag_hash) or not prefix.startswith(f"{store.root}/"):
                os.unlink(os.path.join(directory, dag_hash))
            else:
                _delete(store, dag_hash, prefix, "")
        finally:
            lock.release()


def _write_down(store: Store, dag_hash: str, prefix: str) -> None:
    path = store.layout.own_path("removing", dag_hash)
    with storage_errors(f"writing {path}"):
        make_directory(os.path.dirname(path))
        with atomic_write(path) as file:
            file.write(os.fsencode(prefix))


def _delete(store: Store, dag_hash: str, prefix: str, alias_root: str) -> None:
    with storage_errors(f"removing {prefix}"):
        remove_tree(prefix)
        remove_stale(prefix)
        remove_aliases(alias_root or os.path.join(store.root, ALIAS_DIRECTORY), prefix)
        for path in (environment_path(store, dag_hash), store.layout.own_path("removing", dag_hash)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        parent = os.path.dirname(prefix)
        with contextlib.suppress(OSError):  # not empty
            while parent != store.root:
                os.rmdir(parent)
                parent = os.path.dirname(parent)
