# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci uninstall` and `gc`"""

import argparse
from typing import Any, List, Mapping, Sequence

from ..commandline.common import print_json
from ..store.remove import finish_removals, in_order_of_removal, remove_packages, with_dependents
from ..store.source import label
from ..store.store import Store
from ..util.text import counted
from . import settings
from .activate import write_scripts
from .output import info
from .roots import installed_matching


def uninstall(args: argparse.Namespace) -> int:
    store = Store.open(settings.store_path(args.store))
    records = store.database.read()
    installed = [h for h in records.installed() if not records.by_hash[h]["spec"].get("external")]
    hashes = {node["hash"] for node in installed_matching(args.specs, records.nodes, installed, store.root)}
    if args.dependents:
        hashes = with_dependents(records, hashes)
    return _remove(store, in_order_of_removal(records, hashes), args)


def gc(args: argparse.Namespace) -> int:
    store = Store.open(settings.store_path(args.store))
    if not args.dry_run:
        finish_removals(store)
    records = store.database.read()
    return _remove(store, in_order_of_removal(records, records.unused()), args)


def _remove(store: Store, nodes: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> int:
    if not args.dry_run:
        remove_packages(store, nodes, settings.read().alias_root or "")
        write_scripts(store)
    if args.json:
        print_json({"removed" if not args.dry_run else "remove": _documents(nodes)})
        return 0
    for node in nodes:
        print(f"[-] {label(node)}")
    info(f"{'Would remove' if args.dry_run else 'Removed'} {counted(len(nodes), 'package')} from {store.root}")
    return 0


def _documents(nodes: Sequence[Mapping[str, Any]]) -> List[Any]:
    return [{"name": node["name"], "version": node["version"], "hash": node["hash"]} for node in nodes]
