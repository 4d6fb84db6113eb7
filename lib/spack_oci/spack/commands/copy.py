# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci copy`: from one mirror to another."""

import argparse
import contextlib
import os
from dataclasses import dataclass, replace
from typing import FrozenSet, Iterator, Optional, Tuple

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import ContentStore, MissingStore
from ...content.interfaces import RepositoryReader
from ...content.platform import Platform
from ...errors import NotFound
from ...layout import is_layout
from ...operations.lifecycle.bundles import BundleWriter, is_bundle, unpacked
from ...operations.lifecycle.contents import ALL_TYPES, LINK_RUN, Contents
from ...operations.lifecycle.copy import CopyPlan, CopyResult, Selection, compare, execute_copy, plan_copy
from ...operations.lifecycle.lock_files import hashes_of_lock_file
from ...reference import LayoutDirectory
from ...util.sizes import format_size
from ...util.text import by_cause, counted, elided
from .. import compat, indexes, mirror_arguments, mirrors, settings
from ..output import reporter
from .select import hashes_matching


@dataclass(frozen=True)
class Request:
    """``bundle``: where the destination is written to in the end, if it is a file."""

    source: ContentStore
    destination: "spack.mirrors.mirror.Mirror"
    found: Contents
    plan: CopyPlan
    bundle: Optional[BundleWriter] = None


@contextlib.contextmanager
def requested(args: argparse.Namespace) -> Iterator[Request]:
    """What the arguments of the sub-command ask for, compared with what is there."""
    if not is_bundle(args.destination):
        yield _plan(args, mirror_arguments.find(args.destination, mirrors.PUSH)[0])
        return
    path = os.path.abspath(compat.canonicalize_path(args.destination))
    if args.dry_run and not os.path.exists(path):  # nothing is made, not even a directory
        yield _plan(args, spack.mirrors.mirror.Mirror(LayoutDirectory(path).url))
        return
    with BundleWriter(path) as bundle:
        request = _plan(args, spack.mirrors.mirror.Mirror(LayoutDirectory(bundle.directory).url))
        yield replace(request, plan=replace(request.plan, destination=path), bundle=bundle)


def _origin(word: str) -> "spack.mirrors.mirror.Mirror":
    if not is_bundle(word):
        return mirror_arguments.find(word, mirrors.FETCH)[0]
    path = compat.canonicalize_path(word)
    if not os.path.isfile(path):
        raise NotFound(
            f"there is no bundle {path}", remedy="check the path; `spack oci copy MIRROR FILE.tar` makes one"
        )
    return spack.mirrors.mirror.Mirror(LayoutDirectory(unpacked(path, settings.read().cache_root)).url)


def _plan(args: argparse.Namespace, destination: "spack.mirrors.mirror.Mirror") -> Request:
    origin = _origin(args.source)
    source = mirrors.open_store(origin, mirrors.FETCH)
    there, index_there = _open_destination(destination)
    index = mirrors.open_index_store(origin, mirrors.FETCH)
    both = compare(source, there, index, index_there, settings.blob_cache(settings.read()))
    selection = Selection(
        roots=_roots(both.found, args),
        tags=frozenset(args.tag) if args.tag or args.specs or args.lock else None,
        build_dependencies=args.with_build_dependencies,
        platform=Platform.parse(args.platform) if args.platform else None,
    )
    return Request(source, destination, both.found, plan_copy(both, selection, full=args.full, delete=args.delete))


def _open_destination(destination: "spack.mirrors.mirror.Mirror") -> Tuple[RepositoryReader, RepositoryReader]:
    """For its packages, and for its index."""
    location = mirrors.location_of(destination, mirrors.PUSH)
    is_to_be = isinstance(location, LayoutDirectory) and os.path.isdir(location.path) and not is_layout(location)
    if not is_to_be:
        with contextlib.suppress(NotFound):
            return mirrors.open_store(destination, mirrors.PUSH), mirrors.open_index_store(destination, mirrors.PUSH)
    nothing = MissingStore(destination.push_url)  # a layout that the copy will make
    return nothing, nothing


def _roots(found: Contents, args: argparse.Namespace) -> Optional[FrozenSet[str]]:
    if not args.specs and not args.lock:
        return frozenset() if args.tag else None
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    roots = {h for path in args.lock for h in hashes_of_lock_file(path, types)}
    if args.specs:
        roots |= hashes_matching(found.need_index(), args.specs, found.url)
    return frozenset(roots)


def print_plan(planned: CopyPlan) -> None:
    for tag in (*planned.packages, *planned.images, *planned.attached):
        print(f"copy    {tag}")
    for tag in planned.delete:
        print(f"delete  {tag}")
    tty.info(f"{_summary(planned)} would be copied from {planned.source} to {planned.destination}")
    _tell_of_missing(planned)


def _summary(planned: CopyPlan) -> str:
    size = f" ({format_size(planned.size)})" if planned.size else ""
    words = [counted(len(planned.packages), "package") + size]
    if planned.images:
        words.append(counted(len(planned.images), "image"))
    if planned.attached:
        words.append(counted(len(planned.attached), "signature"))
    return " and ".join(words) + (f"; {len(planned.present)} are there already" if planned.present else "")


def _tell_of_missing(planned: CopyPlan) -> None:
    if planned.missing:
        named = elided([f"/{h[:7]}" for h in planned.missing])
        count = counted(len(planned.missing), "package")
        tty.warn(f"{planned.source} lacks {count} that these need: {named}")


def execute(request: Request, jobs: int, *, quiet: bool) -> CopyResult:
    planned = request.plan
    _tell_of_missing(planned)
    store = mirrors.open_store(request.destination, mirrors.PUSH, create=True)
    index_settings = indexes.update_settings(request.destination)
    result = execute_copy(request.source, store, request.found, planned, index_settings, jobs=jobs, reporter=reporter())
    if request.bundle is not None and (result.copied or result.deleted):
        request.bundle.write()
    if result.failed:
        tty.error(f"{counted(len(result.failed), 'tag')} not copied:", *by_cause(list(result.failed.items())))
    if not quiet:
        sent = f", {format_size(result.bytes_sent)} sent" if result.bytes_sent else ""
        mounted = f", {counted(result.mounted, 'blob')} mounted" if result.mounted else ""
        there = f", {len(planned.present)} were there" if planned.present else ""
        failed = f", {len(result.failed)} failed" if result.failed else ""
        tty.info(f"Copied {counted(len(result.copied), 'tag')} to {planned.destination}{there}{sent}{mounted}{failed}")
    return result
