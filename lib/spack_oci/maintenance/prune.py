# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``prune``: remove what nobody needs."""

import argparse
import os
import re
import time
from typing import Callable, NamedTuple, Optional, cast

from ..content import ContentStore
from ..errors import ConfigurationError, SpackOciError
from ..layout import LayoutStore
from ..layout.gc import collect_garbage
from ..operations.lifecycle import pins
from ..operations.lifecycle.contents import ALL_TYPES, LINK_RUN, Contents, read_contents, read_current_contents
from ..operations.lifecycle.lock_files import hashes_of_lock_file
from ..operations.lifecycle.prune import (
    Keep,
    PlannedPrune,
    PruneResult,
    condemn,
    delete_condemned,
    held_by_snapshots,
    plan_prune,
    read_snapshots,
)
from ..registry.probe import NOT_ALLOWED, deletion_refused
from ..registry.store import RegistryStore
from ..util.documents import messages_apart, print_json
from ..util.sizes import format_size
from ..util.text import counted
from .cache import Cache

#: more digits than these would be a time that no clock shows
_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Request(NamedTuple):
    cache: Cache
    store: ContentStore
    plan: PlannedPrune
    #: seconds
    grace: float
    untag: bool = False
    #: nothing was said about what to keep: pins, snapshots and images decide alone
    is_unasked: bool = False


def run(find: Callable[[], Cache], args: argparse.Namespace) -> int:
    with messages_apart(args.json):
        request = plan(find(), args)
        if args.dry_run:
            if not args.json:
                print_plan(request)
        else:
            result = execute(request, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1


def plan(cache: Cache, args: argparse.Namespace) -> Request:
    """Raises ConfigurationError also where the registry deletes nothing, before anything is changed."""
    grace = _seconds(args.grace)
    store = cache.open()
    if args.github_api:
        store = _by_github(cache, store)
    elif not args.dry_run and not args.untag:
        _check_deletion(cache, store)
    contents = _contents(cache, store) if args.dry_run else _current_contents(cache, store)
    types = ALL_TYPES if args.with_build_dependencies else LINK_RUN
    locked = frozenset(h for path in args.keep_lock for h in hashes_of_lock_file(path, types))
    keep = Keep(
        locked=locked,
        matching=(lambda index: cache.matching(index, args.keep_specs)) if args.keep_specs else None,
        newer_than=_seconds(args.keep_newer_than) if args.keep_newer_than else None,
        last=args.keep_last,
        build_dependencies=args.with_build_dependencies,
    )
    pinned, snapshots = pins.read_pins(store, contents.pins), read_snapshots(store, contents)
    planned = plan_prune(store, contents, keep, pinned, snapshots=snapshots)
    return Request(cache, store, planned, grace, args.untag, keep.is_empty)


def _contents(cache: Cache, store: ContentStore) -> Contents:
    return read_contents(store, cache.open_index())


def _current_contents(cache: Cache, store: ContentStore) -> Contents:
    return read_current_contents(store, cache.update_settings())


def _check_deletion(cache: Cache, store: ContentStore) -> None:
    if not isinstance(store, RegistryStore):
        return
    refused = deletion_refused(store)
    if refused.startswith(NOT_ALLOWED):
        raise ConfigurationError(
            f"deleting from {cache.url} is {refused}",
            remedy=f"log in with `spack oci login {store.repository.host}` as somebody who may, or ask its owner; "
            "--dry-run shows what could go",
        )
    if refused:
        raise ConfigurationError(
            f"{cache.url} deletes nothing: {refused}",
            remedy="ask its owner; --dry-run shows what could go; --untag takes the tags away, for its own clean-up of "
            "untagged manifests; for ghcr.io, --github-api deletes by GitHub's REST API",
        )


def _by_github(cache: Cache, store: ContentStore) -> ContentStore:
    """The store, with manifests deleted by GitHub's REST API. Raises ConfigurationError."""
    from ..registry.github import API, GithubDeletion, GithubPackages

    api = os.environ.get("GITHUB_API_URL")
    if not isinstance(store, RegistryStore) or (store.repository.host != "ghcr.io" and not api):
        raise ConfigurationError(
            f"--github-api is for ghcr.io, and {cache.url} is not there",
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


def print_plan(request: Request) -> None:
    planned = request.plan
    for tag, reason in sorted(planned.kept.items()):
        print(f"keep    {tag}  ({reason})")
    for tag in sorted(planned.doomed):
        print(f"remove  {tag}")
    _warn(request)
    count = f"{counted(len(planned.kept), 'package')} would stay and {len(planned.doomed)} go"
    request.cache.out.info(f"{count}, which frees {format_size(planned.size)}")


def _warn(request: Request) -> None:
    if request.is_unasked and request.plan.doomed:
        request.cache.out.warn(
            "no option says what to keep, so only what pins, snapshots and images hold is kept "
            f"(`{request.cache.program} prune --help` has the options)"
        )
    if request.plan.unknown:
        request.cache.out.warn(
            f"{counted(len(request.plan.unknown), 'package')} that the index does not know stay; "
            f"`{request.cache.program} update-index` adds them"
        )


def execute(request: Request, *, quiet: bool) -> PruneResult:
    cache, out = request.cache, request.cache.out

    def finished(tag: str, error: Optional[SpackOciError]) -> None:
        if error is not None:
            out.error(f"{tag}: {error}")
        elif not quiet:
            out.info(f"Removed {tag}")

    _warn(request)
    settings = cache.update_settings()
    result = condemn(request.store, request.plan, settings)
    result = delete_condemned(
        request.store,
        lambda: _current_contents(cache, request.store),
        result,
        settings,
        grace=request.grace,
        finished=finished,
        only_untag=request.untag,
    )
    freed = 0
    if result.deleted and isinstance(request.store, LayoutStore):
        held = held_by_snapshots(read_snapshots(request.store, _contents(cache, request.store)))
        freed = collect_garbage(request.store, max(request.grace, 3600.0), roots=held)[1]
    if not quiet:
        _print_result(request, result, freed)
    return result


def _print_result(request: Request, result: PruneResult, freed: int) -> None:
    out = request.cache.out
    space = f", {format_size(freed)} of files removed" if freed else ""
    out.info(f"{counted(len(result.deleted), 'package')} removed{space}; {len(request.plan.kept)} kept")
    if result.untagged:
        out.info(
            f"no tag can be deleted there: moved {counted(len(result.untagged), 'tag')} to a manifest that says that "
            "the package is gone; what had it before is untagged"
        )
    if result.reprieved:
        out.info(
            f"left alone, as somebody needs or has pushed it meanwhile: {counted(len(result.reprieved), 'package')}"
        )
    if result.waiting:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + request.grace))
        out.info(
            f"out of the index: {counted(len(result.waiting), 'package')} ({format_size(request.plan.size)}); "
            f"a run after {when} deletes what is still not wanted; until then, whatever a run is told to keep, or "
            f"`{request.cache.program} pin` names, comes back with the next run"
        )
