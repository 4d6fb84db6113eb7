# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages that a prune has taken out of the index and will delete: the plan behind the tag ``spack-oci.prune``.

Between the two, for a grace period, installs that know the old index still find the packages, and pushes can save them:
writers of the index leave condemned packages out, unless they have just pushed them; a push does not take a condemned
package for one that is there; and what is pushed is taken off the plan (:func:`reprieve`).

The plan also names packages that are **broken**: `spack oci repair` found that their content is gone or damaged, and
could not bring it back. They stay out of the index as condemned ones do, until they are pushed again or pruned.
"""

from dataclasses import dataclass, field
from typing import Collection, Dict, Iterable, Mapping, NamedTuple, Protocol, Set

from ..content.artifacts import read_json_artifact, write_json_artifact
from ..content.interfaces import ContentReader, ContentWriter
from ..errors import NotFound

PLAN_TAG = "spack-oci.prune"
_MEDIA_TYPE = "application/vnd.spack-oci.prune.v1+json"


class Condemned(NamedTuple):
    #: digest
    manifest: str
    #: seconds since 1970
    since: int


@dataclass(frozen=True)
class PrunePlan:
    """``condemned``: by tag. ``seen``: when a prune first saw a manifest (digest), in seconds since 1970.

    ``broken``: tag -> digest of the manifest whose content is gone.
    """

    condemned: Mapping[str, Condemned] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


class PlanStore(ContentReader, ContentWriter, Protocol):
    """Where a plan is read and written."""


def read_plan(store: ContentReader) -> PrunePlan:
    """Empty where no prune has been. Raises InvalidContent if something else has the tag."""
    try:
        document = read_json_artifact(store, PLAN_TAG, _MEDIA_TYPE, "prune-plan")
    except NotFound:
        return PrunePlan()
    condemned = {tag: Condemned(c["manifest"], c["since"]) for tag, c in document["condemned"].items()}
    return PrunePlan(condemned, document.get("seen") or {}, document.get("broken") or {})


def left_out_of_index(store: ContentReader) -> Set[str]:
    """Tags that are condemned or broken: one request for each that is broken, as another program may have pushed it."""
    plan = read_plan(store)
    return plan.condemned.keys() | {tag for tag, digest in plan.broken.items() if _is_still(store, tag, digest)}


def _is_still(store: ContentReader, tag: str, digest: str) -> bool:
    try:
        return store.resolve(tag).digest == digest
    except NotFound:
        return False


def condemned_among(store: ContentReader, listed: Collection[str]) -> Set[str]:
    """Which of the tags that were ``listed`` are to be left out of an index. No request where no plan is."""
    return left_out_of_index(store) & set(listed) if PLAN_TAG in listed else set()


def write_plan(store: ContentWriter, plan: PrunePlan) -> None:
    condemned: Dict[str, Dict[str, object]] = {tag: c._asdict() for tag, c in sorted(plan.condemned.items())}
    document = {"version": 1, "condemned": condemned, "seen": dict(sorted(plan.seen.items()))}
    if plan.broken:
        document["broken"] = dict(sorted(plan.broken.items()))
    write_json_artifact(store, PLAN_TAG, _MEDIA_TYPE, document)


def reprieve(store: PlanStore, tags: Iterable[str]) -> None:
    """Take ``tags`` off the plan, because somebody has just pushed them. One request where there is no plan."""
    plan = read_plan(store)
    saved = (plan.condemned.keys() | plan.broken.keys()) & set(tags)
    if saved:
        left = {tag: c for tag, c in plan.condemned.items() if tag not in saved}
        broken = {tag: digest for tag, digest in plan.broken.items() if tag not in saved}
        write_plan(store, PrunePlan(left, plan.seen, broken))
