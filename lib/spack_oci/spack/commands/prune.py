# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci prune`, `pin`, `unpin` and `pins`."""

import argparse
import datetime
import os
import re
import time
from dataclasses import dataclass
from typing import FrozenSet, List, Optional, Set, cast

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ...content import ContentStore
from ...errors import ConfigurationError, SpackOciError
from ...layout import LayoutStore
from ...layout.gc import collect_garbage
from ...operations.lifecycle import pins
from ...operations.lifecycle.contents import ALL_TYPES, LINK_RUN, Contents, read_contents, read_current_contents
from ...operations.lifecycle.lock_files import hashes_of_lock_file
from ...operations.lifecycle.prune import (
    Keep,
    PlannedPrune,
    PruneResult,
    condemn,
    delete_condemned,
    held_by_snapshots,
    plan_prune,
    read_snapshots,
)
from ...registry.probe import deletion_refused
from ...registry.store import RegistryStore
from ...util.sizes import format_size
from ...util.text import counted
from .. import indexes, mirror_arguments, mirrors
from .select import hashes_matching

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Request:
    mirror: "spack.mirrors.mirror.Mirror"
    store: ContentStore
    plan: PlannedPrune
    #: seconds
    grace: float
    untag: bool = False


def plan(args: argparse.Namespace) -> Request:
    """Raises ConfigurationError also where the registry deletes nothing, before anything is changed."""
    grace = _seconds(args.grace)
    mirror, store = _open(args.mirror)
    if args.github_api:
        store = _by_github(mirror, store)
    elif not args.dry_run and not args.untag:
        _check_deletion(mirror, store)
    contents = _contents(mirror, store) if args.dry_run else _current_contents(mirror, store)
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    locked = frozenset(h for path in args.keep_lock for h in hashes_of_lock_file(path, types))
    named: FrozenSet[str] = frozenset()
    if args.keep_specs:
        named = frozenset(hashes_matching(contents.need_index(), args.keep_specs, contents.url))
    keep = Keep(
        locked=locked,
        named=named,
        newer_than=_seconds(args.keep_newer_than) if args.keep_newer_than else None,
        last=args.keep_last,
        build_dependencies=args.with_build_dependencies,
    )
    pinned, snapshots = pins.read_pins(store, contents.pins), read_snapshots(store, contents)
    planned = plan_prune(store, contents, keep, pinned, snapshots=snapshots)
    return Request(mirror, store, planned, grace, args.untag)


def _open(name: Optional[str]) -> "tuple[spack.mirrors.mirror.Mirror, ContentStore]":
    mirror, note = mirror_arguments.find(name, mirrors.PUSH)
    if note:
        tty.info(note)
    return mirror, mirrors.open_store(mirror, mirrors.PUSH)


def _contents(mirror: "spack.mirrors.mirror.Mirror", store: ContentStore) -> Contents:
    return read_contents(store, mirrors.open_index_store(mirror, mirrors.PUSH))


def _current_contents(mirror: "spack.mirrors.mirror.Mirror", store: ContentStore) -> Contents:
    return read_current_contents(store, indexes.update_settings(mirror))


def _check_deletion(mirror: "spack.mirrors.mirror.Mirror", store: ContentStore) -> None:
    refused = deletion_refused(store) if isinstance(store, RegistryStore) else ""
    if refused:
        raise ConfigurationError(
            f"{mirror.push_url} deletes nothing: {refused}",
            remedy="ask its owner; --dry-run shows what could go; --untag takes the tags away, for its own clean-up of "
            "untagged manifests; for ghcr.io, --github-api deletes by GitHub's REST API",
        )


def _by_github(mirror: "spack.mirrors.mirror.Mirror", store: ContentStore) -> ContentStore:
    """The store, with manifests deleted by GitHub's REST API. Raises ConfigurationError."""
    from ...registry.github import API, GithubDeletion, GithubPackages

    api = os.environ.get("GITHUB_API_URL")
    if not isinstance(store, RegistryStore) or (store.repository.host != "ghcr.io" and not api):
        raise ConfigurationError(
            f"--github-api is for ghcr.io, and {mirror.push_url} is not there",
            remedy="leave it away; for a server of your own, set GITHUB_API_URL",
        )
    credentials = store.client.authorizer.credentials
    known = credentials.password if credentials else ""
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or known
    if not token:
        raise ConfigurationError(
            "there is no token for GitHub's API", remedy="set GITHUB_TOKEN; it needs read:packages and delete:packages"
        )
    packages = GithubPackages(store.repository, token, store.client.transport, store.settings.retry, api or API)
    packages.versions()  # what it refuses, it refuses before anything is changed
    return cast(ContentStore, GithubDeletion(store, packages))


def _seconds(text: str) -> float:
    found = _AGE.match(text)
    if text != "0" and not found:
        raise ConfigurationError(f"{text!r} is no time", remedy="write a number and s, m, h, d or w, as in 14d")
    return float(found[1]) * _SECONDS[found[2]] if found else 0.0


def print_plan(planned: PlannedPrune) -> None:
    for tag, reason in sorted(planned.kept.items()):
        print(f"keep    {tag}  ({reason})")
    for tag in sorted(planned.doomed):
        print(f"remove  {tag}")
    _tell_of_unknown(planned)
    tty.info(f"{_counts(planned)}, which frees {format_size(planned.size)}")


def _counts(planned: PlannedPrune) -> str:
    return f"{counted(len(planned.kept), 'package')} would stay and {len(planned.doomed)} go"


def _tell_of_unknown(planned: PlannedPrune) -> None:
    if planned.unknown:
        tty.warn(
            f"{counted(len(planned.unknown), 'package')} that the index does not know stay; `spack oci update-index` "
            "adds them"
        )


def execute(request: Request, *, quiet: bool) -> PruneResult:
    def finished(tag: str, error: Optional[SpackOciError]) -> None:
        if error is not None:
            tty.error(f"{tag}: {error}")
        elif not quiet:
            tty.info(f"Removed {tag}")

    _tell_of_unknown(request.plan)
    settings = indexes.update_settings(request.mirror)
    result = condemn(request.store, request.plan, settings)
    result = delete_condemned(
        request.store,
        lambda: _current_contents(request.mirror, request.store),
        result,
        settings,
        grace=request.grace,
        finished=finished,
        only_untag=request.untag,
    )
    freed = 0
    if result.deleted and isinstance(request.store, LayoutStore):
        held = held_by_snapshots(read_snapshots(request.store, _contents(request.mirror, request.store)))
        freed = collect_garbage(request.store, max(request.grace, 3600.0), roots=held)[1]
    if not quiet:
        _print_result(request, result, freed)
    return result


def _print_result(request: Request, result: PruneResult, freed: int) -> None:
    space = f", {format_size(freed)} of files removed" if freed else ""
    tty.info(f"{counted(len(result.deleted), 'package')} removed{space}; {len(request.plan.kept)} kept")
    if result.untagged:
        tty.info(
            f"{counted(len(result.untagged), 'tag')} cannot be deleted and now name a manifest that says that the "
            "package is gone; what they named is untagged"
        )
    if result.reprieved:
        tty.info(
            f"{counted(len(result.reprieved), 'package')} stay, because somebody needs or has pushed them meanwhile"
        )
    if result.waiting:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + request.grace))
        tty.info(
            f"{counted(len(result.waiting), 'package')} ({format_size(request.plan.size)}) are out of the index; "
            f"a run after {when} deletes them"
        )


def add_pin(args: argparse.Namespace) -> None:
    mirror, store = _open(args.mirror)
    hashes: Set[str] = {h for path in args.lock for h in hashes_of_lock_file(path)}
    if args.specs:
        contents = _contents(mirror, store)
        hashes |= hashes_matching(contents.need_index(), args.specs, contents.url)
    pin = pins.write_pin(store, args.name, hashes, _end_of_day(args.until) if args.until else None)
    until = f" until {args.until}" if args.until else ""
    tty.info(f"Pinned {counted(len(pin.hashes), 'package')} as {pin.name}{until}")


def _end_of_day(text: str) -> int:
    try:
        day = datetime.datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise ConfigurationError(f"{text!r} is no date", remedy="write it as 2027-06-30") from None
    return int((day + datetime.timedelta(days=1)).timestamp())


def remove_pin(args: argparse.Namespace) -> None:
    pins.remove_pin(_open(args.mirror)[1], args.name)
    tty.info(f"{args.name} pins nothing any more")


def find_pins(name: Optional[str]) -> List[pins.Pin]:
    """Those that hold now."""
    _, store = _open(name)
    tags = [tag for tag in store.tags() if tag.startswith(pins.PIN_PREFIX)]
    return [pin for pin in pins.read_pins(store, tags) if not pin.is_over(time.time())]


def print_pins(found: List[pins.Pin]) -> None:
    for pin in found:
        # the end of its last day
        until = f", until {time.strftime('%Y-%m-%d', time.localtime(pin.until - 1))}" if pin.until else ""
        at = time.strftime("%Y-%m-%d", time.localtime(pin.at))
        print(f"{pin.name}: {counted(len(pin.hashes), 'package')}, by {pin.by} on {at}{until}")
    if not found:
        tty.info("no pins")
