# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the index of a build cache: ours when it is current, else Spack's."""

from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Union

from ..content import ContentReader, ReadsRanges, read_blob
from ..content.interfaces import TagLister
from ..descriptor import Descriptor, parse_json, sha256_digest
from ..errors import DigestMismatch, InvalidContent, NotFound, SpackOciError, UnexpectedResponse
from ..util.concurrency.threads import DaemonPool
from .database import check_database, checked_database_of_lines
from .entry import PackageEntry
from .frames import assemble, decompress, missing_spans, read_table
from .lines import DatabaseOfLines, entries_from_lines, packages_of_lines, parse_line, read_lines
from .packed_nodes import IndexedNode
from .publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    MAX_TABLE_SIZE,
    DocumentManifest,
    is_current,
    read_database,
    read_document,
    read_document_manifest,
)


class KnownIndex(NamedTuple):
    """What a reader has of an index, so that it is fetched again only when it changed."""

    #: of the database
    digest: str
    #: digest of the manifest of ``index.spack``
    manifest: str
    #: digest of our document; empty: none
    document: str
    #: whether the manifest of ``index.spack`` changes whenever any of this does
    is_named: bool
    #: the tag that it came from
    source: str


@dataclass(frozen=True)
class IndexDocument:
    """An index that was fetched."""

    #: the JSON of a Spack database without the records that Spack could not read, or what gives it
    database: Union[bytes, DatabaseOfLines] = field(repr=False)
    #: digest of the database as it is stored: what Spack keeps as the hash of an index
    digest: str
    #: digest of the manifest of ``index.spack``
    manifest: str
    #: the tag it came from
    source: str
    #: our document as it is stored (zstd), if there is one; it may be older than ``database``
    document: Optional[bytes] = field(default=None, repr=False)
    #: why ours was not used, if it was not
    fallback: str = ""
    #: whether ``manifest`` changes whenever our document does
    is_named: bool = True
    #: the table of the document's frames; empty: none
    table: bytes = field(default=b"", repr=False)
    #: label of a package that is not in ``database`` because Spack could not read it -> why
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: a line for each signed package (:mod:`.signature_table`); empty: not fetched
    signatures: bytes = field(default=b"", repr=False)
    #: it was read under a policy, and ``digest`` is not that of the database
    is_filtered: bool = False
    #: packages of ``document`` are not in ``database``, as the policy does not accept them
    hides: bool = False

    @property
    def data(self) -> bytes:
        """The JSON of the database, made anew each time; 1.5 kB a package."""
        return self.database if isinstance(self.database, bytes) else self.database.read()

    def pieces(self) -> Iterator[bytes]:
        """The same, a piece at a time; each is whole characters."""
        return iter([self.database]) if isinstance(self.database, bytes) else self.database.pieces()

    def nodes(self) -> Iterator[IndexedNode]:
        """All nodes, one at a time where our document gives the database. Raises InvalidContent."""
        if isinstance(self.database, DatabaseOfLines):
            _, lines = read_lines(decompress(self.document or b""))
            for line in map(parse_line, lines):
                yield IndexedNode(line.dag_hash, line.spec, line.package, line.package is not None)
            return
        packages = packages_of_lines(decompress(self.document)) if self.document is not None else {}
        for dag_hash, install in parse_json(self.data, "the index")["database"]["installs"].items():
            is_cached = bool(install.get("in_buildcache"))
            yield IndexedNode(dag_hash, install["spec"], packages.get(dag_hash) if is_cached else None, is_cached)

    @property
    def database_version(self) -> str:
        """Of Spack's database."""
        if isinstance(self.database, DatabaseOfLines):
            return self.database.version
        return str(parse_json(self.database, "the index")["database"]["version"])

    @property
    def known(self) -> KnownIndex:
        document = "" if self.document is None else sha256_digest(self.document)
        return KnownIndex(self.digest, self.manifest, document, self.is_named, self.source)

    def entries(self, hashes: Optional[Iterable[str]] = None) -> Dict[str, PackageEntry]:
        """What is known of the packages with these DAG hashes (None: of all). Empty without a document of ours."""
        return entries_of_document(self.document, hashes) if self.document is not None else {}


class NotModified(NamedTuple):
    """The index is the one that the caller has."""

    digest: str


class OldDocument(NamedTuple):
    """A document of ours that the caller has, as it was stored, and the table of its frames."""

    document: bytes
    table: bytes


def fetch_index(
    store: ContentReader,
    known: Optional[KnownIndex] = None,
    old_document: Callable[[], Optional[OldDocument]] = lambda: None,
) -> Union[IndexDocument, NotModified]:
    """The index of a build cache, as the JSON that Spack's database code reads.

    ``known``: what the caller has; an unchanged index costs one HEAD request then. ``old_document``: gives the document
    of it, so that only the frames are downloaded that changed, where the store reads ranges. Ours is taken when it was
    published together with the ``index.spack`` that is there: it is a tenth of the size and gives the same bytes. When
    it is stale, damaged or absent, Spack's is.

    Raises NotFound when there is no index, InvalidContent when there is one that cannot be read.
    """
    try:
        current: Optional[Descriptor] = store.resolve(DATABASE_TAG)
    except NotFound:
        current = None
    if known is not None and known.is_named and current is not None and current.digest == known.manifest:
        return NotModified(known.digest)
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
        if known is not None and (known.digest, known.document) == (ours.named_database, ours.document.digest):
            return NotModified(known.digest)
        try:
            return fetch_document(store, ours, old_document)
        except (NotFound, InvalidContent, DigestMismatch) as e:
            if current is None:
                raise
            ours, reason = None, e.message
    assert current is not None
    return _fetch_database(store, current, ours, known, reason)


def index_missing(
    open_store: Callable[[], TagLister], url: str, remedy: str, hint: Callable[[], str] = lambda: ""
) -> NotFound:
    """The error for a cache that has no index: another one where there is nothing at all, as under a mistyped name, or
    in a repository that is yet to be made. ``remedy``: where packages are; ``hint``: what to say where none are."""
    try:
        is_empty = not any(True for _ in open_store().tags())
    except SpackOciError:
        is_empty = False
    if is_empty:
        return NotFound(f"{url} has neither packages nor an index", remedy=f"{hint()}check the name; a push fills it")
    return NotFound(f"{url} has no index", remedy=remedy)


def fetch_document(
    store: ContentReader,
    ours: DocumentManifest,
    old_document: Callable[[], Optional[OldDocument]] = lambda: None,
) -> IndexDocument:
    """Ours, whatever Spack's is. Raises NotFound, InvalidContent, DigestMismatch."""
    table = read_blob(store, ours.table, MAX_TABLE_SIZE) if ours.table is not None else b""
    document = _assembled(store, ours.document, table, old_document())
    if document is None:
        document = read_document(store, ours)
    label = f"{DOCUMENT_TAG} of {store.url}"
    checked = checked_database_of_lines(lambda: decompress(document), ours.named_database, label)
    return IndexDocument(
        checked.data,
        ours.named_database,
        ours.named_manifest,
        DOCUMENT_TAG,
        document,
        is_named=ours.is_named,
        table=table,
        left_out=checked.left_out,
    )


def _assembled(store: ContentReader, document: Descriptor, table: bytes, old: Optional[OldDocument]) -> Optional[bytes]:
    """The document out of an old one and the frames that changed; None if that is not possible or not worth it."""
    if old is None or not table or not old.table or not isinstance(store, ReadsRanges):
        return None
    reader: ReadsRanges = store
    try:
        frames, old_frames = read_table(table, document.size), read_table(old.table, len(old.document))
        spans = missing_spans(old_frames, frames)
        if sum(stop - start for start, stop in spans) > document.size * _WORTH_RANGES or len(spans) > _MAX_SPANS:
            return None
        with DaemonPool(min(_RANGES, max(1, len(spans))), "index") as pool:
            pieces = dict(zip(spans, pool.map(lambda span: reader.read_range(document, *span), spans)))
        found = assemble(old.document, old_frames, frames, lambda start, stop: pieces[start, stop])
    except (InvalidContent, UnexpectedResponse):
        return None
    return found if sha256_digest(found) == document.digest else None


#: more than this part of a document is not worth the requests, nor are more requests
_WORTH_RANGES = 0.5
_MAX_SPANS = 200
#: at the same time
_RANGES = 8


def _fetch_database(
    store: ContentReader,
    current: Descriptor,
    ours: Optional[DocumentManifest],
    known: Optional[KnownIndex],
    reason: str,
) -> Union[IndexDocument, NotModified]:
    """Spack's index; an older document of ours still helps to find packages that have not changed since."""
    known_digest = None
    # one that came with a document of ours is now without it, which a reader has to be told
    if known is not None and known.source == DATABASE_TAG and known.document == (ours.document.digest if ours else ""):
        known_digest = known.digest
    manifest, database, data = read_database(store, current.digest, known_digest)
    if data is None:
        return NotModified(database.digest)
    checked = check_database(data, f"{DATABASE_TAG} of {store.url}")
    document = None
    if ours is not None:
        try:
            document = read_document(store, ours)
            entries_of_document(document, ())  # readable from the first line to the last
        except (NotFound, InvalidContent, DigestMismatch) as e:
            document, reason = None, e.message
    return IndexDocument(
        checked.data, database.digest, manifest.digest, DATABASE_TAG, document, reason, left_out=checked.left_out
    )


def entries_of_document(document: bytes, hashes: Optional[Iterable[str]] = None) -> Dict[str, PackageEntry]:
    """DAG hash -> what our document (compressed) says of the package. Raises InvalidContent."""
    return entries_from_lines(decompress(document), None if hashes is None else set(hashes))
