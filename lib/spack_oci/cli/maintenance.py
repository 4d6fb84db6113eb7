# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci clean` and `update-index`"""

import argparse
import os

from ..commandline.common import print_json
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
