# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A content store in memory that counts what is asked of it and fails when told to."""

import io
import threading
from collections import Counter
from typing import Callable, Container, Dict, Iterator, List, Optional, Tuple

from spack_oci.content import BlobSource, Presence, Progress
from spack_oci.descriptor import Descriptor, VerifyingReader, check_digest, parse_json, sha256_digest
from spack_oci.errors import InvalidContent, NotFound


class MemoryStore:
    """:class:`spack_oci.content.ContentStore`. ``shared`` stores of one "registry" can mount from each other by name.

    ``store.calls["get_manifest"]``: how often a verb was called. ``store.log``: (verb, reference) in order.
    ``store.fail("put_blob", error, times=2)``: the next two calls raise; ``when`` filters on the reference.
    ``store.before["put_manifest"] = f``: ``f(reference)`` runs first, to simulate another writer.
    """

    def __init__(self, url: str = "oci://memory.example/cache", shared: Optional[Dict[str, "MemoryStore"]] = None):
        self.url = url
        self.blobs: Dict[str, bytes] = {}
        self.manifests: Dict[str, Tuple[str, bytes]] = {}
        self.tagged: Dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.log: List[Tuple[str, str]] = []
        self.before: Dict[str, Callable[[str], None]] = {}
        self.shared = shared if shared is not None else {}
        self.closed = False
        #: bytes that were read by ranges
        self.ranged = 0
        self._failures: List[dict] = []
        self._lock = threading.RLock()

    def fail(
        self, verb: str, error: Exception, times: Optional[int] = None, when: Optional[Callable[[str], bool]] = None
    ) -> None:
        """Raise ``error`` from ``verb``: always, or the next ``times`` times, if ``when(reference)``."""
        self._failures.append({"verb": verb, "error": error, "times": times, "when": when})

    def _called(self, verb: str, reference: str = "") -> None:
        with self._lock:
            self.calls[verb] += 1
            self.log.append((verb, reference))
        hook = self.before.get(verb)
        if hook:
            hook(reference)
        with self._lock:
            for failure in self._failures:
                if failure["verb"] != verb or failure["times"] == 0:
                    continue
                if failure["when"] and not failure["when"](reference):
                    continue
                if failure["times"] is not None:
                    failure["times"] -= 1
                raise failure["error"]

    @property
    def requests(self) -> int:
        return sum(self.calls.values())

    def reset(self) -> None:
        self.calls.clear()
        self.log.clear()

    def _find(self, reference: str) -> Tuple[Descriptor, bytes]:
        with self._lock:
            digest = check_digest(reference) if ":" in reference else self.tagged.get(reference, "")
            if digest not in self.manifests:
                raise NotFound(f"{self.url} has no manifest {reference}")
            media_type, data = self.manifests[digest]
        return Descriptor(media_type, digest, len(data)), data

    def resolve(self, reference: str) -> Descriptor:
        self._called("resolve", reference)
        return self._find(reference)[0]

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        self._called("get_manifest", reference)
        return self._find(reference)

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        self._called("put_manifest", tag or sha256_digest(data))
        document = parse_json(data, "manifest")
        for child in document.get("manifests") or ():
            if child["digest"] not in self.manifests:
                raise InvalidContent(f"manifest unknown: {child['digest']}")
        for child in [*(document.get("layers") or ()), *([document["config"]] if document.get("config") else [])]:
            if child["digest"] not in self.blobs and not child.get("urls"):
                raise InvalidContent(f"blob unknown: {child['digest']}")
        descriptor = Descriptor.of(data, media_type)
        with self._lock:
            self.manifests[descriptor.digest] = (media_type, data)
            if tag:
                self.tagged[tag] = descriptor.digest
        return descriptor

    def delete_manifest(self, reference: str) -> None:
        self._called("delete_manifest", reference)
        self._find(reference)
        with self._lock:
            if ":" not in reference:
                del self.tagged[reference]
                return
            del self.manifests[reference]
            self.tagged = {tag: digest for tag, digest in self.tagged.items() if digest != reference}

    def has_blob(self, digest: str) -> bool:
        self._called("has_blob", digest)
        return digest in self.blobs

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        self._called("open_blob", descriptor.digest)
        try:
            return VerifyingReader(io.BytesIO(self.blobs[descriptor.digest]), descriptor, self.url)
        except KeyError:
            raise NotFound(f"{self.url} has no blob {descriptor.digest}") from None

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        self._called("read_range", descriptor.digest)
        self.ranged += stop - start
        try:
            return self.blobs[descriptor.digest][start:stop]
        except KeyError:
            raise NotFound(f"{self.url} has no blob {descriptor.digest}") from None

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        self._called("put_blob", descriptor.digest)
        if descriptor.digest in self.blobs:
            return False
        with VerifyingReader(source.open(), descriptor, "source") as reader:
            data = reader.read()
        if progress:
            progress(len(data))
        with self._lock:
            self.blobs[descriptor.digest] = data
        return True

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        self._called("mount_blob", descriptor.digest)
        other = self.shared.get(from_repository)
        if other is None or descriptor.digest not in other.blobs:
            return False
        self.blobs[descriptor.digest] = other.blobs[descriptor.digest]
        return True

    def tags(self) -> Iterator[str]:
        self._called("tags")
        with self._lock:
            return iter(sorted(self.tagged))

    def referrers(
        self, digest: str, artifact_type: Optional[str] = None, listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        self._called("referrers", digest)
        found = []
        with self._lock:
            manifests = sorted(self.manifests.items())
        for name, (media_type, data) in manifests:
            document = parse_json(data, name)
            if (document.get("subject") or {}).get("digest") != digest:
                continue
            kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
            if artifact_type in (None, kind):
                found.append(
                    Descriptor(media_type, name, len(data), document.get("annotations") or {}, artifact_type=kind)
                )
        return found

    def close(self) -> None:
        self.closed = True
