# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``snapshot`` and ``snapshots``."""

import argparse
import shlex
from typing import Callable, List, Optional, Set

from ..operations.lifecycle.contents import ALL_TYPES, LINK_RUN, read_contents
from ..operations.lifecycle.lock_files import hashes_of_lock_file
from ..operations.lifecycle.snapshots import MadeSnapshot, list_snapshots, make_snapshot, remove_snapshot
from ..util.documents import messages_apart, print_json
from ..util.text import counted, elided, table
from .cache import Cache, Output


def run(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        made = None if args.remove else make(cache, args)
    if made is None:
        return remove(cache, args)
    if args.json:
        print_json(made.to_dict())
    else:
        print_made(cache, made)
    return 0


def run_list(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        found, failed = list_snapshots(cache.open())
    if args.json:
        print_json({"snapshots": [one.to_dict() for one in found]})
    else:
        print_list(cache.out, found)
    for error in failed.values():
        cache.out.error(str(error))
    return 1 if failed else 0


def make(cache: Cache, args: argparse.Namespace) -> MadeSnapshot:
    store, index_store = cache.open(), cache.open_index()
    contents = read_contents(store, index_store)
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    roots: Optional[Set[str]] = None
    if args.lock or args.specs:
        roots = {h for path in args.lock for h in hashes_of_lock_file(path, types)}
        if args.specs:
            roots |= cache.matching(contents.need_index(), args.specs)
    signer = cache.signer()
    return make_snapshot(
        store,
        contents,
        args.name,
        roots,
        types=types,
        allow_missing=args.allow_missing,
        sign=cache.snapshot_statement(signer, args.name) if signer else None,
        index_store=index_store,
    )


def print_made(cache: Cache, made: MadeSnapshot) -> None:
    if made.missing:
        left_out = elided([f"/{h[:7]}" for h in sorted(made.missing)])
        cache.out.warn(f"left out, because they are not there: {left_out}")
    count = counted(made.packages, "package")
    what_was = f"; it replaces one of {counted(made.replaced, 'package')}" if made.replaced is not None else ""
    cache.out.info(f"Made the snapshot {made.name} of {count}{what_was}")
    cache.out.info(f"`spack mirror add {made.name} {shlex.quote(made.url)}` has just that")


def remove(cache: Cache, args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        remove_snapshot(cache.open(), args.name)
    if args.json:
        print_json({"mirror": cache.url, "name": args.name})
    else:
        cache.out.info(f"Removed the snapshot {args.name}; its packages stay until a prune")
    return 0


def print_list(out: Output, found: List[MadeSnapshot]) -> None:
    for line in table([(s.name, counted(s.packages, "package"), s.url) for s in found]):
        print(line)
    if not found:
        out.info("no snapshots")
