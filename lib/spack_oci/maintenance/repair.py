# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``repair``: what ``verify`` finds and can be put right without a loss is put right."""

import argparse
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple

from ..content.blob_cache import BlobCache
from ..operations.check.findings import Level, Verification
from ..operations.check.repair import RepairPlan, RepairResult, execute_repair, plan_repair
from ..operations.lifecycle.contents import read_contents
from ..util.documents import messages_apart, print_json
from ..util.text import by_cause, counted, elided
from .cache import Cache
from .verify import print_findings, verify


class Request(NamedTuple):
    cache: Cache
    level: Level
    found: Verification
    plan: RepairPlan
    blobs: BlobCache


class Repusher(Protocol):
    """What can be pushed again from this machine."""

    def has(self, tag: str) -> bool:
        """Whether the package behind a tag is installed here."""

    def push(self, tags: Sequence[str]) -> List[str]:
        """Tags of what was pushed."""


def run(find: Callable[[], Tuple[Cache, Repusher]], args: argparse.Namespace) -> int:
    result = remaining = None
    with messages_apart(args.json):
        cache, again = find()
        request = plan(cache, Level[args.level.upper()], again.has)
        if not args.dry_run:
            result = execute(request, again.push)
            remaining = verify_again(request)
    if args.json:
        print_json(document(request, result, remaining))
    elif result is None:
        print_plan(request)
    else:
        print_result(request, result, remaining)
    return 0 if result is None or is_whole(result, remaining) else 1


def plan(cache: Cache, level: Level, installed: Callable[[str], bool]) -> Request:
    """``installed``: whether the package behind a tag is on this machine and may be pushed again."""
    store = cache.open()
    contents = read_contents(store, cache.open_index())
    found = verify(cache, cache.policy(), level)
    blobs = cache.blobs()
    return Request(cache, level, found, plan_repair(store, contents, found, blobs, installed), blobs)


def execute(request: Request, push_again: Callable[[Sequence[str]], List[str]]) -> RepairResult:
    """``push_again``: the packages behind tags; returns what it has pushed."""
    cache = request.cache
    return execute_repair(cache.open(), request.plan, request.blobs, cache.update_settings(), push_again)


def verify_again(request: Request) -> Optional[Verification]:
    """What is wrong now; None: nothing was, and nothing was done."""
    if not request.found.findings:
        return None
    return verify(request.cache, request.cache.policy(), request.level)


def document(request: Request, result: Optional[RepairResult], remaining: Optional[Verification]) -> Dict[str, Any]:
    """For ``--json``. ``result``: None with ``--dry-run``."""
    found: Dict[str, Any] = {
        "mirror": request.found.url,
        "level": request.level.name.lower(),
        "plan": request.plan.to_dict(),
    }
    if result is not None:
        found["result"] = result.to_dict()
        found["remaining"] = [finding.to_dict() for finding in remaining.findings] if remaining else []
    return found


def print_plan(request: Request) -> None:
    planned, out = request.plan, request.cache.out
    for digest in planned.send:
        print(f"send       {digest} (in the blob cache)")
    for tag in planned.push:
        print(f"push       {tag} (installed here)")
    for tag in sorted(planned.leave_out):
        print(f"leave out  {tag} (broken; out of the index until it is pushed)")
    for tag in planned.clear:
        print(f"clear      {tag} (it is listed, and nothing is behind it)")
    for tag in planned.take_back:
        print(f"take back  {tag} (whole again)")
    if planned.index:
        print("update     the index" + (", reading every package" if planned.full else ""))
    if planned.temporaries:
        print("remove     temporary files of writers that were killed")
    if planned.is_empty:
        out.info(f"{request.found.url}: there is nothing to repair")
    if planned.left:
        out.warn(f"{counted(len(planned.left), 'finding')} for a person:", *map(str, planned.left[:20]))


def print_result(request: Request, result: RepairResult, remaining: Optional[Verification]) -> None:
    out = request.cache.out
    done = [
        (result.sent, "sent {} from the blob cache", "layer"),
        (result.pushed, "pushed {} again", "package"),
        (result.left_out, "left {} out of the index", "broken package"),
        (result.cleared, "cleared {}", "tag"),
        (result.taken_back, "took {} back into the index", "package"),
        (range(result.temporaries), "removed {}", "temporary file"),
    ]
    words = [text.format(counted(len(label), noun)) for label, text, noun in done if label]
    if result.index:
        words.append("updated the index")
    failures: List[Any] = sorted(result.failed.items())
    if failures:
        out.error("not repaired:", *by_cause(failures))
    out.info(f"{request.found.url}: {', '.join(words) or 'there was nothing to repair'}")
    if result.left_out:
        out.info(f"whoever pushes them brings them back: {elided(result.left_out)}")
    if remaining is not None and remaining.findings:
        print_findings(out, remaining)


def is_whole(result: RepairResult, remaining: Optional[Verification]) -> bool:
    return not result.failed and not (remaining and remaining.findings)
