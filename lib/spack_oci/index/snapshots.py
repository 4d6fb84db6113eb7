# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A part of a cache under a name: ``oci://HOST/NAME:SNAPSHOT`` is a mirror that has just that.

A snapshot is an index of its own behind the tag ``spack-oci.snapshot.SNAPSHOT``, in the form of ours (``publish``),
and nothing besides: packages are those of the cache, by the digest that they had when it was made. So it costs one
document to make and to read, and a package that is pushed again under its tag does not change it.
"""

import shlex
from typing import BinaryIO, Container, Dict, Iterable, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

from ..content import BlobSource, ContentReader, ContentStore, Presence, Progress, ReadsRanges, save_blob
from ..descriptor import OCI_MANIFEST, Descriptor, VerifyingReader
from ..errors import ConfigurationError, NotFound
from ..package.record import is_package_tag
from .frames import decompress
from .model import PackageIndex
from .publish import DATABASE_TAG, DOCUMENT_TAG, DocumentManifest, read_document, read_document_manifest

SNAPSHOT_PREFIX = "spack-oci.snapshot."


class Snapshot(NamedTuple):
    """``packages``: DAG hash -> digest of the manifest."""

    name: str
    packages: Dict[str, str]


def read_snapshot(store: ContentReader, name: str) -> Snapshot:
    """Three requests. Raises NotFound, InvalidContent, DigestMismatch."""
    index = snapshot_index(store, name)
    return Snapshot(name, {dag_hash: entry.manifest.digest for dag_hash, entry in index.packages()})


def snapshot_index(store: ContentReader, name: str) -> PackageIndex:
    manifest = read_document_manifest(store, SNAPSHOT_PREFIX + name)
    return PackageIndex.from_lines(decompress(read_document(store, manifest)))


def subset_of(index: PackageIndex, tags: Iterable[str]) -> PackageIndex:
    """The packages with these tags, and the nodes that they need."""
    found = PackageIndex()
    for tag in sorted(tags):
        found.adopt(index, tag)
    return found


class SnapshotStore:
    """The cache as a snapshot has it, a :class:`~spack_oci.content.ContentStore` that can only be read.

    Raises ConfigurationError where the cache has no such snapshot: that it is missing must not pass for "no index".
    """

    def __init__(self, store: ContentStore, name: str) -> None:
        self._store = store
        self.snapshot = name
        self.url = f"{store.url}:{name}"
        self._digests: Optional[Dict[str, str]] = None

    # What is there

    def resolve(self, reference: str) -> Descriptor:
        if reference == DATABASE_TAG:  # there is none; ours names its own document in the place of it
            return Descriptor(OCI_MANIFEST, self._manifest().named_manifest, 0)
        return self._store.resolve(self._translated(reference))

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        if reference == DATABASE_TAG:
            raise NotFound(f"{self.url} is a snapshot, which only spack-oci reads")
        try:
            return self._store.get_manifest(self._translated(reference))
        except NotFound:
            if reference == DOCUMENT_TAG:
                self._missing()
            raise

    def tags(self) -> Iterator[str]:
        yield from sorted(self._packages())
        yield DATABASE_TAG
        yield DOCUMENT_TAG

    def referrers(
        self, digest: str, artifact_type: Optional[str] = None, listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        return self._store.referrers(digest, artifact_type)  # the tags of a snapshot are not those of the cache

    def _translated(self, reference: str) -> str:
        """As the cache knows it. What is not in the snapshot is not there."""
        if reference == DOCUMENT_TAG:
            return SNAPSHOT_PREFIX + self.snapshot
        if not is_package_tag(reference):
            return reference  # a digest, a signature
        digest = self._packages().get(reference)
        if digest is None:
            raise NotFound(f"{self.url} has no package {reference}")
        return digest

    def _packages(self) -> Dict[str, str]:
        """Tag -> digest of the manifest."""
        if self._digests is None:
            index = PackageIndex.from_lines(decompress(read_document(self._store, self._manifest())))
            self._digests = {entry.tag: entry.manifest.digest for _, entry in index.packages()}
        return self._digests

    def _manifest(self) -> DocumentManifest:
        try:
            return read_document_manifest(self._store, SNAPSHOT_PREFIX + self.snapshot)
        except NotFound:
            self._missing()

    def _missing(self) -> NoReturn:
        raise ConfigurationError(
            f"{self._store.url} has no snapshot {self.snapshot}",
            remedy=f"`spack oci snapshots {shlex.quote(self._store.url)}` lists them; for all of the cache, leave "
            f"':{self.snapshot}' away",
        )

    # Blobs: those of the cache

    def has_blob(self, digest: str) -> bool:
        return self._store.has_blob(digest)

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        return self._store.open_blob(descriptor)

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        if isinstance(self._store, ReadsRanges):
            return self._store.read_range(descriptor, start, stop)
        with self._store.open_blob(descriptor) as reader:
            return reader.read()[start:stop]

    def save_blob(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress] = None) -> None:
        save_blob(self._store, descriptor, target, progress)

    def close(self) -> None:
        self._store.close()

    # Nothing is written

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        raise unchangeable(self.url)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        raise unchangeable(self.url)

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        raise unchangeable(self.url)

    def delete_manifest(self, reference: str) -> None:
        raise unchangeable(self.url)


def unchangeable(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"{url} is a snapshot, which does not change",
        remedy="name the cache itself (without what is behind the last colon), or make the snapshot anew",
    )
