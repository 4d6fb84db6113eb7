# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` for what is kept here (`clean`) and for a cache as a whole: its index, content and size."""

import argparse
import os
from dataclasses import replace

from ..commandline.common import messages_apart, print_json
from ..errors import NotFound
from . import settings
from .output import info, warn


def clean(args: argparse.Namespace) -> int:
    """Remove the cached blobs of this user, and, of a store that is named, short names that lead nowhere."""
    from ..configuration.settings import blob_cache
    from ..relocate.aliases import ALIAS_DIRECTORY, prune_aliases
    from ..util.sizes import format_size
    from ..util.text import counted

    options = settings.read()
    blobs, count = blob_cache(options).clean()
    aliases = []
    if args.store or os.environ.get("SPACK_OCI_STORE") or options.alias_root:
        directory = options.alias_root or os.path.join(settings.store_path(args.store), ALIAS_DIRECTORY)
        aliases = prune_aliases(directory)
    if args.json:
        print_json({"blobs": blobs, "bytes": count, "aliases": list(aliases)})
    else:
        text = f"Removed {counted(blobs, 'cached blob')} ({format_size(count)})"
        info(text + (f" and {counted(len(aliases), 'short name')} of packages" if aliases else ""))
    return 0


def update_index(args: argparse.Namespace) -> int:
    from ..index.update.loop import update_index as update
    from .caches import index_settings, open_cache

    store = open_cache(args.mirror, create=args.create, writes=True)
    options = index_settings(args.mirror)
    try:
        done = update(store, options, full=args.full, compare_digests=not args.new_only, create=args.create)
    except NotFound as e:
        raise NotFound(e.message, remedy="--create makes an empty index there") from e
    if args.json:
        print_json(done.to_dict())
    else:
        for line, is_warning in done.lines(store.url):
            (warn if is_warning else info)(line)
    return 1 if args.strict and (done.unreadable or done.kept) else 0


def disk_usage(args: argparse.Namespace) -> int:
    from ..maintenance import du
    from .opened import OpenedCache

    with messages_apart(args.json):
        cache = OpenedCache(args.mirror, False)
        found = replace(du.usage(cache, not args.quick), url=cache.url)
    if args.json:
        print_json(found.to_dict())
    else:
        du.print_usage(cache, found, args.by, args.top)
    return 0


def verify_cache(args: argparse.Namespace) -> int:
    from ..maintenance import verify
    from ..operations.check.findings import Level
    from .opened import OpenedCache

    with messages_apart(args.json):
        cache = OpenedCache(args.mirror, False)
        policy = verify.policy_for(cache, args.key)
        tags = verify.tags_matching(cache, args.specs) if args.specs else None
        found = verify.verify(cache, policy, Level[args.level.upper()], tags=tags, sample=args.sample)
        found = replace(found, url=cache.url)
    if args.json:
        print_json(verify.document(policy, found))
    else:
        verify.print_verification(cache.out, policy, found)
    return 1 if found.findings else 0


def repair_cache(args: argparse.Namespace) -> int:
    from ..maintenance import repair
    from ..operations.check.findings import Level
    from .opened import OpenedCache
    from .push import Repusher

    result = remaining = None
    with messages_apart(args.json):
        cache = OpenedCache(args.mirror, True)
        again = Repusher(args.store, args.mirror)
        request = repair.plan(cache, Level[args.level.upper()], again.has)
        if not args.dry_run:
            result = repair.execute(request, again.push)
            remaining = repair.verify_again(request)
    if args.json:
        print_json(repair.document(request, result, remaining))
    elif result is None:
        repair.print_plan(request)
    else:
        repair.print_result(request, result, remaining)
    return 0 if result is None or repair.is_whole(result, remaining) else 1


def make_snapshot(args: argparse.Namespace) -> int:
    from ..maintenance import snapshot
    from .opened import OpenedCache

    with messages_apart(args.json):
        cache = OpenedCache(args.mirror, True)
        if args.remove:
            snapshot.remove(cache, args.name)
            return 0
        made = snapshot.make(cache, args)
    if args.json:
        print_json(made.to_dict())
    else:
        snapshot.print_made(cache, made)
    return 0


def list_snapshots(args: argparse.Namespace) -> int:
    from ..maintenance import snapshot
    from .opened import OpenedCache

    cache = OpenedCache(args.mirror, False)
    found = snapshot.find(cache)
    if args.json:
        print_json({"snapshots": [one.to_dict() for one in found]})
    else:
        snapshot.print_list(cache.out, found)
    return 0


def pin(args: argparse.Namespace) -> int:
    from ..maintenance import pins
    from .opened import OpenedCache

    pins.add_pin(OpenedCache(args.mirror, True), args)
    return 0


def unpin(args: argparse.Namespace) -> int:
    from ..maintenance import pins
    from .opened import OpenedCache

    pins.remove_pin(OpenedCache(args.mirror, True), args.name)
    return 0


def list_pins(args: argparse.Namespace) -> int:
    from ..maintenance import pins
    from .opened import OpenedCache

    cache = OpenedCache(args.mirror, True)
    found = pins.find_pins(cache)
    if args.json:
        print_json({"pins": [one.to_dict() for one in found]})
    else:
        pins.print_pins(cache.out, found)
    return 0


def prune_cache(args: argparse.Namespace) -> int:
    from ..maintenance import prune
    from .opened import OpenedCache

    with messages_apart(args.json):
        request = prune.plan(OpenedCache(args.mirror, True), args)
        if args.dry_run:
            if not args.json:
                prune.print_plan(request)
        else:
            result = prune.execute(request, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1


def copy_cache(args: argparse.Namespace) -> int:
    from ..maintenance import copy
    from .opened import OpenedCaches

    with messages_apart(args.json), copy.requested(OpenedCaches(), args) as request:
        if args.dry_run:
            if not args.json:
                copy.print_plan(request)
        else:
            result = copy.execute(request, args.jobs, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1
