# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The two index manifests of a build cache: their tags, media types and bytes, reading them and publishing them.

``index.spack`` is what every Spack reads: an image manifest whose one "layer" is the JSON of a database. It has the
media type of a tarball because Spack's reader asks for that. ``spack-oci.index`` is ours: an artifact manifest
(image-spec, guidelines for artifact usage) whose layers are our document and the table of its frames.

Each names the other. Annotations of ours name the manifest of ``index.spack`` and the database in it, so that a reader
knows whether ours is current. An annotation of ``index.spack`` names our document: Spack's database does not say which
manifests the packages have, so it alone would not change when a package is pushed again with other content. With the
annotation, one HEAD of ``index.spack`` tells a reader whether anything changed.

Ours is published last: until then, and when a Spack without this extension has overwritten ``index.spack``, ours names
another manifest than the one that is there, and readers take ``index.spack``.
"""

import contextlib
import hashlib
import tempfile
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..content import BytesSource, ContentReader, FileSource, Presence, RepositoryWriter, put_bytes, read_blob
from ..content.interfaces import BlobReader, ManifestReader
from ..descriptor import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    parse_json,
)
from ..errors import IndexUpdateError, InvalidContent, ResponseError
from ..util.files import storage_errors
from ..util.schemas import validate
from .frames import MAX_DATABASE_SIZE, compressed_frames, decompress, table_entry
from .model import PackageIndex
from .signature_table import MAX_SIGNATURES_SIZE, SIGNATURES_TYPE, SignatureTable, compress_table, table_of_lines

#: Spack's index
DATABASE_TAG = "index.spack"
#: ours; it does not end in ``.spack``, or Spack would take it for a package
DOCUMENT_TAG = "spack-oci.index"

ARTIFACT_TYPE = "application/vnd.spack-oci.index.v1"
DOCUMENT_TYPE = "application/vnd.spack-oci.index.v2.jsonl+zstd"
TABLE_TYPE = "application/vnd.spack-oci.index.v2.frames"
#: read, not written: one frame, no table
_OLDER_TYPE = "application/vnd.spack-oci.index.v1.jsonl+zstd"

NAMED_MANIFEST = "org.spack-oci.index.spack"
NAMED_DATABASE = "org.spack-oci.index.database"
#: in the manifest of ``index.spack``: digest of our document. In ours: the same, if ``index.spack`` has it
NAMED_DOCUMENT = "org.spack-oci.index.document"
PACKAGES = "org.spack-oci.index.packages"
#: what a key says of the index (:mod:`spack_oci.trust.statement`), and its signature
STATEMENT = "org.spack-oci.index.statement"
STATEMENT_SIGNATURE = "org.spack-oci.index.statement.signature"

MAX_DOCUMENT_SIZE = 1 << 30
MAX_TABLE_SIZE = 32 << 20
_EMPTY = b"{}"

#: distribution-spec has no code for it; ECR says TAG_INVALID, others only say so in words
_IMMUTABLE_CODES = {"TAG_INVALID", "TAG_IMMUTABLE", "MANIFEST_IMMUTABLE"}


class DocumentManifest(NamedTuple):
    """What the manifest under ``spack-oci.index`` says."""

    descriptor: Descriptor
    document: Descriptor
    #: digest of the manifest of ``index.spack`` that it was published with
    named_manifest: str
    #: digest of the database in that
    named_database: str
    #: ``index.spack`` names our document too: it changes whenever ours does
    is_named: bool
    #: the table of the document's frames; None in an older index
    table: Optional[Descriptor]
    #: the layer with the signatures of packages, if there is one
    signatures: Optional[Descriptor] = None
    #: what a key says of the index, and its signature (base64), as they stand there; empty: nobody has signed it
    statement: str = ""
    statement_signature: str = ""


#: (digest of the document, of the layer with signatures or None) -> (statement, signature), as in DocumentManifest
SignStatement = Callable[[str, Optional[str]], Tuple[str, str]]


class Published(NamedTuple):
    """What was written. Sizes in bytes."""

    database_manifest: Descriptor
    document_manifest: Descriptor
    database: Descriptor
    document: Descriptor


def publish(
    store: RepositoryWriter,
    index: PackageIndex,
    signatures: Optional[SignatureTable] = None,
    sign: Optional[SignStatement] = None,
    overtaken: Callable[[], bool] = lambda: False,
) -> Optional[Published]:
    """Write both documents, ours last. The index holds no node that is not needed (:meth:`PackageIndex.prune`).

    ``signatures``: of its packages; ``sign``: makes a statement about the index; None: it is not signed.
    ``overtaken``: asked when all is there but the tags; if so, they stay as they are, and the result is None.
    Raises IndexUpdateError where the tags of a repository cannot be moved, and the errors of the store.
    """
    config = put_bytes(store, _EMPTY, OCI_CONFIG)
    database = _put_pieces(store, index.database(), OCI_LAYER_GZIP)
    document, table, signed = _put_layers(store, index.lines(database), signatures)
    if overtaken():
        return None
    with _immutable_tags_named(store):
        data = database_manifest_bytes(config, database, document)
        database_manifest = store.put_manifest(data, OCI_MANIFEST, DATABASE_TAG)
        data = document_manifest_bytes(
            document, table, database_manifest.digest, database.digest, len(index), signed, sign
        )
        document_manifest = store.put_manifest(data, OCI_MANIFEST, DOCUMENT_TAG)
    return Published(database_manifest, document_manifest, database, document)


def publish_document(
    store: RepositoryWriter,
    tag: str,
    index: PackageIndex,
    signatures: Optional[SignatureTable] = None,
    sign: Optional[SignStatement] = None,
) -> Descriptor:
    """Write ours alone, under another tag: an index beside that of the cache. What stands for the manifest of
    ``index.spack``, of which there is none, is the digest of the document. Arguments and errors as :func:`publish`."""
    put_bytes(store, _EMPTY, OCI_EMPTY)
    database = Descriptor(OCI_LAYER_GZIP, *index.database_digest())
    document, table, signed = _put_layers(store, index.lines(database), signatures)
    data = document_manifest_bytes(document, table, document.digest, database.digest, len(index), signed, sign)
    with _immutable_tags_named(store):
        return store.put_manifest(data, OCI_MANIFEST, tag)


def _put_layers(
    store: RepositoryWriter, lines: Iterable[bytes], signatures: Optional[SignatureTable]
) -> Tuple[Descriptor, Descriptor, Optional[Descriptor]]:
    """Document, table of its frames, and signatures."""
    entries: List[bytes] = []

    def frames() -> Iterator[bytes]:
        for frame in compressed_frames(lines):
            entries.append(table_entry(frame))
            yield frame

    document = _put_pieces(store, frames(), DOCUMENT_TYPE)
    table = _put_new(store, b"".join(entries), TABLE_TYPE)
    signed = _put_new(store, compress_table(signatures), SIGNATURES_TYPE) if signatures else None
    return document, table, signed


def _put_new(store: RepositoryWriter, data: bytes, media_type: str) -> Descriptor:
    """What was not there before, most likely."""
    descriptor = Descriptor.of(data, media_type)
    store.put_blob(descriptor, BytesSource(data), presence=Presence.UNLIKELY)
    return descriptor


def _put_pieces(store: RepositoryWriter, pieces: Iterable[bytes], media_type: str) -> Descriptor:
    """The same for what is too large to be in memory beside the index that it is made of: by way of a file."""
    with contextlib.ExitStack() as stack:
        with storage_errors("writing the index to a temporary file"):
            f = stack.enter_context(tempfile.NamedTemporaryFile("wb"))
            hasher, size = hashlib.sha256(), 0
            for piece in pieces:
                f.write(piece)
                hasher.update(piece)
                size += len(piece)
            f.flush()
        descriptor = Descriptor(media_type, f"sha256:{hasher.hexdigest()}", size)
        store.put_blob(descriptor, FileSource(f.name), presence=Presence.UNLIKELY)
        return descriptor


@contextlib.contextmanager
def _immutable_tags_named(store: RepositoryWriter) -> Iterator[None]:
    """ECR: https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html"""
    try:
        yield
    except ResponseError as e:
        if not (_IMMUTABLE_CODES & set(e.codes) or "immutable" in e.message.lower()):
            raise
        raise IndexUpdateError(
            f"the tags of {store.url} are immutable, so its index cannot be renewed ({e.message})",
            remedy=f"exempt the tags {DATABASE_TAG} and {DOCUMENT_TAG} (in ECR: an exclusion filter for each), or keep"
            " the index in another repository with oci:index:repository",
        ) from e


def database_manifest_bytes(config: Descriptor, database: Descriptor, document: Descriptor) -> bytes:
    return canonical_json(
        {
            "mediaType": OCI_MANIFEST,
            "schemaVersion": 2,
            "config": config.to_dict(),
            "layers": [database.to_dict()],
            "annotations": {NAMED_DOCUMENT: document.digest},
        }
    )


def document_manifest_bytes(
    document: Descriptor,
    table: Optional[Descriptor],
    named_manifest: str,
    named_database: str,
    packages: int,
    signatures: Optional[Descriptor] = None,
    sign: Optional[SignStatement] = None,
) -> bytes:
    """``signatures``: the layer of those of packages, if there are any; ``sign``: makes a statement about both."""
    statement: Dict[str, str] = {}
    if sign is not None:
        text, signature = sign(document.digest, signatures.digest if signatures else None)
        statement = {STATEMENT: text, STATEMENT_SIGNATURE: signature}
    return canonical_json(
        {
            "mediaType": OCI_MANIFEST,
            "schemaVersion": 2,
            "artifactType": ARTIFACT_TYPE,
            "config": Descriptor.of(_EMPTY, OCI_EMPTY).to_dict(),
            "layers": [layer.to_dict() for layer in (document, table, signatures) if layer is not None],
            "annotations": {
                NAMED_DATABASE: named_database,
                NAMED_DOCUMENT: document.digest,
                PACKAGES: str(packages),
                NAMED_MANIFEST: named_manifest,
                **statement,
            },
        }
    )


def read_document_manifest(store: ManifestReader, tag: str = DOCUMENT_TAG) -> DocumentManifest:
    """Raises NotFound, and InvalidContent when something else has the tag."""
    descriptor, data = store.get_manifest(tag)
    label = f"{tag} of {store.url}"
    manifest = validate(parse_json(data, label), "index-manifest", label)
    annotations = manifest["annotations"]
    document, *others = (Descriptor.from_dict(layer) for layer in manifest["layers"])
    found = DocumentManifest(
        descriptor,
        document,
        annotations[NAMED_MANIFEST],
        annotations[NAMED_DATABASE],
        annotations.get(NAMED_DOCUMENT) == document.digest,
        next((other for other in others if other.media_type == TABLE_TYPE), None),
        next((other for other in others if other.media_type == SIGNATURES_TYPE), None),
        annotations.get(STATEMENT, ""),
        annotations.get(STATEMENT_SIGNATURE, ""),
    )
    if document.media_type not in (DOCUMENT_TYPE, _OLDER_TYPE):
        raise InvalidContent(f"{label} has the media type {ascii(document.media_type)[:80]}, not {DOCUMENT_TYPE}")
    return found


def read_signatures(store: BlobReader, manifest: DocumentManifest) -> bytes:
    """The layer with the signatures of packages as it is stored, compressed and verified; empty if there is none."""
    return b"" if manifest.signatures is None else read_blob(store, manifest.signatures, MAX_SIGNATURES_SIZE)


def signature_table(data: bytes) -> SignatureTable:
    """What :func:`read_signatures` returned, as a table. Raises InvalidContent."""
    return table_of_lines(decompress(data)) if data else {}


def read_document(store: BlobReader, manifest: DocumentManifest) -> bytes:
    """Our document as it is stored, compressed and verified."""
    return read_blob(store, manifest.document, MAX_DOCUMENT_SIZE)


def read_database(
    store: ContentReader, reference: str = DATABASE_TAG, known_digest: Optional[str] = None
) -> Tuple[Descriptor, Descriptor, Optional[bytes]]:
    """(manifest, database, bytes) of ``index.spack``; no bytes if they are known. Raises NotFound, InvalidContent."""
    manifest, data = store.get_manifest(reference)
    label = f"{DATABASE_TAG} of {store.url}"
    database = Descriptor.from_dict(validate(parse_json(data, label), "package-manifest", label)["layers"][0])
    if database.digest == known_digest:
        return manifest, database, None
    return manifest, database, read_blob(store, database, MAX_DATABASE_SIZE)


def document_named_by(database_manifest: bytes) -> str:
    """The digest of our document that a manifest of ``index.spack`` names; empty: none. Raises InvalidContent."""
    annotations = parse_json(database_manifest, DATABASE_TAG).get("annotations")
    named = annotations.get(NAMED_DOCUMENT) if isinstance(annotations, dict) else None
    return named if isinstance(named, str) else ""


def is_current(manifest: DocumentManifest, database_manifest: Optional[Descriptor]) -> bool:
    """Whether ours was published with the ``index.spack`` that is there now."""
    return database_manifest is not None and manifest.named_manifest == database_manifest.digest
