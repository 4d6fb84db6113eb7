# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci push`: what a store holds, by its database and spec files alone."""

import argparse
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..archive.codec import Compression
from ..archive.unpack.staging import temporary_directory
from ..commandline.common import messages_apart, print_json
from ..configuration.settings import blob_cache
from ..content.interfaces import MissingStore
from ..errors import NotFound
from ..index.update.loop import IndexUpdate, merge_pushed
from ..operations.push import plan as push_plan
from ..operations.push.execute import execute_push
from ..operations.push.index_entries import packages_of_push
from ..operations.push.outcome import PushResult
from ..operations.push.plan import PushPlan, PushSettings, plan_push
from ..operations.push.writable import skipped_document, skipped_line, why_not_writable
from ..package.record import dag_hash_of_tag
from ..store.packages import StorePackage, StorePackages, environments_lost
from ..store.store import Store, installed_nodes
from ..util.sizes import format_size
from ..util.text import by_cause, counted, elided
from . import settings
from .caches import index_settings, location_of, open_cache, signer
from .output import error, info, reporter, warn
from .roots import installed_matching


def push(args: argparse.Namespace) -> int:
    reason = None
    if args.if_writable:
        reason = why_not_writable(lambda: open_cache(args.mirror, create=True, writes=True))
    if reason is not None:
        url = location_of(args.mirror).url
        print_json(skipped_document(url, reason)) if args.json else info(skipped_line(url, reason))
        return 0
    store = Store.open(settings.absolute(args.store))
    with messages_apart(args.json):
        packages = _packages(store, args)
        with temporary_directory("spack-oci-push") as stage:
            push_settings = _settings(args, stage)
            if args.dry_run:
                return _print_plan(_plan(args, packages, push_settings), args.json)
            result = _push(args, packages, push_settings)
        index = _update_index(args, result) if args.update_index else None
    if args.json:
        print_json(_document(args, result, index))
    else:
        _print_result(args, result, index)
    return 1 if result.failed else 0


def _packages(store: Store, args: argparse.Namespace) -> List[StorePackage]:
    """Those that the words mean; all that is installed without words."""
    records = store.database.read()
    known = StorePackages(store, records)
    installed = [node["hash"] for node in installed_nodes(records)]
    if args.specs:
        roots = [node["hash"] for node in installed_matching(args.specs, records.nodes, installed, store.root)]
    else:
        roots = installed
    chosen = known.select(
        roots,
        package="package" in args.things_to_push,
        dependencies="dependencies" in args.things_to_push,
        build=not args.without_build_dependencies,
    )
    there = set(installed)
    # of a store that was filled from caches, what is only for building is not there: nobody misses it
    return [known.record(dag_hash) for dag_hash in chosen if dag_hash in there]


def _settings(args: argparse.Namespace, stage: str) -> PushSettings:
    found = _push_settings(stage, args.compression, args.jobs, args.fail_fast)
    return found._replace(index_follows=bool(args.update_index))


def _push_settings(
    stage: str, compression: Optional[str] = None, jobs: Optional[int] = None, fail_fast: bool = False
) -> PushSettings:
    options = settings.read()
    return PushSettings(
        compression=Compression.parse(compression) if compression else options.compression,
        pack_jobs=jobs or options.pack_jobs,
        transfer_jobs=options.transfer_jobs,
        stage=stage,
        cache=blob_cache(options),
        fail_fast=fail_fast,
        short_prefix=options.short_prefix,
        signer=signer(ahead=True),
    )


def _plan(args: argparse.Namespace, packages: Sequence[StorePackage], push_settings: PushSettings) -> PushPlan:
    store: Any
    try:
        store = open_cache(args.mirror, writes=True)
    except NotFound:
        store = MissingStore(args.mirror)
    return plan_push(store, packages, force=args.force, settings=push_settings)


def _push(args: argparse.Namespace, packages: Sequence[StorePackage], push_settings: PushSettings) -> PushResult:
    store = open_cache(args.mirror, create=True, writes=True)
    if len(packages) > 1:
        info(f"Selected {len(packages)} packages to push to {store.url}")
    planned = plan_push(store, packages, force=args.force, settings=push_settings)
    for message in planned.warnings:
        warn(message)
    to_push = [item.package for item in planned.to_push]
    if not to_push:
        return planned.result_of_nothing()
    lost = environments_lost(p for p in to_push if isinstance(p, StorePackage))
    if lost:
        warn(
            "their recipes set variables that only Spack can compute; the images have the directories of their "
            f"prefixes on PATH and the like: {elided([p.label for p in lost])}"
        )
    return execute_push(planned, store, settings=push_settings, reporter=reporter())


def _update_index(args: argparse.Namespace, result: PushResult) -> IndexUpdate:
    store = open_cache(args.mirror, writes=True)
    written = [outcome.signature for outcome in result.pushed if outcome.signature is not None]
    return merge_pushed(store, packages_of_push(result), index_settings(args.mirror, written))


def _print_plan(plan: PushPlan, as_json: bool) -> int:
    if as_json:
        print_json(plan.to_dict())
        return 0
    for line in push_plan.lines_of(plan):
        print(line)
    info(push_plan.summary_of(plan))
    return 0


def _document(args: argparse.Namespace, result: PushResult, index: Optional[IndexUpdate]) -> Mapping[str, Any]:
    document: Dict[str, Any] = {"mirror": open_cache(args.mirror).url, **result.to_dict(), "not_installed": []}
    if index:
        document["index"] = index.to_dict()
    return document


def _print_result(args: argparse.Namespace, result: PushResult, index: Optional[IndexUpdate]) -> None:
    url = open_cache(args.mirror).url
    if result.skipped:
        info(
            f"{counted(len(result.skipped), 'package')} skipped, as the cache has them: "
            f"{elided([o.package.label for o in result.skipped])}. Use --force to push them again."
        )
    if result.pushed:
        info(
            f"Pushed {counted(len(result.pushed), 'package')} to {url} in {result.seconds:.1f} s: "
            f"{format_size(result.bytes_read)} read, {format_size(result.bytes_sent)} sent"
        )
    signed, by = [outcome for outcome in result.pushed if outcome.signature], signer()
    if signed and by is not None:
        info(f"Signed {counted(len(signed), 'package')} with the key {by.public.name} ({by.public.short_id})")
    if index:
        for line, is_warning in index.lines(url):
            (warn if is_warning else info)(line)
    if result.failed:
        causes = by_cause([(outcome.package.label, outcome.error) for outcome in result.failed])
        error("\n    ".join([f"{counted(len(result.failed), 'package')} not pushed:", *causes]))


class Repusher:
    """What a repair can push again: packages of a store. ``store``: its path; None, and none in the settings: nothing
    can."""

    def __init__(self, store: Optional[str], cache: str) -> None:
        self._cache = cache
        self._store: Optional[Store] = None
        if store or os.environ.get("SPACK_OCI_STORE"):
            self._store = Store.open(settings.store_path(store))
            self._records = self._store.database.read()
            self._installed = {node["hash"] for node in installed_nodes(self._records)}

    def has(self, tag: str) -> bool:
        return self._store is not None and dag_hash_of_tag(tag) in self._installed

    def push(self, tags: Sequence[str]) -> List[str]:
        """Tags of what was pushed."""
        if self._store is None:
            return []
        known = StorePackages(self._store, self._records)
        packages = [known.record(dag_hash_of_tag(tag)) for tag in tags]
        target = open_cache(self._cache, writes=True)
        with temporary_directory("spack-oci-push") as stage:
            push_settings = _push_settings(stage)
            planned = plan_push(target, packages, force=True, settings=push_settings)
            result = execute_push(planned, target, settings=push_settings, reporter=reporter())
        if result.failed:
            error("not pushed again:", *by_cause([(o.package.label, o.error) for o in result.failed]))
        return [outcome.package.tag for outcome in result.pushed]
