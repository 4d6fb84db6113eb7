# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci pack`: a part of a cache as a directory or a file, for a machine without a network."""

import argparse
import shlex
from typing import Any

from ..commandline.common import messages_apart, print_json
from ..content.interfaces import MissingStore
from ..errors import ConfigurationError, NotFound
from ..index.update.loop import UpdateSettings
from ..layout import is_layout, open_layout
from ..operations.lifecycle.bundles import BundleWriter
from ..operations.lifecycle.copy import CopyPlan, CopyResult, Selection, compare, execute_copy, plan_copy
from ..reference import LayoutDirectory
from ..store.database import Records
from ..util.sizes import format_size
from ..util.text import by_cause, counted, elided
from . import settings
from .caches import open_cache, read_source
from .output import error, info, reporter
from .roots import roots_of, wanted_of


def pack(args: argparse.Namespace) -> int:
    destination = settings.absolute(args.destination)
    with messages_apart(args.json):
        source = read_source(args.mirror, wanted=wanted_of(args.specs))
        roots = frozenset(node["hash"] for node in roots_of(args.specs, source, Records()))
        if not roots:
            raise ConfigurationError("there is nothing to pack: no spec is given", remedy="name a spec or a spack.lock")
        if destination.endswith(".tar"):
            with BundleWriter(destination) as bundle:
                plan, result = _copy(args, roots, bundle.directory)
                if not args.dry_run and not result.failed:
                    bundle.write()
        else:
            plan, result = _copy(args, roots, destination)
    return _tell(args, plan, result, destination)


def _copy(args: argparse.Namespace, roots: "frozenset[str]", directory: str) -> Any:
    source = open_cache(args.mirror)
    location = LayoutDirectory(directory)
    there = open_layout(location) if is_layout(location) else None
    both = compare(source, there or MissingStore(location.url))
    plan = plan_copy(both, Selection(roots=roots, tags=frozenset()))
    if plan.missing:
        raise NotFound(
            f"{source.url} lacks what these need: {elided([f'/{h[:7]}' for h in plan.missing])}",
            remedy="push it with its dependencies",
        )
    if args.dry_run:
        return plan, CopyResult()
    target = open_layout(location, create=True)
    jobs = settings.read().transfer_jobs
    shown = reporter()
    index_settings = UpdateSettings(jobs=jobs, warn=shown.warn, reporter=shown)
    return plan, execute_copy(source, target, both.found, plan, index_settings, jobs=jobs, reporter=shown)


def _tell(args: argparse.Namespace, plan: CopyPlan, result: CopyResult, destination: str) -> int:
    if args.json:
        print_json(plan.to_dict() if args.dry_run else {"destination": destination, **result.to_dict()})
        return 1 if result.failed else 0
    if args.dry_run:
        print("\n".join(plan.packages))
        info(f"{counted(len(plan.packages), 'package')} ({format_size(plan.size)}) would be packed")
        return 0
    if result.failed:
        causes = by_cause(list(result.failed.items()))
        error("\n    ".join([f"{counted(len(result.failed), 'tag')} not packed:", *causes]))
    there = f", {len(plan.present)} were there" if plan.present else ""
    # their signatures are copied, too
    info(f"Packed {counted(len(result.copied.keys() & plan.packages), 'package')} into {destination}{there}")
    info(f"there: `spack-oci install {shlex.quote(destination)} SPEC --store DIR`")
    return 1 if result.failed else 0
