# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Copying packages and images from one cache to another: any two of registries and layouts, everything or a part.

:func:`plan_copy` compares what the two have (by their indexes, so that nothing is asked for a package that is there),
:func:`execute_copy` copies, with what is attached (signatures, SBOMs), and merges what came into the index of the
destination. Digests stay what they are. A package that fails does not stop the others; a copy that was cut runs again
and does what is left.
"""

import functools
import shlex
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

from ...content import ContentStore
from ...content.blob_cache import BlobCache
from ...content.copy import Copied, GraphCopy
from ...content.interfaces import RepositoryReader
from ...content.platform import Platform
from ...errors import ConfigurationError, NotFound, RateLimited, ResponseError, SpackOciError
from ...index.condemned import reprieve
from ...index.model import PackageIndex
from ...index.nodes import node_of_entry
from ...index.update.loop import IndexUpdate, UpdateSettings, merge_pushed, update_index
from ...index.update.read_package import IndexedPackage
from ...index.update.read_tags import read_digests
from ...util.concurrency.cancellation import interrupted_once
from ...util.progress import Reporter, Silent, Work
from .contents import ALL_TYPES, LINK_RUN, Contents, closure, is_external, read_contents
from .pins import read_pins
from .prune import held_by_snapshots, read_snapshots
from .untag import untag

#: requests at a time
_JOBS = 8


@dataclass(frozen=True)
class Selection:
    """What to copy. ``roots``: DAG hashes whose closures are copied, and ``tags``: images; both None: everything."""

    roots: Optional[FrozenSet[str]] = None
    tags: Optional[FrozenSet[str]] = None
    build_dependencies: bool = False
    #: of image indexes only this one
    platform: Optional[Platform] = None

    @property
    def everything(self) -> bool:
        return self.roots is None and self.tags is None


@dataclass(frozen=True)
class CopyPlan:
    """What will be done. Tags, sorted; ``size``: compressed bytes of the layers, as far as the index knows them."""

    source: str
    destination: str
    packages: Tuple[str, ...]
    images: Tuple[str, ...]
    #: signatures and the like of packages that are there
    attached: Tuple[str, ...]
    #: packages that are there already
    present: Tuple[str, ...]
    #: DAG hashes of dependencies that the source does not have
    missing: Tuple[str, ...]
    #: tags of the destination that the source has not
    delete: Tuple[str, ...]
    size: int
    #: of those, the ones that stay, as pins or snapshots of the destination hold their packages
    held: Tuple[str, ...] = ()
    platform: Optional[Platform] = None
    #: layers are looked for, too
    full: bool = False
    #: tags of packages and of what is attached that the destination has not
    absent: FrozenSet[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not (self.packages or self.images or self.attached or self.delete)

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "source": self.source,
            "destination": self.destination,
            "packages": list(self.packages),
            "images": list(self.images),
            "attached": list(self.attached),
            "present": len(self.present),
            "missing": list(self.missing),
            "delete": list(self.delete),
            "held": list(self.held),
            "size": self.size,
        }


@dataclass
class CopyResult:
    copied: Dict[str, Copied] = field(default_factory=dict)
    failed: Dict[str, SpackOciError] = field(default_factory=dict)
    deleted: List[str] = field(default_factory=list)
    index: Optional[IndexUpdate] = None

    @property
    def bytes_sent(self) -> int:
        return sum(c.sent_bytes for c in self.copied.values())

    @property
    def mounted(self) -> int:
        """Blobs that the registry took over by itself."""
        return sum(c.mounted for c in self.copied.values())

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "copied": {tag: c.descriptor.digest for tag, c in sorted(self.copied.items())},
            "failed": {tag: str(e) for tag, e in sorted(self.failed.items())},
            "deleted": sorted(self.deleted),
            "bytes_sent": self.bytes_sent,
            "blobs_mounted": self.mounted,
            "index": self.index.to_dict() if self.index else None,
        }


@dataclass(frozen=True)
class Comparison:
    """What both caches have. ``source`` and ``destination`` are asked for images, which are in no index."""

    source: RepositoryReader
    destination: RepositoryReader
    found: Contents
    there: Contents


def compare(
    source: RepositoryReader,
    destination: RepositoryReader,
    source_index: Optional[RepositoryReader] = None,
    destination_index: Optional[RepositoryReader] = None,
    cache: Optional[BlobCache] = None,
) -> Comparison:
    """``..._index``: where the index is, if not in the repository of the packages. ``cache``: keeps the indexes.

    Raises NotFound if the source has nothing (a registry does not tell that from a name that does not exist, and with
    ``delete`` the destination would be emptied); a destination without anything is empty.
    """
    if source.url.rstrip("/") == destination.url.rstrip("/"):
        raise ConfigurationError(f"{source.url} cannot be copied to itself")
    found = read_contents(source, source_index, cache)
    if not (found.packages or found.images):
        raise NotFound(f"{source.url} has nothing to copy", remedy="check its name")
    try:
        there = read_contents(destination, destination_index, cache)
    except NotFound:
        there = Contents(destination.url)
    if there.known is not None and not there.pins:  # what a pin needs may be asked for
        there.known.forget_nodes()
    return Comparison(source, destination, found, there)


def plan_copy(both: Comparison, selection: Selection, *, full: bool = False, delete: bool = False) -> CopyPlan:
    """``full``: ask for each tag and its layers whether they are there, instead of believing the indexes.

    ``delete``: remove what the source has not from the destination, but for what pins and snapshots hold there; only
    where everything is copied. Raises ConfigurationError if the source has no index and specs were named, NotFound for
    an image that is not there, and with ``delete`` what :func:`held_tags` raises.
    """
    if delete and not selection.everything:
        raise ConfigurationError(
            "--delete goes with a copy of everything",
            remedy="leave the specs out, or remove single packages with `spack oci prune`",
        )
    wanted, missing = _wanted_packages(both.found, selection)
    images = _wanted_images(both.found, selection)
    if full:
        packages, present = sorted(wanted), []
    else:
        packages = sorted(tag for tag in wanted if not _is_same(both, tag))
        present = sorted(wanted.difference(packages))
        images = {tag for tag in images if not _is_same_image(both, tag)}
    attached = _new_attachments(both, wanted)
    surplus = _surplus(both) if delete else set()
    held = held_tags(both.destination, both.there) & surplus if surplus else set()
    return CopyPlan(
        source=both.source.url,
        destination=both.destination.url,
        packages=tuple(packages),
        images=tuple(sorted(images)),
        attached=tuple(attached),
        present=tuple(present),
        missing=tuple(sorted(missing)),
        delete=tuple(sorted(surplus - held | _attached_to(both, surplus - held))),
        held=tuple(sorted(held)),
        size=sum(both.found.size_of(tag) for tag in packages),
        platform=selection.platform,
        full=full,
        # not images: those often have several tags, and so many layers that one look for the manifest is less
        absent=frozenset() if full else frozenset(attached).union(packages) - both.there.packages,
    )


def _wanted_packages(found: Contents, selection: Selection) -> Tuple[Set[str], Set[str]]:
    """Tags, and DAG hashes of the closure that are not in the cache (externals are in none)."""
    if selection.everything:
        return set(found.packages), set()
    if not selection.roots:
        return set(), set()
    index = found.need_index()
    types = ALL_TYPES if selection.build_dependencies else LINK_RUN
    tag_of = {dag_hash: tag for tag, dag_hash in index.tags.items()}
    needed = closure(index, selection.roots, types)
    missing = {h for h in needed - tag_of.keys() if not is_external(index, h)}
    return {tag_of[h] for h in needed & tag_of.keys()}, missing


def _wanted_images(found: Contents, selection: Selection) -> Set[str]:
    if selection.everything:
        return set(found.images)
    unknown = (selection.tags or frozenset()) - found.images
    if unknown:
        raise NotFound(
            f"{found.url} has no image {', '.join(sorted(unknown))}",
            remedy=f"`spack oci list --images {shlex.quote(found.url)}` shows what it has",
        )
    # the tags of single platforms belong to the image index
    own = set(selection.tags or ())
    return own | {
        tag
        for tag in found.images
        if any(tag.startswith(f"{image}-linux-") or tag.startswith(f"{image}-darwin-") for image in own)
    }


def _is_same(both: Comparison, tag: str) -> bool:
    digest = both.found.digest_of(tag)
    return tag in both.there.packages and digest is not None and digest == both.there.digest_of(tag)


def _is_same_image(both: Comparison, tag: str) -> bool:
    """Images are in no index: two requests tell."""
    if tag not in both.there.images:
        return False
    try:
        return both.source.resolve(tag).digest == both.destination.resolve(tag).digest
    except NotFound:
        return False


def _new_attachments(both: Comparison, wanted: Iterable[str]) -> List[str]:
    """What is attached by tags to packages that are copied or there, and not in the destination. What is there under
    the same tag may have got another signature: it is compared when it is copied."""
    found = []
    for tag in wanted:
        digest = both.found.digest_of(tag)
        there = set(both.there.attached.get(digest, ())) if digest else set()
        found += [t for t in both.found.attached.get(digest or "", ()) if t not in there]
    return sorted(found)


def _surplus(both: Comparison) -> Set[str]:
    return set(both.there.packages - both.found.packages) | set(both.there.images - both.found.images)


def _attached_to(both: Comparison, tags: Iterable[str]) -> Set[str]:
    """What is attached by tags to packages that go, and to nothing that the source has."""
    gone = {both.there.digest_of(tag) for tag in tags} - {both.there.digest_of(tag) for tag in both.found.packages}
    known = {tag for tags in both.found.attached.values() for tag in tags}
    return {tag for digest in gone if digest for tag in both.there.attached.get(digest, ())} - known


def held_tags(store: RepositoryReader, contents: Contents) -> Set[str]:
    """Tags of packages that the pins and snapshots of a cache hold. Raises ConfigurationError where it has pins and no
    current index, InvalidContent for a pin or a snapshot that cannot be read."""
    held: Set[str] = set()
    roots = {h for pin in read_pins(store, contents.pins) if not pin.is_over(time.time()) for h in pin.hashes}
    if roots:
        index = contents.need_index()
        needed = closure(index, roots)
        held.update(tag for tag, dag_hash in index.tags.items() if dag_hash in needed)
    digests = held_by_snapshots(read_snapshots(store, contents))
    if digests:
        held.update(t for t, digest in read_digests(store, sorted(contents.packages), _JOBS) if digest in digests)
    return held


#: (tag, what became of it)
Finished = Callable[[str, str], None]


def execute_copy(
    source: ContentStore,
    destination: ContentStore,
    found: Contents,
    plan: CopyPlan,
    index_settings: Optional[UpdateSettings] = None,
    *,
    jobs: int = 8,
    reporter: Optional[Reporter] = None,
) -> CopyResult:
    """Do what ``plan`` says. ``found``: what the source has; ``reporter``: told of each tag and of what is sent.

    Index: packages whose entries the source knows are merged without reading one of them again.
    """
    result = CopyResult()
    shown = reporter or Silent()
    total = len(plan.packages) + len(plan.images) + len(plan.attached) + len(plan.delete)
    shown.begin(Work(total, "tags", plan.size, "copied"))

    def finished(tag: str, action: str) -> None:
        done = len(result.copied) + len(result.deleted) + len(result.failed)
        shown.finished(tag, f"[{done:{len(str(total))}}/{total}] {action} {tag}")

    if plan.packages:  # as a push does: what a prune there has condemned is wanted again
        reprieve(destination, plan.packages)
    try:
        listed = frozenset(tag for tags in found.attached.values() for tag in tags)
        options: Dict[str, Any] = {"jobs": jobs, "progress": shown.moved, "full": plan.full, "listed": listed}
        with interrupted_once(), GraphCopy(source, destination, **options) as copier:
            _copy_tags(copier, plan, result, finished)
        _delete_surplus(destination, plan.delete, found.packages | found.images, result, finished)
    finally:
        shown.end()
    result.index = _update_index(destination, found, plan, result, index_settings)
    return result


def _copy_tags(copier: GraphCopy, plan: CopyPlan, result: CopyResult, finished: Finished) -> None:
    for tags, referrers in (((*plan.packages, *plan.images), True), (plan.attached, False)):
        for tag, outcome in copier.copy_all(tags, platform=plan.platform, referrers=referrers, absent=plan.absent):
            if isinstance(outcome, SpackOciError):
                result.failed[tag] = outcome
                finished(tag, "Failed to copy")
            else:
                result.copied[tag] = outcome
                finished(tag, "Copied")


def _delete_surplus(
    store: ContentStore, tags: Iterable[str], kept: FrozenSet[str], result: CopyResult, finished: Finished
) -> None:
    @functools.lru_cache(None)
    def kept_digests() -> FrozenSet[str]:
        """A request for each tag; only where a registry deletes no single tags."""
        outcomes = [digest for _, digest in read_digests(store, sorted(kept), _JOBS)]
        for outcome in outcomes:
            if not isinstance(outcome, (str, NotFound)):
                raise outcome
        return frozenset(digest for digest in outcomes if isinstance(digest, str))

    for tag in tags:
        try:
            _delete_tag(store, tag, kept_digests)
        except NotFound:
            pass
        except SpackOciError as e:
            result.failed[tag] = e
            finished(tag, "Failed to remove")
            continue
        result.deleted.append(tag)
        finished(tag, "Removed")


def _delete_tag(store: ContentStore, tag: str, kept_digests: Callable[[], FrozenSet[str]]) -> None:
    """A registry that deletes no single tags deletes the manifest, or the tag with another one, if a tag that is kept
    names the manifest."""
    try:
        store.delete_manifest(tag)
    except RateLimited:
        raise
    except ResponseError:
        digest = store.resolve(tag).digest
        if digest not in kept_digests():
            store.delete_manifest(digest)
        elif untag(store, tag, digest) is not None:
            raise


def _update_index(
    destination: ContentStore,
    found: Contents,
    plan: CopyPlan,
    result: CopyResult,
    settings: Optional[UpdateSettings],
) -> Optional[IndexUpdate]:
    copied = [tag for tag in plan.packages if tag in result.copied]
    if not copied and not result.deleted:
        return None
    if copied:
        reprieve(destination, copied)  # once more, for a prune that was writing its plan
    index = found.index
    if index is None or result.deleted or any(tag not in index.tags for tag in copied):
        return update_index(destination, settings, compare_digests=bool(copied))
    return merge_pushed(destination, indexed_packages(index, copied), settings)


def indexed_packages(index: PackageIndex, tags: Iterable[str]) -> List[IndexedPackage]:
    """Packages of an index as another index takes them: their own node first, then those they need."""
    packages = []
    nodes: Dict[str, Any] = {}
    for tag in tags:
        dag_hash = index.tags[tag]
        entry = index.entry(dag_hash)
        assert entry is not None  # its tag is in the index
        order, pending = [], [dag_hash]
        seen = {dag_hash}
        while pending:
            current = pending.pop()
            if current not in nodes:
                nodes[current] = node_of_entry(current, index.node(current))
            order.append(nodes[current])
            further = [h for h in nodes[current].needs if h not in seen]
            seen.update(further)
            pending += further
        packages.append(IndexedPackage(order, entry))
    return packages
