# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages that a prune has taken out of the index and will delete: the plan behind the tag ``spack-oci.prune``.

Between the two, for a grace period, installs that know the old index still find the packages, and pushes can save them:
writers of the index leave condemned packages out, unless they have just pushed them; a push does not take a condemned
package for one that is there; and what is pushed is taken off the plan (:func:`reprieve`).
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
    """``condemned``: by tag. ``seen``: when a prune first saw a manifest (digest), in seconds since 1970."""

    condemned: Mapping[str, Condemned] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)


class PlanStore(ContentReader, ContentWriter, Protocol):
    """Where a plan is read and written."""


def read_plan(store: ContentReader) -> PrunePlan:
    """Empty where no prune has been. Raises InvalidContent if something else has the tag."""
    try:
        document = read_json_artifact(store, PLAN_TAG, _MEDIA_TYPE, "prune-plan")
    except NotFound:
        return PrunePlan()
    condemned = {tag: Condemned(c["manifest"], c["since"]) for tag, c in document["condemned"].items()}
    return PrunePlan(condemned, document.get("seen") or {})


def condemned_among(store: ContentReader, listed: Collection[str]) -> Set[str]:
    """Which of the tags that were ``listed`` are condemned. No request where no prune has been."""
    return set(read_plan(store).condemned) & set(listed) if PLAN_TAG in listed else set()


def write_plan(store: ContentWriter, plan: PrunePlan) -> None:
    condemned: Dict[str, Dict[str, object]] = {tag: c._asdict() for tag, c in sorted(plan.condemned.items())}
    write_json_artifact(
        store, PLAN_TAG, _MEDIA_TYPE, {"version": 1, "condemned": condemned, "seen": dict(sorted(plan.seen.items()))}
    )


def reprieve(store: PlanStore, tags: Iterable[str]) -> None:
    """Take ``tags`` off the plan, because somebody has just pushed them. One request where there is no plan."""
    plan = read_plan(store)
    saved = plan.condemned.keys() & set(tags)
    if saved:
        left = {tag: c for tag, c in plan.condemned.items() if tag not in saved}
        write_plan(store, PrunePlan(left, plan.seen))
