# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Removing from a cache what nobody needs, in two steps with a grace period between them.

:func:`plan_prune` says for each package why it is kept, or that it goes. :func:`condemn` takes those that go out of the
index and writes the plan into the cache (:mod:`spack_oci.index.condemned`). :func:`delete_condemned`, in this run or in
a later one, looks again at each that was condemned long enough and deletes what is still the same, is still not in the
index, and whose manifest no kept tag names. So a push or an install that runs at the same time loses nothing, and a
prune that was killed leaves a cache that works: the next one goes on.
"""

import contextlib
import time
from dataclasses import dataclass, field
from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from ...content import ContentReader, ContentStore
from ...content.copy import manifests_of
from ...errors import CANNOT_BE_DELETED, ConfigurationError, ContentError, NotFound, ResponseError, SpackOciError
from ...index.condemned import PLAN_TAG, Condemned, PrunePlan, read_plan, write_plan
from ...index.model import PackageIndex
from ...index.snapshots import Snapshot, read_snapshot
from ...index.update.loop import UpdateSettings, update_index
from ...index.update.read_package import read_package
from ...util.text import counted
from .contents import ALL_TYPES, LINK_RUN, Contents, closure
from .pins import Pin
from .snapshots import broken_remedy
from .untag import untag

_DAY = 86400
#: how often tags are looked for that a deletion has left without a manifest
_LOOKS = 4
#: Google: a tag names the manifest
_HAS_TAGS = "GOOGLE_MANIFEST_DANGLING_TAG"
#: Azure, in words only: the registry is locked, or just this repository or image
#: (https://learn.microsoft.com/troubleshoot/azure/azure-container-registry/delete-operation-issues)
_IS_LOCKED = "disallowed on this registry, repository or image"


@dataclass(frozen=True)
class Keep:
    """What stays, with all that it needs. DAG hashes; ``newer_than``: seconds; ``last``: builds of a name and version.

    ``locked`` and ``named``: what lock files have, and what is named besides. ``matching``: gives what specs name among
    the packages of an index, in which those are too that a prune has taken out and that are not deleted yet.
    """

    locked: FrozenSet[str] = frozenset()
    named: FrozenSet[str] = frozenset()
    matching: Optional[Callable[[PackageIndex], AbstractSet[str]]] = None
    newer_than: Optional[float] = None
    last: int = 0
    build_dependencies: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.locked or self.named or self.matching or self.newer_than is not None or self.last)


@dataclass(frozen=True)
class PlannedPrune:
    """``kept``: tag -> why; ``doomed``: tag -> digest of the manifest; ``size``: bytes of layers that nothing else has.

    ``unknown``: tags that the index does not know, which are left alone.
    """

    kept: Mapping[str, str]
    doomed: Mapping[str, str]
    size: int
    unknown: Tuple[str, ...]
    #: the plan that is in the cache
    previous: PrunePlan = field(default_factory=PrunePlan)
    #: digests of manifests -> when a prune first saw them, with those of now
    seen: Mapping[str, int] = field(default_factory=dict)
    #: of the doomed, those that the index names
    indexed: FrozenSet[str] = frozenset()

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "kept": dict(sorted(self.kept.items())),
            "doomed": dict(sorted(self.doomed.items())),
            "size": self.size,
            "unknown": list(self.unknown),
        }


def plan_prune(
    store: ContentStore,
    contents: Contents,
    keep: Keep,
    pins: Iterable[Pin] = (),
    now: Optional[float] = None,
    snapshots: Iterable[Snapshot] = (),
) -> PlannedPrune:
    """``pins`` and ``snapshots``: those of the cache. Raises ConfigurationError where nothing says what to keep, where
    nothing of that is there (it may be another cache), or where the index is missing or not current.

    Age counts from the first prune that saw a package: a registry does not tell when something was pushed.
    """
    now = time.time() if now is None else now
    pinned = {h: f"pinned by {pin.name}" for pin in pins if not pin.is_over(now) for h in pin.hashes}
    held = {h: f"in the snapshot {snapshot.name}" for snapshot in snapshots for h in snapshot.packages}
    if keep.is_empty and not pinned and not held:
        raise ConfigurationError(
            "nothing says what to keep, so all would be deleted",
            remedy="name lock files or specs (--keep-lock, --keep-specs), an age (--keep-newer-than), or pin packages",
        )
    previous = read_plan(store)
    indexed = frozenset(contents.need_index().tags)
    index = with_condemned(store, contents, previous)
    entries = _slim_entries(index)
    # not in the future: a clock was wrong, and the package would stay until then
    seen = {entry.manifest: min(previous.seen.get(entry.manifest, int(now)), int(now)) for entry in entries.values()}
    roots = {
        **_youngest(index, entries, seen, keep, now),
        **_in_images(store, contents, {e.layer: h for h, e in entries.items()}),
        **held,
        **dict.fromkeys(keep.named | (keep.matching(index) if keep.matching else frozenset()), "named"),
        **dict.fromkeys(keep.locked, "in a lock file"),
        **pinned,
    }
    types = ALL_TYPES if keep.build_dependencies else LINK_RUN
    needed = closure(index, roots, types)
    kept = {entries[h].tag: roots.get(h, "needed by what is kept") for h in needed & entries.keys()}
    doomed = {e.tag: e.manifest for h, e in entries.items() if h not in needed}
    if doomed and not kept and keep.newer_than is None:
        all_of_them = f"all {counted(len(doomed), 'package')}"
        raise ConfigurationError(
            f"nothing of what is to be kept is in {store.url}, so {all_of_them} would be deleted",
            remedy="check the name of the cache, and that the lock files, specs and pins are of it",
        )
    # nobody can install them; a push brings them back
    doomed.update({tag: digest for tag, digest in previous.broken.items() if tag in contents.packages})
    layers = {e.layer for h, e in entries.items() if h in needed}
    freed = {e.layer: e.size for h, e in entries.items() if h not in needed}
    unknown = contents.packages - kept.keys() - doomed.keys()
    return PlannedPrune(
        kept,
        doomed,
        sum(size for digest, size in freed.items() if digest not in layers),
        tuple(sorted(unknown)),
        previous,
        seen,
        indexed & doomed.keys(),
    )


class _Entry(NamedTuple):
    """What a plan needs of a package: a hundred thousand of them whole take 200 MB. Digests; bytes of the layer."""

    tag: str
    manifest: str
    layer: str
    size: int


def _slim_entries(index: PackageIndex) -> Dict[str, _Entry]:
    """By DAG hash; texts are those that the index has, where it has them."""
    tags = {tag: tag for tag in index.tags}
    return {
        dag_hash: _Entry(tags[entry.tag], entry.manifest.digest, entry.layer.digest, entry.layer.size)
        for dag_hash, entry in index.packages()
    }


def with_condemned(store: ContentStore, contents: Contents, previous: Optional[PrunePlan] = None) -> PackageIndex:
    """The index, and the packages that a prune took out of it: two requests for each. What is kept now comes back.

    ``previous``: the plan that is in the cache; None: it is read.
    """
    index = contents.need_index()
    previous = read_plan(store) if previous is None else previous
    for tag in sorted((previous.condemned.keys() - previous.broken.keys()) & contents.packages - index.tags.keys()):
        try:
            package = read_package(store, tag)
        except ContentError:  # it goes, or is told as unknown
            continue
        index.add(package.nodes, package.entry)
    return index


def _youngest(
    index: PackageIndex, entries: Mapping[str, _Entry], seen: Mapping[str, int], keep: Keep, now: float
) -> Dict[str, str]:
    recent = f"seen less than {(keep.newer_than or 0) / _DAY:g} days ago"
    found: Dict[str, str] = {}
    builds: Dict[Tuple[str, str], List[Tuple[int, str]]] = {}
    for dag_hash, entry in entries.items():
        since = seen[entry.manifest]
        if keep.newer_than is not None and now - since < keep.newer_than:
            found[dag_hash] = recent
        if keep.last:
            node = index.node(dag_hash)
            builds.setdefault((str(node["name"]), str(node["version"])), []).append((-since, dag_hash))
    for same in builds.values():
        for _, dag_hash in sorted(same)[: keep.last]:
            found.setdefault(dag_hash, f"one of the last {keep.last} of its version")
    return found


def _in_images(store: ContentStore, contents: Contents, by_layer: Mapping[str, str]) -> Dict[str, str]:
    """Packages whose layer an image has. An image that cannot be read is an error: what it has would be lost."""
    found: Dict[str, str] = {}
    for tag in sorted(contents.images):
        for digest in _layers_of(store, tag):
            if digest in by_layer:
                found[by_layer[digest]] = f"in the image {tag}"
    return found


def _layers_of(store: ContentStore, reference: str) -> Set[str]:
    """Without those of manifests of a kind that has no layers of packages."""
    found = [parts for _, parts in manifests_of(store, reference) if not isinstance(parts, ContentError)]
    return {blob.digest for parts in found for blob in parts.blobs}


@dataclass
class PruneResult:
    #: tags
    condemned: List[str] = field(default_factory=list)
    deleted: List[str] = field(default_factory=list)
    #: condemned, and pushed again or in the index meanwhile
    reprieved: List[str] = field(default_factory=list)
    #: condemned, and the grace period is not over
    waiting: List[str] = field(default_factory=list)
    failed: Dict[str, SpackOciError] = field(default_factory=dict)
    #: manifests that were attached to what was deleted
    attached: int = 0
    #: of the deleted, those whose tag is still there, and on what
    untagged: Dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "condemned": sorted(self.condemned),
            "deleted": sorted(self.deleted),
            "reprieved": sorted(self.reprieved),
            "waiting": sorted(self.waiting),
            "failed": {tag: str(e) for tag, e in sorted(self.failed.items())},
            "attached": self.attached,
            "untagged": sorted(self.untagged),
        }


def condemn(
    store: ContentStore, plan: PlannedPrune, settings: UpdateSettings, *, now: Optional[float] = None
) -> PruneResult:
    """Write the plan into the cache, then the index without what is on it.

    In this order: a writer of the index in between would put the packages back.
    """
    now = time.time() if now is None else now
    before = plan.previous.condemned
    # the time of a condemned package counts on, unless it has got another manifest, or is in the index after all:
    # somebody wanted it there, or a prune was killed before it wrote the index; or it is one that is to come
    counting = {
        tag: c
        for tag, c in before.items()
        if tag not in plan.indexed and plan.doomed.get(tag) == c.manifest and c.since <= now
    }
    condemned = {tag: counting.get(tag) or Condemned(digest, int(now)) for tag, digest in plan.doomed.items()}
    wanted = plan.previous._replace(condemned=condemned, seen=plan.seen)
    if wanted != plan.previous:
        current = read_plan(store)  # pushes may have taken something off since
        wanted = wanted.without(
            (before.keys() - current.condemned.keys()) | (plan.previous.broken.keys() - current.broken.keys())
        )
        condemned = dict(wanted.condemned)
        write_plan(store, wanted)
    if condemned.keys() != before.keys() or plan.indexed:
        update_index(store, settings, compare_digests=False)
    return PruneResult(
        condemned=sorted(condemned.keys() - before.keys()), reprieved=sorted(plan.kept.keys() & before.keys())
    )


def delete_condemned(
    store: ContentStore,
    read_again: Callable[[], Contents],
    result: PruneResult,
    settings: UpdateSettings,
    *,
    grace: float,
    now: Optional[float] = None,
    finished: Callable[[str, Optional[SpackOciError]], None] = lambda tag, error: None,
    only_untag: bool = False,
) -> PruneResult:
    """Delete what was condemned at least ``grace`` seconds ago. ``read_again``: the contents as they are now.

    ``only_untag``: take the tags away, and leave the manifests to the registry (:mod:`.untag`). A registry that refuses
    is told once, and nothing more is asked of it.
    """
    now = time.time() if now is None else now
    plan = read_plan(store)
    contents = read_again()
    index = contents.need_index()
    kept_digests = {entry.manifest.digest for _, entry in index.packages()} | _digests_of(store, contents.images)
    # one that was made since may have taken a condemned package out of an older index
    held = held_by_snapshots(read_snapshots(store, contents))
    left: Dict[str, Condemned] = {}
    watched = _WatchedPlan(store, plan)
    for number, (tag, condemned) in enumerate(sorted(plan.condemned.items())):
        if now - condemned.since < grace:
            result.waiting.append(tag)
            left[tag] = condemned
        elif tag in index.tags or condemned.manifest in held:
            result.reprieved.append(tag)
        else:
            try:
                if tag not in watched.condemned():
                    result.reprieved.append(tag)
                elif only_untag:
                    _untag_package(store, tag, condemned, result)
                else:
                    _delete_package(store, tag, condemned, kept_digests, contents, result)
                if tag in result.deleted[-1:]:
                    finished(tag, None)
            except SpackOciError as e:
                result.failed[tag] = e
                left[tag] = condemned
                finished(tag, e)
                if _is_refusal(e):
                    left.update(sorted(plan.condemned.items())[number:])
                    break
    if result.deleted:
        _drop_dangling(store, set(result.deleted) - result.untagged.keys())
    current = read_plan(store)  # pushes may have taken something off
    remaining = current.without(current.condemned.keys() - left.keys())
    if result.untagged:
        remaining = remaining._replace(untagged={**remaining.untagged, **result.untagged})
    if remaining != current:
        write_plan(store, remaining)
    if result.deleted or held & {plan.condemned[tag].manifest for tag in result.reprieved if tag in plan.condemned}:
        update_index(store, settings, compare_digests=False)
    return result


class _WatchedPlan:
    """The plan in the cache, as it is: a push takes what it is about to tag off it, while we are deleting."""

    def __init__(self, store: ContentStore, plan: PrunePlan) -> None:
        self._store = store
        self._plan = plan
        self._digest = ""

    def condemned(self) -> Mapping[str, Condemned]:
        """One request, and those for the plan if it has changed."""
        try:
            digest = self._store.resolve(PLAN_TAG).digest
        except NotFound:
            return {}
        if digest != self._digest:
            self._digest, self._plan = digest, read_plan(self._store)
        return self._plan.condemned


def read_snapshots(store: ContentReader, contents: Contents) -> List[Snapshot]:
    """Three requests each. One that cannot be read is an error: what it holds would be lost."""
    found = []
    for name in sorted(contents.snapshots):
        try:
            found.append(read_snapshot(store, name))
        except ContentError as e:
            e.remedy = broken_remedy(store.url, name)
            raise
    return found


def held_by_snapshots(snapshots: Iterable[Snapshot]) -> Set[str]:
    """Digests of manifests, also of those that no tag names any more."""
    return {digest for snapshot in snapshots for digest in snapshot.packages.values()}


def _is_refusal(error: SpackOciError) -> bool:
    """One that the next package would meet, too."""
    if not isinstance(error, ResponseError) or {CANNOT_BE_DELETED, _HAS_TAGS} & set(error.codes):
        return False
    if _IS_LOCKED in error.message:
        return False
    return error.status in (400, 401, 403, 405, 429, 501)


def _digests_of(store: ContentStore, images: Iterable[str]) -> Set[str]:
    return {store.resolve(tag).digest for tag in images}


def _drop_dangling(store: ContentStore, deleted: AbstractSet[str]) -> None:
    """A registry whose deletion of a manifest is cut may keep listing its tags, which nothing but a push of the tag can
    remove then (docker-registry: the manifest goes first, its tags one after the other). Whoever lists the cache would
    find a package that is not there."""
    for _ in range(_LOOKS):  # the deletion that takes such a tag away may be cut as well
        dangling = [tag for tag in sorted(deleted & set(store.tags())) if not _has_manifest(store, tag)]
        if not dangling:
            return
        for tag in dangling:
            with contextlib.suppress(ResponseError):
                untag(store, tag, "nothing")


def _has_manifest(store: ContentStore, tag: str) -> bool:
    try:
        store.resolve(tag)  # somebody has pushed it since
    except NotFound:
        return False
    return True


def _still_condemned(store: ContentStore, tag: str, condemned: Condemned, result: PruneResult) -> Optional[str]:
    """The digest of the package behind ``tag``; None if it is gone or was pushed again, which ``result`` then says."""
    try:
        digest = store.resolve(tag).digest
    except NotFound:
        result.deleted.append(tag)
        return None
    if digest != condemned.manifest:
        result.reprieved.append(tag)
        return None
    return digest


def _untag_package(store: ContentStore, tag: str, condemned: Condemned, result: PruneResult) -> None:
    digest = _still_condemned(store, tag, condemned, result)
    if digest is None:
        return
    placed = untag(store, tag, digest)
    if placed is not None:
        result.untagged[tag] = placed
    result.deleted.append(tag)


def _delete_package(
    store: ContentStore,
    tag: str,
    condemned: Condemned,
    kept_digests: AbstractSet[str],
    contents: Contents,
    result: PruneResult,
) -> None:
    digest = _still_condemned(store, tag, condemned, result)
    if digest is None:
        return
    if digest in kept_digests:
        store.delete_manifest(tag)  # the manifest stays, as another tag has it
        result.deleted.append(tag)
        return
    attached = [r.digest for r in store.referrers(digest)]
    attached_tags = contents.attached.get(digest, [])
    with contextlib.suppress(NotFound):  # a deletion that was sent again because its answer was lost
        _delete_with_tag(store, digest, tag)
    result.deleted.append(tag)
    for other in [*attached_tags, *attached]:
        try:
            if ":" in other:
                store.delete_manifest(other)
            else:
                _delete_with_tag(store, store.resolve(other).digest, other)
            result.attached += 1
        except NotFound:
            continue


def _delete_with_tag(store: ContentStore, digest: str, tag: str) -> None:
    """Google deletes no manifest that a tag names, but single tags (https://github.com/fluxcd/pkg/pull/328)."""
    try:
        store.delete_manifest(digest)
    except ResponseError as e:
        if _HAS_TAGS not in e.codes:
            raise
        store.delete_manifest(tag)
        store.delete_manifest(digest)
