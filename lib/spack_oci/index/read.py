# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the index of a cache: ours when it is current, else Spack's."""

from dataclasses import dataclass, field
from typing import Dict, Iterable, Optional, Union

from ..content import ContentStore
from ..descriptor import Descriptor
from ..errors import DigestMismatch, InvalidContent, NotFound
from .model import PackageEntry, database_from_lines, entries_from_lines
from .publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DocumentManifest,
    decompress,
    is_current,
    read_database,
    read_document,
    read_document_manifest,
)


@dataclass(frozen=True)
class IndexDocument:
    """An index that was fetched."""

    #: the JSON of a Spack database
    data: bytes = field(repr=False)
    #: digest of ``data``: what Spack keeps as the hash of an index
    digest: str
    #: digest of the manifest of ``index.spack``: give it back as ``known_manifest``
    manifest: str
    #: the tag it came from
    source: str
    #: our document as it is stored (zstd), if there is one; it may be older than ``data``
    document: Optional[bytes] = field(default=None, repr=False)
    #: why ours was not used, if it was not
    fallback: str = ""

    def entries(self, hashes: Optional[Iterable[str]] = None) -> Dict[str, PackageEntry]:
        """What is known of the packages with these DAG hashes (None: of all). Empty without a document of ours."""
        return entries_of_document(self.document, hashes) if self.document is not None else {}


@dataclass(frozen=True)
class NotModified:
    """The index is the one that the caller has."""

    digest: str


def fetch_index(
    store: ContentStore, known_digest: Optional[str] = None, known_manifest: Optional[str] = None
) -> Union[IndexDocument, NotModified]:
    """The index of a cache, as the JSON that Spack's database code reads.

    ``known_digest``: digest of the database that the caller has; ``known_manifest``: of the manifest that it came
    with, which makes an unchanged index one HEAD request. Ours is taken when it was published together with the
    ``index.spack`` that is there: it is a tenth of the size and gives the same bytes. When it is stale, damaged or
    absent, Spack's is.

    Raises NotFound when the cache has no index, InvalidContent when it has one that cannot be read.
    """
    try:
        current: Optional[Descriptor] = store.resolve(DATABASE_TAG)
    except NotFound:
        current = None
    if current is not None and known_digest and current.digest == known_manifest:
        return NotModified(known_digest)
    ours: Optional[DocumentManifest]
    try:
        ours = read_document_manifest(store)
        current_enough = current is None or is_current(ours, current)
        reason = "" if current_enough else f"{DOCUMENT_TAG} is older than {DATABASE_TAG}"
    except NotFound:
        ours, reason = None, f"there is no {DOCUMENT_TAG}"
    except InvalidContent as e:
        ours, reason = None, e.message
    if ours is None and current is None:
        raise NotFound(f"{store.url} has no index")
    if ours is not None and not reason:
        if known_digest == ours.named_database:
            return NotModified(known_digest)
        try:
            document = read_document(store, ours)
            data = database_from_lines(decompress(document), ours.named_database)
            return IndexDocument(data, ours.named_database, ours.named_manifest, DOCUMENT_TAG, document)
        except (NotFound, InvalidContent, DigestMismatch) as e:
            if current is None:
                raise
            ours, reason = None, e.message
    assert current is not None
    return _fetch_database(store, current, ours, known_digest, reason)


def _fetch_database(
    store: ContentStore,
    current: Descriptor,
    ours: Optional[DocumentManifest],
    known_digest: Optional[str],
    reason: str,
) -> Union[IndexDocument, NotModified]:
    """Spack's index; an older document of ours is still right about the layers of the packages that it has."""
    manifest, database, data = read_database(store, current.digest, known_digest)
    if data is None:
        return NotModified(database.digest)
    document = None
    if ours is not None:
        try:
            document = read_document(store, ours)
            entries_of_document(document, ())  # readable from the first line to the last
        except (NotFound, InvalidContent, DigestMismatch) as e:
            document, reason = None, e.message
    return IndexDocument(data, database.digest, manifest.digest, DATABASE_TAG, document, reason)


def entries_of_document(document: bytes, hashes: Optional[Iterable[str]] = None) -> Dict[str, PackageEntry]:
    """DAG hash -> what our document (compressed) says of the package. Raises InvalidContent."""
    return entries_from_lines(decompress(document), None if hashes is None else set(hashes))
