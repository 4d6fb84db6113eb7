# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` for what is kept here (`clean`) and for a cache as a whole: its index, content and size."""

import argparse
import os
from typing import TYPE_CHECKING, Callable, List, Optional, Tuple

from ..errors import NotFound
from . import output, settings

if TYPE_CHECKING:
    from ..index.update.loop import IndexUpdate
    from .opened import OpenedCache


def _to_read(args: argparse.Namespace) -> "Callable[[], OpenedCache]":
    from .opened import OpenedCache

    return lambda: OpenedCache(args.mirror, False)


def _to_change(args: argparse.Namespace) -> "Callable[[], OpenedCache]":
    from .opened import OpenedCache

    return lambda: OpenedCache(args.mirror, True)


def clean(args: argparse.Namespace) -> int:
    """Remove the cached blobs of this user, and, of a store that is named, short names that lead nowhere."""
    from ..configuration.settings import blob_cache
    from ..maintenance import clean as command
    from ..relocate.aliases import ALIAS_DIRECTORY

    options = settings.read()
    aliases = options.alias_root
    if aliases is None and (args.store or os.environ.get("SPACK_OCI_STORE")):
        aliases = os.path.join(settings.store_path(args.store), ALIAS_DIRECTORY)
    return command.run(output, blob_cache(options), aliases, args)


def update_index(args: argparse.Namespace) -> int:
    from ..index.update.loop import update_index as update
    from ..maintenance import update_index as command
    from .caches import index_settings, open_cache

    def updated() -> "Tuple[str, IndexUpdate]":
        store = open_cache(args.mirror, create=args.create, writes=True)
        options = index_settings(args.mirror)
        try:
            done = update(store, options, full=args.full, compare_digests=not args.new_only, create=args.create)
        except NotFound as e:
            raise NotFound(e.message, remedy="--create makes an empty index there") from e
        return store.url, done

    return command.run(output, updated, args)


def disk_usage(args: argparse.Namespace) -> int:
    from ..maintenance import du

    return du.run(_to_read(args), args)


def verify_cache(args: argparse.Namespace) -> int:
    from ..maintenance import verify

    def packages() -> "Tuple[OpenedCache, Optional[List[str]]]":
        cache = _to_read(args)()
        return cache, verify.tags_matching(cache, args.specs) if args.specs else None

    return verify.run(packages, args)


def repair_cache(args: argparse.Namespace) -> int:
    from ..maintenance import repair
    from .push import Repusher

    return repair.run(lambda: (_to_change(args)(), Repusher(args.store, args.mirror)), args)


def make_snapshot(args: argparse.Namespace) -> int:
    from ..maintenance import snapshot

    return snapshot.run(_to_change(args), args)


def list_snapshots(args: argparse.Namespace) -> int:
    from ..maintenance import snapshot

    return snapshot.run_list(_to_read(args), args)


def pin(args: argparse.Namespace) -> int:
    from ..maintenance import pins

    return pins.run_pin(_to_change(args), args)


def unpin(args: argparse.Namespace) -> int:
    from ..maintenance import pins

    return pins.run_unpin(_to_change(args), args)


def list_pins(args: argparse.Namespace) -> int:
    from ..maintenance import pins

    return pins.run_list(_to_read(args), args)


def prune_cache(args: argparse.Namespace) -> int:
    from ..maintenance import prune

    return prune.run(_to_change(args), args)


def copy_cache(args: argparse.Namespace) -> int:
    from ..maintenance import copy
    from .opened import OpenedCaches

    return copy.run(OpenedCaches(), args)
