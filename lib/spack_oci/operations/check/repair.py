# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Put right what can be put right without a loss.

In this order: layers that this machine's blob cache has are sent again; tags without a manifest, which a cut deletion
leaves, go; packages that are installed here are pushed again; what stays broken is written into the cache's plan and so
out of the index (:mod:`spack_oci.index.condemned`), until somebody pushes it; the index is made to say what the tags
say; temporary files of killed writers go. Nothing that anybody could still read is deleted.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Protocol, Sequence, Set, Tuple

from ...content import ContentStore, FileSource, Presence
from ...descriptor import Descriptor
from ...errors import ContentError, NotFound, SpackOciError
from ...index.condemned import PrunePlan, read_plan, write_plan
from ...index.update.loop import UpdateSettings, update_index
from ...layout import LayoutStore
from ...layout.gc import drop_old_temporaries
from ...util.files import storage_errors
from ..lifecycle.contents import Contents
from ..lifecycle.untag import untag
from .findings import BROKEN, OF_THE_INDEX, Finding, Kind, Verification
from .index_level import TEMPORARY_AGE

_CHUNK = 1 << 20

#: of which content is not there, or not what it should be
_CONTENT = (Kind.LAYER_MISSING, Kind.IMAGE_LAYER_MISSING, Kind.LAYER_DAMAGED)


class LocalBlobs(Protocol):
    """What this machine has of layers: :class:`~spack_oci.content.blob_cache.BlobCache`."""

    def get(self, digest: str) -> Optional[str]:
        """The path of a blob; None: it is not there."""


@dataclass(frozen=True)
class RepairPlan:
    """What will be done. Tags, sorted."""

    #: digest -> the packages whose own layer it is
    send: Mapping[str, Tuple[str, ...]] = field(default_factory=dict)
    push: Tuple[str, ...] = ()
    #: broken packages that are not to be had here: tag -> digest of the manifest
    leave_out: Mapping[str, str] = field(default_factory=dict)
    #: tags that are listed and have no manifest
    clear: Tuple[str, ...] = ()
    #: packages that were left out of the index, and are whole again
    take_back: Tuple[str, ...] = ()
    index: bool = False
    #: read every package again for the index
    full: bool = False
    temporaries: bool = False
    #: what only a person can put right
    left: Tuple[Finding, ...] = ()

    @property
    def is_empty(self) -> bool:
        content = self.send or self.push or self.leave_out or self.clear or self.take_back
        return not (content or self.index or self.temporaries)

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "send": sorted(self.send),
            "push": list(self.push),
            "leave_out": sorted(self.leave_out),
            "clear": list(self.clear),
            "take_back": list(self.take_back),
            "index": self.index,
            "temporaries": self.temporaries,
            "left": [finding.to_dict() for finding in self.left],
        }


def plan_repair(
    store: ContentStore,
    contents: Contents,
    found: Verification,
    blobs: LocalBlobs,
    installed: Callable[[str], bool] = lambda tag: False,
) -> RepairPlan:
    """``found``: in these ``contents``; ``installed``: whether the package with a tag is installed here and may be
    pushed again."""
    indexed = contents.index.tags if contents.index is not None else {}
    send = {f.digest for f in found.of(*_CONTENT) if blobs.get(f.digest) is not None}
    broken = sorted({f.tag for f in found.findings if f.kind in BROKEN and f.digest not in send})
    # a package that is pushed again brings back its layer, and so mends the images of those that need it
    mended = send | {f.digest for f in found.findings if f.kind in BROKEN and f.digest and installed(f.tag)}
    images = sorted({f.tag for f in found.of(Kind.IMAGE_LAYER_MISSING) if f.digest not in mended})
    push = [tag for tag in dict.fromkeys([*broken, *images]) if installed(tag)]
    plan = read_plan(store)
    leave_out = _digests(store, (tag for tag in broken if tag not in push))
    return RepairPlan(
        send={digest: _broken_by(found, digest) for digest in sorted(send)},
        push=tuple(sorted(push)),
        leave_out={tag: digest for tag, digest in leave_out.items() if plan.broken.get(tag) != digest},
        clear=tuple(tag for tag in broken if tag not in push and tag not in leave_out),
        take_back=tuple(sorted(_whole_again(plan, found))),
        # a repair that was killed may have left out what the index still has
        index=bool(found.of(*OF_THE_INDEX)) or any(tag in indexed for tag in leave_out),
        full=any(not f.digest for f in found.of(Kind.INDEX_DIFFERS)),
        temporaries=bool(found.of(Kind.TEMPORARY_FILES)),
        left=tuple(f for f in found.findings if not _is_handled(f, mended, {*push, *broken})),
    )


def _broken_by(found: Verification, digest: str) -> Tuple[str, ...]:
    return tuple(sorted({f.tag for f in found.findings if f.digest == digest and f.kind in BROKEN}))


def _whole_again(plan: PrunePlan, found: Verification) -> Set[str]:
    """Only of what was looked at, and not only at its manifest: that a layer is there is what counts."""
    wrong = {f.tag for f in found.findings if f.kind in BROKEN or f.kind == Kind.NOT_CHECKED}
    looked_at = {package.tag for package in found.packages}
    return (plan.broken.keys() & looked_at) - wrong if found.level.has_blobs else set()


def _digests(store: ContentStore, tags: Iterable[str]) -> Dict[str, str]:
    """Of manifests; a tag that is listed and has none is left out."""
    found = {}
    for tag in tags:
        with contextlib.suppress(NotFound):
            found[tag] = store.resolve(tag).digest
    return found


def _is_handled(finding: Finding, sent: Set[str], tags: Set[str]) -> bool:
    if finding.kind in OF_THE_INDEX or finding.kind == Kind.TEMPORARY_FILES or finding.digest in sent:
        return True
    return finding.tag in tags and finding.kind in (*BROKEN, Kind.IMAGE_LAYER_MISSING)


@dataclass
class RepairResult:
    #: digests
    sent: List[str] = field(default_factory=list)
    #: tags
    pushed: List[str] = field(default_factory=list)
    left_out: List[str] = field(default_factory=list)
    cleared: List[str] = field(default_factory=list)
    taken_back: List[str] = field(default_factory=list)
    #: the index was written
    index: bool = False
    #: files
    temporaries: int = 0
    #: what it was about -> why it could not be done
    failed: Dict[str, SpackOciError] = field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "sent": self.sent,
            "pushed": self.pushed,
            "left_out": self.left_out,
            "cleared": self.cleared,
            "taken_back": self.taken_back,
            "index": self.index,
            "temporaries": self.temporaries,
            "failed": {label: str(error) for label, error in sorted(self.failed.items())},
        }


#: pushes the packages with these tags again and returns those that were pushed
PushAgain = Callable[[Sequence[str]], Iterable[str]]


def execute_repair(
    store: ContentStore,
    plan: RepairPlan,
    blobs: LocalBlobs,
    settings: Optional[UpdateSettings] = None,
    push_again: PushAgain = lambda tags: (),
) -> RepairResult:
    """Do what ``plan`` says; what fails is in the result, and what comes after it is tried all the same, but for the
    index, whose errors are raised."""
    result = RepairResult()
    still_broken: List[str] = []
    for digest, tags in plan.send.items():
        try:
            _send(store, digest, blobs)
            result.sent.append(digest)
        except SpackOciError as e:
            result.failed[digest] = e
            still_broken += tags if isinstance(e, ContentError) else ()
    for tag in plan.clear:
        try:
            untag(store, tag, "nothing")
            result.cleared.append(tag)
        except SpackOciError as e:
            result.failed[tag] = e
    if plan.push:
        result.pushed = sorted(push_again(plan.push))
    still_broken += [tag for tag in plan.push if tag not in result.pushed]
    leave_out = {**plan.leave_out, **_digests(store, still_broken)}
    _write_broken(store, leave_out, {*plan.take_back, *result.pushed})
    result.left_out, result.taken_back = sorted(leave_out), list(plan.take_back)
    if plan.index or leave_out or plan.take_back or result.pushed or result.cleared:
        update = update_index(store, settings, full=plan.full, create=False)
        result.index = bool(update.writes)
    if plan.temporaries and isinstance(store, LayoutStore):
        result.temporaries = drop_old_temporaries(store, time.time() - TEMPORARY_AGE)
    return result


def _send(store: ContentStore, digest: str, blobs: LocalBlobs) -> None:
    """Over what is there, too: it may be damaged. Raises DigestMismatch where the store keeps it damaged all the same:
    docker-registry takes what it has under that digest for the same (blobwriter.go, moveBlob)."""
    path = blobs.get(digest)
    if path is None or not os.path.exists(path):  # others may make room at any time
        raise NotFound(f"{digest} is not in the blob cache any more", remedy="push its package again with --force")
    with storage_errors(f"sending {digest} from the blob cache"):
        descriptor = Descriptor("application/octet-stream", digest, os.path.getsize(path))
        store.put_blob(descriptor, FileSource(path), presence=Presence.EXCLUDED)
    with store.open_blob(descriptor) as reader:
        while reader.read(_CHUNK):
            pass


def _write_broken(store: ContentStore, leave_out: Mapping[str, str], back: Set[str]) -> None:
    plan = read_plan(store)
    broken = {**{tag: digest for tag, digest in plan.broken.items() if tag not in back}, **leave_out}
    if broken != plan.broken:
        write_plan(store, plan._replace(broken=broken))
