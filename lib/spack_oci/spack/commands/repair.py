# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci repair``: what ``verify`` finds and can be put right without a loss is put right."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.store

from ...operations.check.findings import Level, Verification
from ...operations.check.repair import RepairPlan, RepairResult, execute_repair, plan_repair
from ...operations.lifecycle.contents import read_contents
from ...package.record import dag_hash_of_tag
from ...util.text import by_cause, counted, elided
from .. import indexes, mirrors, settings
from . import push, verify


@dataclass(frozen=True)
class Request:
    mirror: "spack.mirrors.mirror.Mirror"
    level: Level
    found: Verification
    plan: RepairPlan


def plan(mirror: "spack.mirrors.mirror.Mirror", level: Level) -> Request:
    store = mirrors.open_store(mirror, mirrors.PUSH)
    contents = read_contents(store, mirrors.open_index_store(mirror, mirrors.PUSH))
    policy = verify.policy_for(mirror, None)
    found = verify.verify(mirror, (), policy, level, direction=mirrors.PUSH)
    blobs = settings.blob_cache(settings.read())
    return Request(mirror, level, found, plan_repair(store, contents, found, blobs, lambda tag: bool(_installed(tag))))


def _installed(tag: str) -> List["spack.spec.Spec"]:
    """The package behind a tag, if it is in this store itself, and not in an upstream."""
    record = spack.store.STORE.db.query_local_by_spec_hash(dag_hash_of_tag(tag))
    return [record.spec] if record is not None and record.installed and not record.spec.external else []


def execute(request: Request) -> RepairResult:
    store = mirrors.open_store(request.mirror, mirrors.PUSH)
    from .. import trust

    def push_again(tags: Sequence[str]) -> List[str]:
        specs = [spec for tag in tags for spec in _installed(tag)]
        # private: what is in the mirror may be in the mirror
        wanted = push.Request(
            request.mirror, specs, dependencies=False, force=True, private=True, signer=trust.signer()
        )
        result = push.push_specs(store, wanted, specs)
        if result.failed:
            tty.error("not pushed again:", *by_cause([(o.package.label, str(o.error)) for o in result.failed]))
        return [outcome.package.tag for outcome in result.pushed]

    return execute_repair(
        store,
        request.plan,
        settings.blob_cache(settings.read()),
        indexes.update_settings(request.mirror),
        push_again,
    )


def verify_again(request: Request) -> Optional[Verification]:
    """What is wrong now; None: nothing was, and nothing was done."""
    if not request.found.findings:
        return None
    policy = verify.policy_for(request.mirror, None)
    return verify.verify(request.mirror, (), policy, request.level, direction=mirrors.PUSH)


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
    planned = request.plan
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
        tty.info(f"{request.found.url}: there is nothing to repair")
    if planned.left:
        tty.warn(f"{counted(len(planned.left), 'finding')} for a person:", *map(str, planned.left[:20]))


def print_result(request: Request, result: RepairResult, remaining: Optional[Verification]) -> None:
    done = [
        (result.sent, "sent {} from the blob cache", "layer"),
        (result.pushed, "pushed {} again", "package"),
        (result.left_out, "left {} out of the index", "broken package"),
        (result.cleared, "cleared {}", "tag"),
        (result.taken_back, "took {} back into the index", "package"),
        (range(result.temporaries), "removed {}", "temporary file"),
    ]
    words = [text.format(counted(len(what), noun)) for what, text, noun in done if what]
    if result.index:
        words.append("updated the index")
    failures: List[Any] = sorted(result.failed.items())
    if failures:
        tty.error("not repaired:", *by_cause(failures))
    tty.info(f"{request.found.url}: {', '.join(words) or 'there was nothing to repair'}")
    if result.left_out:
        tty.info(f"whoever pushes them brings them back: {elided(result.left_out)}")
    if remaining is not None and remaining.findings:
        verify.print_findings(remaining)


def is_whole(result: RepairResult, remaining: Optional[Verification]) -> bool:
    return not result.failed and not (remaining and remaining.findings)
