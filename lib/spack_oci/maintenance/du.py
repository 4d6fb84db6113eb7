# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``du``: where the bytes of a cache are."""

import argparse
from dataclasses import replace
from typing import Callable

from ..operations.lifecycle.contents import read_contents
from ..operations.lifecycle.usage import Usage, measure
from ..specs.versions import Version
from ..util.bars import chart
from ..util.documents import messages_apart, print_json
from ..util.sizes import format_size
from ..util.text import counted, elided
from .cache import Cache


def run(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        cache = find()
        found = replace(usage(cache, not args.quick), url=cache.url)
    if args.json:
        print_json(found.to_dict())
    else:
        print_usage(cache, found, args.by, args.top)
    return 0


def usage(cache: Cache, manifests: bool) -> Usage:
    """``manifests``: read them, and not the index alone."""
    store = cache.open()
    contents = read_contents(store, cache.open_index())
    return measure(store, contents, Version.parse, manifests=manifests, jobs=cache.jobs, reporter=cache.reporter())


def print_usage(cache: Cache, found: Usage, by: str, top: int) -> None:
    rows = found.by_version if by == "version" else found.by_package
    shown = rows[:top] if top else rows
    lines = [
        ((f"{p.name}@{p.version}" if p.version else p.name, str(p.builds), format_size(p.size)), float(p.size))
        for p in shown
    ]
    for line in chart(lines, (by, "builds", "size")):
        print(line)
    if len(rows) > len(shown):
        rest = rows[len(shown) :]
        print(f"and {len(rest)} more with {format_size(sum(p.size for p in rest))} (--top 0 shows all)")
    parts = [(f"packages ({sum(p.builds for p in found.by_package)})", found.packages_size)]
    if found.complete:
        parts += [
            (f"layers of base images ({len(found.shared)}, shared)", found.shared_size),
            (f"images besides ({len(found.images)})", sum(found.images.values())),
            ("manifests and configs", found.documents),
        ]
    print()
    for line in chart([((name, format_size(size)), float(size)) for name, size in parts], ("what", "size")):
        print(line)
    print()
    if found.unreadable:
        cache.out.warn(
            f"{counted(len(found.unreadable), 'tag')} could not be read: {elided(found.unreadable)}; "
            f"`{cache.program} verify` tells why"
        )
    old = f"; {format_size(found.old_size)} in {counted(len(found.old), 'package')} that no newest version needs"
    more = "" if found.complete else ", as far as the index knows"
    cache.out.info(f"{found.url}: {format_size(found.total)}{more}{old if found.old else ''}")
