# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The two index manifests of a cache: their tags, media types and bytes, reading them and publishing them.

``index.spack`` is what every Spack reads: an image manifest whose one "layer" is the JSON of a database. It has the
media type of a tarball because Spack's reader asks for that. ``spack-oci.index`` is ours: an artifact manifest
(image-spec, guidelines for artifact usage) whose layer is our document; its annotations name the manifest of
``index.spack`` and the database that it corresponds to, so that a reader knows with a HEAD whether ours is current.

Ours is published last: until then, and when a Spack without this extension has overwritten ``index.spack``, ours names
another manifest than the one that is there, and readers take ``index.spack``.
"""

import io
from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

from ..content import ContentStore, put_bytes, read_blob
from ..content.interfaces import BlobReader, ManifestReader
from ..descriptor import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    check_digest,
    parse_json,
)
from ..errors import InvalidContent, InvalidReference
from .model import PackageIndex

#: Spack's index
DATABASE_TAG = "index.spack"
#: ours; it does not end in ``.spack``, or Spack would take it for a package
DOCUMENT_TAG = "spack-oci.index"

ARTIFACT_TYPE = "application/vnd.spack-oci.index.v1"
DOCUMENT_TYPE = "application/vnd.spack-oci.index.v1.jsonl+zstd"

NAMED_MANIFEST = "org.spack-oci.index.spack"
NAMED_DATABASE = "org.spack-oci.index.database"
PACKAGES = "org.spack-oci.index.packages"

#: more than a hundred times what 20,000 packages need
MAX_DOCUMENT_SIZE = 1 << 30
MAX_DATABASE_SIZE = 4 << 30
_LEVEL = 6
_EMPTY = b"{}"


class DocumentManifest(NamedTuple):
    """What the manifest under ``spack-oci.index`` says."""

    descriptor: Descriptor
    document: Descriptor
    #: digest of the manifest of ``index.spack`` that it was published with
    named_manifest: str
    #: digest of the database in that
    named_database: str


class Published(NamedTuple):
    """What was written. Sizes in bytes."""

    database_manifest: Descriptor
    document_manifest: Descriptor
    database: Descriptor
    document: Descriptor


def publish(store: ContentStore, index: PackageIndex) -> Published:
    """Write both documents, ours last. The index holds no node that is not needed (:meth:`PackageIndex.prune`)."""
    config = put_bytes(store, _EMPTY, OCI_CONFIG)
    database = put_bytes(store, b"".join(index.database()), OCI_LAYER_GZIP)
    document = put_bytes(store, compress(index.lines()), DOCUMENT_TYPE)
    database_manifest = store.put_manifest(database_manifest_bytes(config, database), OCI_MANIFEST, DATABASE_TAG)
    data = document_manifest_bytes(document, database_manifest.digest, database.digest, len(index))
    return Published(database_manifest, store.put_manifest(data, OCI_MANIFEST, DOCUMENT_TAG), database, document)


def database_manifest_bytes(config: Descriptor, database: Descriptor) -> bytes:
    return canonical_json(
        {
            "mediaType": OCI_MANIFEST,
            "schemaVersion": 2,
            "config": config.to_dict(),
            "layers": [database.to_dict()],
        }
    )


def document_manifest_bytes(document: Descriptor, named_manifest: str, named_database: str, packages: int) -> bytes:
    return canonical_json(
        {
            "mediaType": OCI_MANIFEST,
            "schemaVersion": 2,
            "artifactType": ARTIFACT_TYPE,
            "config": Descriptor.of(_EMPTY, OCI_EMPTY).to_dict(),
            "layers": [document.to_dict()],
            "annotations": {
                NAMED_DATABASE: named_database,
                PACKAGES: str(packages),
                NAMED_MANIFEST: named_manifest,
            },
        }
    )


def read_document_manifest(store: ManifestReader) -> DocumentManifest:
    """Raises NotFound, and InvalidContent when something else has the tag."""
    descriptor, data = store.get_manifest(DOCUMENT_TAG)
    what = f"{DOCUMENT_TAG} of {store.url}"
    manifest = parse_json(data, what)
    try:
        notes = manifest["annotations"]
        document = Descriptor.from_dict(manifest["layers"][0])
        found = DocumentManifest(
            descriptor, document, check_digest(notes[NAMED_MANIFEST]), check_digest(notes[NAMED_DATABASE])
        )
    except (KeyError, IndexError, TypeError, InvalidReference) as e:
        raise InvalidContent(f"{what} is no index of ours ({type(e).__name__}: {e})") from None
    if document.media_type != DOCUMENT_TYPE:
        raise InvalidContent(f"{what} has the media type {document.media_type}, not {DOCUMENT_TYPE}")
    return found


def read_document(store: BlobReader, manifest: DocumentManifest) -> bytes:
    """Our document as it is stored, compressed and verified."""
    return read_blob(store, manifest.document, MAX_DOCUMENT_SIZE)


def read_database(
    store: ContentStore, reference: str = DATABASE_TAG, known_digest: Optional[str] = None
) -> Tuple[Descriptor, Descriptor, Optional[bytes]]:
    """(manifest, database, bytes) of ``index.spack``; no bytes if they are known. Raises NotFound, InvalidContent."""
    manifest, data = store.get_manifest(reference)
    what = f"{DATABASE_TAG} of {store.url}"
    try:
        database = Descriptor.from_dict(parse_json(data, what)["layers"][0])
    except (KeyError, IndexError, TypeError) as e:
        raise InvalidContent(f"{what} is no index ({type(e).__name__}: {e})") from None
    if database.digest == known_digest:
        return manifest, database, None
    return manifest, database, read_blob(store, database, MAX_DATABASE_SIZE)


def compress(lines: Iterable[bytes]) -> bytes:
    """One zstd frame. The same lines give the same bytes (with the same libzstd: no threads, no dictionary)."""
    import zstandard  # not at the top: most of Spack's processes never read an index

    target = io.BytesIO()
    with zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(target, closefd=False) as writer:
        for line in lines:
            writer.write(line)
    return target.getvalue()


def decompress(data: bytes) -> Iterator[bytes]:
    """The lines of our document, one at a time. Raises InvalidContent."""
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            size = 0
            for line in io.BufferedReader(reader, 1 << 17):  # type: ignore[arg-type]
                size += len(line)
                if size > MAX_DATABASE_SIZE:
                    raise InvalidContent(f"the package index is larger than {MAX_DATABASE_SIZE} bytes")
                yield line
    except zstandard.ZstdError as e:
        raise InvalidContent(f"the package index is not zstd: {e}") from None


def is_current(manifest: DocumentManifest, database_manifest: Optional[Descriptor]) -> bool:
    """Whether ours was published with the ``index.spack`` that is there now."""
    return database_manifest is not None and manifest.named_manifest == database_manifest.digest
