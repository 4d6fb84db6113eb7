# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages that a prune has taken out of the index and will delete: the plan behind the tag ``spack-oci.prune``.

Between the two, for a grace period, installs that know the old index still find the packages, and pushes can save them:
writers of the index leave condemned packages out, unless they have just pushed them; a push does not take a condemned
package for one that is there; and what is pushed is taken off the plan (:func:`reprieve`).

The plan also names packages that are **broken**: `spack oci repair` found that their content is gone or damaged, and
could not bring it back. They stay out of the index as condemned ones do, until they are pushed again or pruned. So do
those that are **untagged**: where a registry deletes nothing, a prune may have moved their tags to a manifest that says
that they are gone.
"""

from typing import AbstractSet, Collection, Dict, Iterable, Mapping, NamedTuple, Protocol, Set

from ..content.artifacts import read_json_artifact, write_json_artifact
from ..content.interfaces import ContentReader, ContentWriter
from ..errors import InvalidContent, NotFound

#: requests at a time
_JOBS = 8

PLAN_TAG = "spack-oci.prune"
_MEDIA_TYPE = "application/vnd.spack-oci.prune.v1+json"


class Condemned(NamedTuple):
    #: digest
    manifest: str
    #: seconds since 1970
    since: int


class PrunePlan(NamedTuple):
    """``condemned``: by tag. ``seen``: when a prune first saw a manifest (digest), in seconds since 1970.

    ``broken``: tag -> digest of the manifest whose content is gone; ``untagged``: tag -> digest of the manifest that
    says so.
    """

    condemned: Mapping[str, Condemned] = {}
    seen: Mapping[str, int] = {}
    broken: Mapping[str, str] = {}
    untagged: Mapping[str, str] = {}

    def without(self, tags: AbstractSet[str]) -> "PrunePlan":
        return self._replace(
            condemned={tag: condemned for tag, condemned in self.condemned.items() if tag not in tags},
            broken={tag: digest for tag, digest in self.broken.items() if tag not in tags},
            untagged={tag: digest for tag, digest in self.untagged.items() if tag not in tags},
        )


class PlanStore(ContentReader, ContentWriter, Protocol):
    """Where a plan is read and written."""


def read_plan(store: ContentReader) -> PrunePlan:
    """Empty where no prune has been. Raises InvalidContent if something else has the tag."""
    try:
        document = read_json_artifact(store, PLAN_TAG, _MEDIA_TYPE, "prune-plan")
    except NotFound:
        return PrunePlan()
    except InvalidContent as e:
        e.remedy = e.remedy or f"delete the tag {PLAN_TAG}: what was on its way out is then in the index again"
        raise
    condemned = {tag: Condemned(c["manifest"], c["since"]) for tag, c in document["condemned"].items()}
    return PrunePlan(
        condemned, document.get("seen") or {}, document.get("broken") or {}, document.get("untagged") or {}
    )


def left_out_of_index(store: ContentReader) -> Set[str]:
    """Tags that are condemned, broken or untagged; of the latter two as long as nobody has moved them: a request for
    each."""
    plan = read_plan(store)
    gone = {**plan.broken, **plan.untagged}
    if not gone:
        return set(plan.condemned)
    from .update.read_tags import read_digests  # few pushes meet such a plan

    unmoved = {tag for tag, digest in read_digests(store, gone, _JOBS) if digest == gone[tag]}
    return plan.condemned.keys() | unmoved


def condemned_among(store: ContentReader, listed: Collection[str]) -> Set[str]:
    """Which of the tags that were ``listed`` are to be left out of an index. No request where no plan is."""
    return left_out_of_index(store) & set(listed) if PLAN_TAG in listed else set()


def write_plan(store: ContentWriter, plan: PrunePlan) -> None:
    condemned: Dict[str, Dict[str, object]] = {tag: c._asdict() for tag, c in sorted(plan.condemned.items())}
    document = {"version": 1, "condemned": condemned, "seen": dict(sorted(plan.seen.items()))}
    for name, tags in (("broken", plan.broken), ("untagged", plan.untagged)):
        if tags:
            document[name] = dict(sorted(tags.items()))
    write_json_artifact(store, PLAN_TAG, _MEDIA_TYPE, document)


def reprieve(store: PlanStore, tags: Iterable[str]) -> None:
    """Take ``tags`` off the plan, because somebody has just pushed them. One request where there is no plan."""
    plan = read_plan(store)
    saved = (plan.condemned.keys() | plan.broken.keys() | plan.untagged.keys()) & set(tags)
    if saved:
        write_plan(store, plan.without(saved))
