# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``copy``: from one cache to another."""

import argparse
import contextlib
import os
from dataclasses import replace
from typing import FrozenSet, Iterator, NamedTuple, Optional, Tuple

from ..content import ContentStore, MissingStore
from ..content.interfaces import RepositoryReader
from ..content.platform import Platform
from ..errors import NotFound
from ..layout import is_layout
from ..operations.lifecycle.bundles import BundleWriter, is_bundle, unpacked
from ..operations.lifecycle.contents import ALL_TYPES, LINK_RUN, Contents
from ..operations.lifecycle.copy import CopyPlan, CopyResult, Selection, compare, execute_copy, plan_copy
from ..operations.lifecycle.lock_files import hashes_of_lock_file
from ..reference import LayoutDirectory
from ..util.documents import messages_apart, print_json
from ..util.sizes import format_size
from ..util.text import by_cause, counted, elided
from .cache import Cache, Caches, Output


class Request(NamedTuple):
    """``bundle``: where the destination is written to in the end, if it is a file."""

    source: ContentStore
    destination: Cache
    found: Contents
    plan: CopyPlan
    bundle: Optional[BundleWriter] = None


def run(caches: Caches, args: argparse.Namespace) -> int:
    with messages_apart(args.json), requested(caches, args) as request:
        if args.dry_run:
            if not args.json:
                print_plan(request)
        else:
            result = execute(request, args.jobs, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1


@contextlib.contextmanager
def requested(caches: Caches, args: argparse.Namespace) -> Iterator[Request]:
    """What the arguments of the sub-command ask for, compared with what is there."""
    if not is_bundle(args.destination):
        yield _plan(caches, args, caches.find(args.destination, writes=True))
        return
    path = os.path.abspath(caches.absolute(args.destination))
    if args.dry_run and not os.path.exists(path):  # nothing is made, not even a directory
        yield _plan(caches, args, caches.at(LayoutDirectory(path), writes=True))
        return
    with BundleWriter(path) as bundle:
        location = LayoutDirectory(bundle.directory, bundle=path)
        request = _plan(caches, args, caches.at(location, writes=True))
        yield request._replace(plan=replace(request.plan, destination=path), bundle=bundle)


def _origin(caches: Caches, args: argparse.Namespace) -> Cache:
    if not is_bundle(args.source):
        return caches.find(args.source, writes=False)
    path = os.path.abspath(caches.absolute(args.source))
    if not os.path.isfile(path):
        raise NotFound(
            f"there is no bundle {path}", remedy="check the path; `spack oci copy MIRROR FILE.tar` makes one"
        )
    return caches.at(LayoutDirectory(unpacked(path, caches.cache_root), bundle=path), writes=False)


def _plan(caches: Caches, args: argparse.Namespace, destination: Cache) -> Request:
    origin = _origin(caches, args)
    source = origin.open()
    there, index_there = _open_destination(destination)
    both = compare(source, there, origin.open_index(), index_there, origin.blobs())
    selection = Selection(
        roots=_roots(origin, both.found, args),
        tags=frozenset(args.tag) if args.tag or args.specs or args.lock else None,
        build_dependencies=args.with_build_dependencies,
        platform=Platform.parse(args.platform) if args.platform else None,
    )
    return Request(source, destination, both.found, plan_copy(both, selection, full=args.full, delete=args.delete))


def _open_destination(destination: Cache) -> Tuple[RepositoryReader, RepositoryReader]:
    """For its packages, and for its index."""
    location = destination.location
    is_to_be = isinstance(location, LayoutDirectory) and os.path.isdir(location.path) and not is_layout(location)
    if not is_to_be:
        with contextlib.suppress(NotFound):
            return destination.open(), destination.open_index()
    nothing = MissingStore(destination.url)  # a layout that the copy will make
    return nothing, nothing


def _roots(origin: Cache, found: Contents, args: argparse.Namespace) -> Optional[FrozenSet[str]]:
    if not args.specs and not args.lock:
        return frozenset() if args.tag else None
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    roots = {h for path in args.lock for h in hashes_of_lock_file(path, types)}
    if args.specs:
        roots |= origin.matching(found.need_index(), args.specs)
    return frozenset(roots)


def print_plan(request: Request) -> None:
    planned, out = request.plan, request.destination.out
    for tag in (*planned.packages, *planned.images, *planned.attached):
        print(f"copy    {tag}")
    for tag in planned.delete:
        print(f"delete  {tag}")
    present = f"; {len(planned.present)} are there already" if planned.present else ""
    out.info(f"{_summary(planned)} would be copied from {planned.source} to {planned.destination}{present}")
    _tell_of_missing(out, planned)
    _tell_of_held(out, planned)


def _summary(planned: CopyPlan) -> str:
    size = f" ({format_size(planned.size)})" if planned.size else ""
    words = [counted(len(planned.packages), "package") + size]
    if planned.images:
        words.append(counted(len(planned.images), "image"))
    if planned.attached:
        words.append(counted(len(planned.attached), "signature"))
    return " and ".join(words)


def _tell_of_missing(out: Output, planned: CopyPlan) -> None:
    if planned.missing:
        named = elided([f"/{h[:7]}" for h in planned.missing])
        count = counted(len(planned.missing), "package")
        out.warn(f"{planned.source} lacks {count} that these need: {named}")


def _tell_of_held(out: Output, planned: CopyPlan) -> None:
    if planned.held:
        out.info(
            f"{counted(len(planned.held), 'package')} that {planned.source} has not stay, as pins or snapshots of "
            f"{planned.destination} hold them: {elided(planned.held)}"
        )


def execute(request: Request, jobs: int, *, quiet: bool) -> CopyResult:
    planned, destination = request.plan, request.destination
    out = destination.out
    _tell_of_missing(out, planned)
    store = destination.open(create=True)
    settings, reporter = destination.update_settings(), destination.reporter()
    result = execute_copy(request.source, store, request.found, planned, settings, jobs=jobs, reporter=reporter)
    if request.bundle is not None and (result.copied or result.deleted):
        request.bundle.write()
    if result.failed:
        out.error(f"{counted(len(result.failed), 'tag')} not copied:", *by_cause(list(result.failed.items())))
    if not quiet:
        _tell_of_held(out, planned)
        sent = f", {format_size(result.bytes_sent)} sent" if result.bytes_sent else ""
        mounted = f", {counted(result.mounted, 'blob')} mounted" if result.mounted else ""
        there = f", {len(planned.present)} were there" if planned.present else ""
        failed = f", {len(result.failed)} failed" if result.failed else ""
        out.info(f"Copied {counted(len(result.copied), 'tag')} to {planned.destination}{there}{sent}{mounted}{failed}")
    return result
