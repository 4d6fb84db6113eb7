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
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ..descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, parse_json
from ..errors import ImageError, InvalidContent, InvalidReference, NotFound, SpackOciError
from ..reference import Repository, parse_url
from .interfaces import ContentStore, Progress


class Platform(NamedTuple):
    """As image-spec names it: Go's names. ``variant`` (``v7``) is compared only when it is given."""

    os: str
    architecture: str
    variant: str = ""

    def matches(self, platform: Optional[Mapping[str, Any]]) -> bool:
        found = platform or {}
        return (found.get("os"), found.get("architecture")) == (self.os, self.architecture) and self.variant in (
            "",
            found.get("variant", ""),
        )

    def __str__(self) -> str:
        return "/".join(filter(None, self))


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


@dataclass(frozen=True)
class StoredBlob:
    """A blob of a store as the source of an upload (:class:`~spack_oci.content.BlobSource`)."""

    store: ContentStore
    descriptor: Descriptor

    def open(self) -> BinaryIO:
        return self.store.open_blob(self.descriptor)  # type: ignore[return-value]  # it has read and close

    def __len__(self) -> int:
        return self.descriptor.size


class _Tally:
    """Counts of one image, added to by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Dict[str, int] = {"sent": 0, "sent_bytes": 0, "mounted": 0, "present": 0, "manifests": 0}

    def add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self.counts[name] += count


class GraphCopy:
    """``jobs``: blobs moved at a time, and images worked on at a time. ``progress``: bytes sent."""

    def __init__(
        self, source: ContentStore, destination: ContentStore, *, jobs: int = 8, progress: Optional[Progress] = None
    ) -> None:
        self._source = source
        self._destination = destination
        self._progress = progress
        self._mount_from = mountable_repository(source, destination)
        self._jobs = max(1, jobs)
        # Two pools: an image waits for its blobs, and would wait for ever for a thread that another image waits in.
        self._images = ThreadPoolExecutor(self._jobs, "copy-image")
        self._blobs = ThreadPoolExecutor(self._jobs, "copy-blob")
        self._lock = threading.Lock()
        self._moves: Dict[str, Future[None]] = {}

    def __enter__(self) -> "GraphCopy":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """What has begun ends first."""
        self._images.shutdown()
        self._blobs.shutdown()

    def copy(
        self,
        reference: str,
        *,
        tag: Optional[str] = None,
        platform: Optional[Platform] = None,
        referrers: bool = False,
    ) -> Copied:
        """Copy the image behind a tag or digest. ``tag``: its tag in the destination; None: the same tag, if it is one.

        ``platform``: of an image index only the manifest for it, which then gets the tag (ImageError: there is none).
        ``referrers``: also the manifests whose subject is a copied one: signatures, SBOMs, and theirs.
        """
        if tag is None and ":" not in reference:
            tag = reference
        descriptor, data = self._source.get_manifest(reference)
        if platform is not None:
            descriptor, data = self._choose(reference, descriptor, data, platform)
        tally = _Tally()
        self._copy_manifest(descriptor, data, tag, tally, referrers, set())
        return Copied(descriptor, **tally.counts)

    def copy_all(
        self, tags: Iterable[str], *, platform: Optional[Platform] = None, referrers: bool = False
    ) -> Iterator[Tuple[str, Union[Copied, SpackOciError]]]:
        """Copy many images and yield each with its outcome as it is done: one that fails does not stop the others."""
        running: Dict[Future[Copied], str] = {}
        waiting = iter(tags)
        try:
            while True:
                for tag in waiting:
                    running[self._images.submit(self.copy, tag, platform=platform, referrers=referrers)] = tag
                    if len(running) >= 2 * self._jobs:  # not all at once: there may be tens of thousands
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), _outcome(done)
        finally:
            for future in running:
                future.cancel()

    def _choose(
        self, reference: str, descriptor: Descriptor, data: bytes, platform: Platform
    ) -> Tuple[Descriptor, bytes]:
        if descriptor.media_type not in INDEX_TYPES:
            return descriptor, data
        listed = children(descriptor, data).manifests
        chosen = next((d for d in listed if platform.matches(d.platform)), None)
        if chosen is None:
            known = sorted({str(_platform_of(d)) for d in listed if d.platform})
            raise ImageError(
                f"{self._source.url} has no image {reference} for {platform}, only for {', '.join(known) or 'nothing'}"
            )
        return self._source.get_manifest(chosen.digest)

    def _copy_manifest(
        self,
        descriptor: Descriptor,
        data: bytes,
        tag: Optional[str],
        tally: _Tally,
        referrers: bool,
        seen: Set[str],
    ) -> None:
        seen.add(descriptor.digest)
        if not self._is_there(tag or descriptor.digest, descriptor):
            # its tag may be missing alone; a store that has a manifest has what it refers to
            if tag is None or not self._is_there(descriptor.digest, descriptor):
                self._copy_children(descriptor, data, tally, referrers, seen)
            self._destination.put_manifest(data, descriptor.media_type, tag)
            tally.add(manifests=1)
        if referrers:
            for referrer in self._source.referrers(descriptor.digest):
                self._copy_by_digest(referrer, tally, referrers, seen)

    def _copy_by_digest(self, descriptor: Descriptor, tally: _Tally, referrers: bool, seen: Set[str]) -> None:
        if descriptor.digest not in seen:
            found, data = self._source.get_manifest(descriptor.digest)
            self._copy_manifest(found, data, None, tally, referrers, seen)

    def _copy_children(
        self, descriptor: Descriptor, data: bytes, tally: _Tally, referrers: bool, seen: Set[str]
    ) -> None:
        parts = children(descriptor, data)
        for manifest in parts.manifests:
            self._copy_by_digest(manifest, tally, referrers, seen)
        moves = [self._move(blob, tally) for blob in parts.blobs]
        wait(moves)
        for move in moves:
            move.result()

    def _is_there(self, reference: str, descriptor: Descriptor) -> bool:
        try:
            return self._destination.resolve(reference).digest == descriptor.digest
        except NotFound:
            return False

    def _move(self, blob: Descriptor, tally: _Tally) -> "Future[None]":
        """The running or finished transfer of a blob. One that failed is tried again by the next image."""
        with self._lock:
            move = self._moves.get(blob.digest)
            if move is None or (move.done() and move.exception() is not None):
                move = self._moves[blob.digest] = self._blobs.submit(self._move_blob, blob, tally)
            else:
                tally.add(present=1)
            return move

    def _move_blob(self, blob: Descriptor, tally: _Tally) -> None:
        if self._destination.has_blob(blob.digest):
            tally.add(present=1)
        elif self._mount_from and self._destination.mount_blob(blob, self._mount_from):
            tally.add(mounted=1)
        elif self._destination.put_blob(blob, StoredBlob(self._source, blob), self._progress):
            tally.add(sent=1, sent_bytes=blob.size)
        else:
            tally.add(present=1)


class Children(NamedTuple):
    manifests: List[Descriptor]
    #: config and layers, each once
    blobs: List[Descriptor]


def children(descriptor: Descriptor, data: bytes) -> Children:
    """What a manifest or index refers to, except its subject and layers that registries do not hold.

    The latter have ``urls`` and are to be fetched from there (image-spec, non-distributable layers; Docker: foreign).
    Raises InvalidContent for other media types, such as Docker's schema 1.
    """
    document = parse_json(data, f"the manifest {descriptor.digest}")
    try:
        if descriptor.media_type in INDEX_TYPES:
            return Children([Descriptor.from_dict(d) for d in document["manifests"]], [])
        if descriptor.media_type in MANIFEST_TYPES:
            listed = [document["config"], *(d for d in document["layers"] if not _is_foreign(d))]
            return Children([], list({d.digest: d for d in map(Descriptor.from_dict, listed)}.values()))
    except (KeyError, TypeError, AttributeError) as e:
        raise InvalidContent(f"the manifest {descriptor.digest} has no valid {e}") from e
    raise InvalidContent(
        f"the manifest {descriptor.digest} has the media type {descriptor.media_type}, which is unknown"
    )


def copy_image(source: ContentStore, destination: ContentStore, reference: str, **options: Any) -> Copied:
    """One image; the options of :class:`GraphCopy` (``jobs``, ``progress``) and of :meth:`GraphCopy.copy`."""
    own = {name: options.pop(name) for name in ("jobs", "progress") if name in options}
    with GraphCopy(source, destination, **own) as copier:
        return copier.copy(reference, **options)


def mountable_repository(source: ContentStore, destination: ContentStore) -> Optional[str]:
    """The name of the source's repository if the destination may mount blobs from it: both are on one registry."""
    try:
        here, there = parse_url(source.url), parse_url(destination.url)
    except InvalidReference:
        return None
    if not (isinstance(here, Repository) and isinstance(there, Repository)):
        return None
    same = here.host == there.host and here.scheme == there.scheme
    return here.name if same and here.name != there.name else None


def _outcome(done: "Future[Copied]") -> Union[Copied, SpackOciError]:
    try:
        return done.result()
    except SpackOciError as e:
        return e


def _is_foreign(layer: Mapping[str, Any]) -> bool:
    kind = str(layer.get("mediaType", ""))
    return bool(layer.get("urls")) and ("nondistributable" in kind or "foreign" in kind)


def _platform_of(descriptor: Descriptor) -> Platform:
    found = descriptor.platform or {}
    return Platform(str(found.get("os")), str(found.get("architecture")), str(found.get("variant") or ""))
