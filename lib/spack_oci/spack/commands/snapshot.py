# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci snapshot`` and ``snapshots``."""

import argparse
from typing import List, Optional, Set

import spack.llnl.util.tty as tty

from ...operations.lifecycle.contents import ALL_TYPES, LINK_RUN, read_contents
from ...operations.lifecycle.lock_files import hashes_of_lock_file
from ...operations.lifecycle.snapshots import MadeSnapshot, list_snapshots, make_snapshot, remove_snapshot
from ...util.text import counted, elided, table
from .. import mirror_arguments, mirrors, trust
from .select import hashes_matching


def make(args: argparse.Namespace) -> MadeSnapshot:
    mirror = mirror_arguments.find(args.mirror, mirrors.PUSH)[0]
    store, index_store = mirrors.open_store(mirror, mirrors.PUSH), mirrors.open_index_store(mirror, mirrors.PUSH)
    contents = read_contents(store, index_store)
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    roots: Optional[Set[str]] = None
    if args.lock or args.specs:
        roots = {h for path in args.lock for h in hashes_of_lock_file(path, types)}
        if args.specs:
            roots |= hashes_matching(contents.need_index(), args.specs, contents.url)
    signer = trust.signer()
    return make_snapshot(
        store,
        contents,
        args.name,
        roots,
        types=types,
        allow_missing=args.allow_missing,
        sign=trust.index_signing(mirror, (), signer, renew=True).statement(None) if signer else None,
        index_store=index_store,
    )


def print_made(made: MadeSnapshot) -> None:
    if made.missing:
        tty.warn(
            f"left out, because they are not there: {elided([f'/{h[:7]}' for h in sorted(made.missing)])}",
        )
    tty.info(f"Made the snapshot {made.name} of {counted(made.packages, 'package')}")
    tty.info(f"`spack mirror add {made.name} {made.url}` has just that")


def remove(args: argparse.Namespace) -> None:
    mirror = mirror_arguments.find(args.mirror, mirrors.PUSH)[0]
    remove_snapshot(mirrors.open_store(mirror, mirrors.PUSH), args.name)
    tty.info(f"Removed the snapshot {args.name}; its packages stay until a prune")


def find(name: Optional[str]) -> List[MadeSnapshot]:
    mirror, note = mirror_arguments.find(name, mirrors.FETCH)
    if note:
        tty.info(note)
    return list_snapshots(mirrors.open_store(mirror, mirrors.FETCH))


def print_list(found: List[MadeSnapshot]) -> None:
    for line in table([(s.name, counted(s.packages, "package"), s.url) for s in found]):
        print(line)
    if not found:
        tty.info("no snapshots")
