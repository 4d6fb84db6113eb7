# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci du``: where the bytes of a mirror are."""

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.version

from ...operations.lifecycle.contents import read_contents
from ...operations.lifecycle.usage import Usage, measure
from ...util.bars import chart
from ...util.sizes import format_size
from ...util.text import counted, elided
from .. import mirrors, settings
from ..output import reporter


def usage(mirror: "spack.mirrors.mirror.Mirror", manifests: bool) -> Usage:
    store = mirrors.open_store(mirror, mirrors.FETCH)
    return measure(
        store,
        read_contents(store, mirrors.open_index_store(mirror, mirrors.FETCH)),
        spack.version.ver,
        manifests=manifests,
        jobs=settings.read().transfer_jobs,
        reporter=reporter(),
    )


def print_usage(found: Usage, by: str, top: int) -> None:
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
        tty.warn(
            f"{counted(len(found.unreadable), 'tag')} could not be read: {elided(found.unreadable)}; "
            "`spack oci verify` tells why"
        )
    old = f"; {format_size(found.old_size)} in {counted(len(found.old), 'package')} that no newest version needs"
    more = "" if found.complete else ", as far as the index knows"
    tty.info(f"{found.url}: {format_size(found.total)}{more}{old if found.old else ''}")
