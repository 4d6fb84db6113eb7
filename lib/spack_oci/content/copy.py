# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Copies images between any two content stores: a graph of manifests and blobs, children before parents.

A manifest refers to its config and layers, an image index to its manifests, and a store may refuse what refers to
something that is not there. So the order is: blobs, then the manifest, then the index, then the tag. What is there
already is not sent; what the same registry has in the source repository is mounted; what several images share is moved
once. A copy that died runs again and moves only what is left.

A :class:`GraphCopy` copies any number of images with the same threads::

    with GraphCopy(source, destination, jobs=8) as copier:
        copied = copier.copy("debian:12", platform=Platform("linux", "amd64"))
        for tag, outcome in copier.copy_all(tags, referrers=True):
            ...
"""

import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import (
    Any,
    Container,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Protocol,
    Set,
    Tuple,
    Type,
    Union,
)

from ..descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, parse_json
from ..errors import ContentError, InvalidContent, SpackOciError, unforeseen
from ..reference import LayoutDirectory, parse_url
from ..util.concurrency.cancellation import Cancelled
from ..util.concurrency.threads import DaemonPool
from ..util.schemas import validate
from .interfaces import ContentReader, ContentWriter, ManifestReader, Progress, ReferrerLister, Resolver, resolves_to
from .platform import Platform, select
from .transfer import BlobMover, Transfer, TransferCounts

#: indexes in indexes, and referrers of referrers, are followed so deep: an image has two levels, a signature of its
#: SBOM two more
MAX_DEPTH = 12


class CopySource(ContentReader, ReferrerLister, Protocol):
    """What a copy reads from."""


class CopyDestination(ContentWriter, Resolver, Protocol):
    """What a copy writes to."""


@dataclass(frozen=True)
class Copied:
    """What became of one image."""

    #: of the manifest or index that was copied: with a platform filter that of the chosen manifest
    descriptor: Descriptor
    #: blobs and bytes that went over the wire
    sent: int = 0
    sent_bytes: int = 0
    #: blobs taken over from the source repository of the same registry
    mounted: int = 0
    #: blobs that were there, or that another image of this copy brought
    present: int = 0
    #: manifests that were written; 0: the image was there, tag and all
    manifests: int = 0


@dataclass
class _Image:
    """One image on its way: what is copied with it, and the counts, added to by several threads."""

    referrers: bool
    #: the destination has not the manifest that is copied, as far as its tags tell
    is_absent: bool = False
    #: digests of manifests that were looked at
    seen: Set[str] = field(default_factory=set)
    counts: TransferCounts = field(default_factory=TransferCounts)
    manifests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, counts: TransferCounts) -> None:
        with self.lock:
            self.counts += counts


class GraphCopy:
    """``jobs``: blobs moved at a time, and images worked on at a time. ``progress``: bytes sent.

    ``full``: look for what the manifests refer to that are in the destination already, one request a blob, and bring
    back what is gone. In a layout that is always done: anybody may have removed a file, and to look costs nothing.
    """

    def __init__(
        self,
        source: CopySource,
        destination: CopyDestination,
        *,
        jobs: int = 8,
        progress: Optional[Progress] = None,
        full: bool = False,
        listed: Optional[Container[str]] = None,
    ) -> None:
        """``listed``: tags of the source, if they were just listed: then a registry that keeps referrers under tags is
        not asked for those of each manifest."""
        self._source = source
        self._listed = listed
        self._destination = destination
        self._progress = progress
        self._interrupted = threading.Event()
        self._mover = BlobMover(source, destination, self._moved)
        self._checks_children = full or isinstance(parse_url(destination.url), LayoutDirectory)
        self._jobs = max(1, jobs)
        # Two pools: an image waits for its blobs, and would wait for ever for a thread that another image waits in.
        self._images = DaemonPool(self._jobs, "copy-image")
        self._blobs = DaemonPool(self._jobs, "copy-blob")
        self._lock = threading.Lock()
        self._moves: Dict[str, Future[None]] = {}

    def __enter__(self) -> "GraphCopy":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *rest: Any) -> None:
        """What has begun ends first, unless the copy is interrupted: then it is cut off, and leaves nothing."""
        if kind is not None and not issubclass(kind, Exception):
            self._interrupted.set()
        error = (kind, *rest)
        self._images.__exit__(*error)
        self._blobs.__exit__(*error)

    def _moved(self, count: int) -> None:
        if self._interrupted.is_set():
            raise Cancelled
        if self._progress is not None:
            self._progress(count)

    def copy(
        self,
        reference: str,
        *,
        tag: Optional[str] = None,
        platform: Optional[Platform] = None,
        referrers: bool = False,
        is_absent: bool = False,
    ) -> Copied:
        """Copy the image behind a tag or digest. ``tag``: its tag in the destination; None: the same tag, if it is one.

        ``platform``: of an image index only the manifest for it, which then gets the tag (ImageError: there is none).
        ``referrers``: also the manifests whose subject is a copied one: signatures, SBOMs, and theirs. ``is_absent``:
        the destination was just seen not to have the tag, nor any other of the same manifest: it is not asked for them.
        """
        if tag is None and ":" not in reference:
            tag = reference
        descriptor, data = self._source.get_manifest(reference)
        if platform is not None:
            descriptor, data = self._choose(reference, descriptor, data, platform)
        image = _Image(referrers, is_absent)
        self._copy_manifest(image, descriptor, data, tag, 0)
        counts = image.counts
        return Copied(
            descriptor, counts.sent, counts.sent_bytes, counts.mounted, counts.present, manifests=image.manifests
        )

    def copy_all(
        self,
        tags: Iterable[str],
        *,
        platform: Optional[Platform] = None,
        referrers: bool = False,
        absent: Container[str] = frozenset(),
    ) -> Iterator[Tuple[str, Union[Copied, SpackOciError]]]:
        """Copy many images and yield each with its outcome as it is done: one that fails does not stop the others.

        ``absent``: those that the destination was just seen not to have, as :meth:`copy` says.
        """
        running: Dict[Future[Copied], str] = {}
        waiting = iter(tags)
        try:
            while True:
                for tag in waiting:
                    future = self._images.submit(
                        self.copy, tag, platform=platform, referrers=referrers, is_absent=tag in absent
                    )
                    running[future] = tag
                    if len(running) >= 2 * self._jobs:  # not all at once: there may be tens of thousands
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    tag = running.pop(done)
                    yield tag, _outcome(tag, done)
        finally:
            for future in running:
                future.cancel()

    def _choose(
        self, reference: str, descriptor: Descriptor, data: bytes, platform: Platform
    ) -> Tuple[Descriptor, bytes]:
        if descriptor.media_type not in INDEX_TYPES:
            return descriptor, data
        listed = [(Platform.from_document(d.platform or {}), d) for d in children(descriptor, data).manifests]
        known = [(found, d) for found, d in listed if found is not None]
        chosen = select(known, platform, f"{self._source.url}:{reference}")
        return self._source.get_manifest(chosen.digest)

    def _copy_manifest(
        self, image: _Image, descriptor: Descriptor, data: bytes, tag: Optional[str], depth: int
    ) -> None:
        _check_depth(self._source.url, depth)
        image.seen.add(descriptor.digest)
        is_absent = image.is_absent and depth == 0
        is_there = not is_absent and resolves_to(self._destination, tag or descriptor.digest, descriptor.digest)
        # its tag may be missing alone
        has_children = is_there or (
            tag is not None and not is_absent and resolves_to(self._destination, descriptor.digest, descriptor.digest)
        )
        if self._checks_children or not has_children:
            self._copy_children(image, descriptor, data, depth)
        if not is_there:
            self._destination.put_manifest(data, descriptor.media_type, tag)
            image.manifests += 1
        if image.referrers:
            for referrer in self._source.referrers(descriptor.digest, listed=self._listed):
                self._copy_by_digest(image, referrer, depth + 1)

    def _copy_by_digest(self, image: _Image, descriptor: Descriptor, depth: int) -> None:
        if descriptor.digest not in image.seen:
            found, data = self._source.get_manifest(descriptor.digest)
            self._copy_manifest(image, found, data, None, depth)

    def _copy_children(self, image: _Image, descriptor: Descriptor, data: bytes, depth: int) -> None:
        parts = children(descriptor, data)
        for manifest in parts.manifests:
            self._copy_by_digest(image, manifest, depth + 1)
        moves = [self._move(image, blob) for blob in parts.blobs]
        wait(moves)
        for move in moves:
            move.result()

    def _move(self, image: _Image, blob: Descriptor) -> "Future[None]":
        """The running or finished transfer of a blob. One that failed is tried again by the next image."""
        with self._lock:
            move = self._moves.get(blob.digest)
            if move is None or (move.done() and move.exception() is not None):
                move = self._moves[blob.digest] = self._blobs.submit(self._move_blob, image, blob)
            else:
                image.add(TransferCounts.of(Transfer.PRESENT, blob))
            return move

    def _move_blob(self, image: _Image, blob: Descriptor) -> None:
        image.add(TransferCounts.of(self._mover.move(blob), blob))


class Children(NamedTuple):
    manifests: List[Descriptor]
    #: config and layers, each once
    blobs: List[Descriptor]


def children(descriptor: Descriptor, data: bytes) -> Children:
    """What a manifest or index refers to, except its subject and layers that registries do not hold.

    The latter have ``urls`` and are to be fetched from there (image-spec, non-distributable layers; Docker: foreign).
    Raises InvalidContent for other media types, such as Docker's schema 1.
    """
    label = f"the manifest {descriptor.digest}"
    if descriptor.media_type in INDEX_TYPES:
        document = validate(parse_json(data, label), "image-index", label)
        return Children([Descriptor.from_dict(d) for d in document["manifests"]], [])
    if descriptor.media_type in MANIFEST_TYPES:
        document = validate(parse_json(data, label), "manifest", label)
        listed = [document["config"], *(d for d in document["layers"] if not _is_foreign(d))]
        return Children([], list({d.digest: d for d in map(Descriptor.from_dict, listed)}.values()))
    raise InvalidContent(f"{label} has the media type {descriptor.media_type}, which is unknown")


def manifests_of(store: ManifestReader, reference: str) -> Iterator[Tuple[Descriptor, Union[Children, ContentError]]]:
    """The manifest behind a reference, and all that it lists, with what is in them or why that is not understood: each
    once, however often and on however many ways it is listed. Raises what reading one raises."""
    pending, seen = [(reference, 0)], {reference}
    while pending:
        current, depth = pending.pop()
        _check_depth(store.url, depth)
        descriptor, data = store.get_manifest(current)
        try:
            parts = children(descriptor, data)
        except ContentError as e:
            yield descriptor, e
            continue
        yield descriptor, parts
        new = {manifest.digest for manifest in parts.manifests} - seen
        pending += [(digest, depth + 1) for digest in sorted(new)]
        seen |= new


def _check_depth(url: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidContent(
            f"{url} has manifests that refer to each other over more than {MAX_DEPTH} levels",
            remedy="no image is like that: do not trust what is there",
        )


def _outcome(tag: str, done: "Future[Copied]") -> Union[Copied, SpackOciError]:
    try:
        return done.result()
    except SpackOciError as e:
        return e
    except Exception as e:  # whatever is wrong with one image, the others are copied
        return unforeseen(f"copying {tag}", e)


def _is_foreign(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("mediaType", ""))
    return bool(layer.get("urls")) and ("nondistributable" in kind or "foreign" in kind)
