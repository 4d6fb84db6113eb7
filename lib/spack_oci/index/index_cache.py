# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Indexes on the client's disk: fetched when they changed, used when the registry is down, asked for single packages.

::

    DIR/KEY/meta.json             what is kept (members of KnownIndex), the names of the files, when it was confirmed
    DIR/KEY/DIGEST.zst            our document, as it was fetched
    DIR/KEY/DIGEST.table          the table of its frames
    DIR/KEY/DIGEST.names          which packages have a name, in order (see ``in_place``)
    DIR/KEY/DIGEST.json           Spack's database, if our document does not give it
    DIR/KEY/DIGEST.signatures     a line for each signed package, where a policy wants to know

Files are named by what they hold and renamed into place, ``meta.json`` last, so that several processes may use and fill
one directory; whoever writes removes what ``meta.json`` no longer names. What is damaged, or was kept by another
version, counts as not kept.
"""

import contextlib
import functools
import hashlib
import os
import re
import time
from dataclasses import dataclass
from typing import Any, Callable, Collection, Dict, Mapping, Optional, TypeVar, Union

from ..content import ContentReader
from ..descriptor import canonical_json, parse_json, sha256_digest
from ..errors import InvalidContent, NotFound, SpackOciError, StorageError, TrustError
from ..util.concurrency.threads import DaemonPool
from ..util.files import atomic_write, storage_errors
from .entry import PackageEntry
from .frames import decompress
from .in_place import DocumentFiles, NodesOfPackage, Wanted, line_of_hash, names_of
from .lines import DatabaseOfLines, entries_from_lines, parse_line, read_lines
from .publish import DOCUMENT_TAG
from .read import IndexDocument, KnownIndex, NotModified, OldDocument, fetch_index
from .signature_table import SignedPackage

T = TypeVar("T")

_META = "meta.json"
#: of the others, and what their names are
_FILES = ("document", "table", "database", "names", "signatures")
_FILE = re.compile(r"(?:[0-9a-f]{16}\.[a-z]{3,10})?\Z")
_TEXTS = ("digest", "manifest", "document_digest", "database_digest", "source")
_FLAGS = ("is_named", "in_place")
#: seconds that the clocks of two machines with one home may differ; a time that is further in the future is none
_CLOCKS = 300.0
_END_OF_TIME = 1e12

#: (URL of the mirror, where its index is, what is known of it, what gives the document that is known)
Fetch = Callable[
    [str, ContentReader, Optional[KnownIndex], Callable[[], Optional[OldDocument]]], Union[IndexDocument, NotModified]
]


@dataclass(frozen=True)
class CachedIndex:
    """An index that is kept on the disk, and how sure it is that it is the current one."""

    index: IndexDocument
    #: seconds since the cache last confirmed it; 0: just now
    age: float = 0.0
    #: why it could not be confirmed, when it is used nevertheless
    failure: Optional[SpackOciError] = None
    #: why it could not be kept for the next time
    not_kept: Optional[StorageError] = None

    @property
    def warning(self) -> str:
        """One line for the user when the index may be out of date or was not kept, else empty."""
        if self.failure is None:
            return "" if self.not_kept is None else str(self.not_kept)
        return f"using an index that is {describe_age(self.age)} old, because {self.failure}"


def _none_if_not_kept(read: "Callable[..., Optional[T]]") -> "Callable[..., Optional[T]]":
    """Around a method that reads what is kept for a URL, its first argument: None for what is gone or damaged."""

    @functools.wraps(read)
    def checked(self: "IndexCache", url: str, *arguments: Any) -> Optional[T]:
        try:
            return read(self, url, *arguments)
        except (FileNotFoundError, ValueError, InvalidContent):  # ValueError: an empty file cannot be mapped
            return None
        except OSError as e:
            raise StorageError.from_os_error(f"reading the cached index of {url}", e) from e

    return checked


class IndexCache:
    """``directory`` is made when something is kept. All methods raise StorageError for the disk's own troubles."""

    def __init__(self, directory: str, now: Callable[[], float] = time.time, fetch: Optional[Fetch] = None) -> None:
        """``fetch``: how the index of a mirror is fetched; default: :func:`fetch_index`."""
        self._directory = directory
        self._now = now
        self._fetch = fetch

    def fetch(self, url: str, store: ContentReader, known: Optional[KnownIndex]) -> Union[IndexDocument, NotModified]:
        """What the mirror has now. Raises what :func:`fetch_index` raises, and TrustError."""

        def old_document() -> Optional[OldDocument]:
            return self.old_document(url)

        if self._fetch is None:
            return fetch_index(store, known, old_document)
        return self._fetch(url, store, known, old_document)

    @_none_if_not_kept
    def load(self, url: str) -> Optional[CachedIndex]:
        """What is kept for a mirror. None: nothing, or nothing that can be read."""
        meta = self._meta(url)
        if meta is None or (meta["document_digest"] and not meta["document"]):
            return None
        document = self._read_verified(url, meta, "document") if meta["document"] else None
        index = IndexDocument(
            self._read_verified(url, meta, "database")
            if meta["database"]
            else DatabaseOfLines(lambda: decompress(document or b""), meta["digest"], is_checked=True),
            meta["digest"],
            meta["manifest"],
            meta["source"],
            document,
            is_named=meta["is_named"],
            table=self._read(url, meta["table"]) if meta["table"] else b"",
        )
        return CachedIndex(index, self._age(meta))

    def known(self, url: str) -> Optional[KnownIndex]:
        """What is kept, without reading it. None also where a file is gone, as one that two processes have replaced at
        once: it would be missing as long as the index stays as it is."""
        meta = self._meta(url)
        if meta is None or not all(os.path.exists(self._path(url, meta[key])) for key in _FILES):
            return None
        return KnownIndex(meta["digest"], meta["manifest"], meta["document_digest"], meta["is_named"], meta["source"])

    def old_document(self, url: str) -> Optional[OldDocument]:
        """For a fetch of what changed since; None: nothing that can be read."""
        try:
            meta = self._meta(url)
            if meta is None or not meta["document"] or not meta["table"]:
                return None
            return OldDocument(self._read(url, meta["document"]), self._read(url, meta["table"]))
        except (OSError, StorageError):
            return None

    def age(self, url: str) -> float:
        """Seconds since what is kept was fetched or confirmed; infinite if nothing is."""
        meta = self._meta(url)
        return float("inf") if meta is None else self._age(meta)

    def _age(self, meta: Mapping[str, Any]) -> float:
        elapsed = self._now() - meta["checked"]
        # when the clock was wrong, nobody knows
        return max(0.0, elapsed) if elapsed > -_CLOCKS else float("inf")

    def is_current(self, url: str) -> bool:
        """Whether what is kept tells of the manifests that the tags had when it was confirmed. Not so where a Spack
        without this extension wrote the index last: it may have pushed packages again."""
        return (self._meta(url) or {}).get("source") == DOCUMENT_TAG

    def keep(self, url: str, index: IndexDocument) -> None:
        known = index.known
        # of all that is kept: the documents of two indexes with one database may differ
        stem = hashlib.sha256(f"{known.digest} {known.document}".encode()).hexdigest()[:16]
        document = f"{stem}.zst" if index.document is not None else ""
        table = f"{stem}.table" if index.table else ""
        # ours gives the database, unless it is older, or has packages that Spack could not read
        whole = index.source == DOCUMENT_TAG and not index.left_out and not index.is_filtered
        database, data = ("", b"") if whole else (f"{stem}.json", index.data)
        signatures = f"{stem}.signatures" if index.signatures else ""
        names = f"{stem}.names" if index.table else ""
        meta = {
            "url": url,
            "digest": known.digest,
            "manifest": known.manifest,
            "document_digest": known.document,
            "is_named": known.is_named,
            "source": index.source,
            "checked": self._now(),
            # of the file: Spack's may be without what it cannot read
            "database_digest": sha256_digest(data),
            "document": document,
            "table": table,
            "database": database,
            "names": names,
            "signatures": signatures,
            # what the document has of a package is what the database has of it
            "in_place": index.source == DOCUMENT_TAG and not index.left_out and not index.hides,
        }
        with storage_errors(f"keeping the index of {url}"):
            os.makedirs(self._path(url), exist_ok=True)
            if document:
                self._write(url, document, index.document or b"")
            if table:
                self._write(url, table, index.table)
            if database:
                self._write(url, database, data)
            if signatures:
                self._write(url, signatures, index.signatures)
            if names:
                lines = read_lines(decompress(index.document or b""))[1]
                self._write(url, names, names_of(map(parse_line, lines)))
            self._write(url, _META, canonical_json(meta))
            self._remove_others(url, {document, table, database, names, signatures, _META})

    def confirm(self, url: str) -> None:
        """The registry has just said that what is kept is current."""
        meta = self._meta(url)
        if meta is not None:
            with storage_errors(f"keeping the index of {url}"):
                self._write(url, _META, canonical_json({**meta, "checked": self._now()}))

    def drop(self, url: str) -> None:
        """Forget what is kept: the registry has just said that there is no index."""
        with storage_errors(f"dropping the index of {url}"), contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(url, _META))

    def lookup(self, url: str, dag_hash: str) -> Optional[PackageEntry]:
        """What is known of one package, in about a millisecond whatever the size of the index."""
        return self.lookup_all(url, [dag_hash]).get(dag_hash)

    def lookup_all(self, url: str, hashes: Collection[str]) -> Dict[str, PackageEntry]:
        """The same of several, by DAG hash, in a tenth of the time that it takes to ask for one after the other. What
        was asked for once is remembered."""
        return self._lookup_all(url, hashes) or {}

    @_none_if_not_kept
    def _lookup_all(self, url: str, hashes: Collection[str]) -> Optional[Dict[str, PackageEntry]]:
        meta = self._meta(url)
        if meta is None or not meta["document"]:
            return None
        files = self._files(url, meta)
        if files is None:  # an older document
            return entries_from_lines(decompress(self._read_verified(url, meta, "document")), set(hashes))
        known = _entries_known(files.document)
        for data in files.lines([dag_hash for dag_hash in hashes if dag_hash not in known]):
            with contextlib.suppress(InvalidContent):  # of this package alone
                line = parse_line(data)
                if line.package is not None:
                    known[line.dag_hash] = PackageEntry.from_dict(line.package)
        return {dag_hash: known[dag_hash] for dag_hash in hashes if dag_hash in known}

    @_none_if_not_kept
    def lookup_signatures(self, url: str, dag_hash: str) -> Optional[SignedPackage]:
        """What is known of the signatures of one package."""
        meta = self._meta(url)
        if meta is None or not meta["signatures"]:
            return None
        line = line_of_hash(self._path(url, meta["signatures"]), dag_hash)
        return SignedPackage.from_line(line)[1] if line is not None else None

    @_none_if_not_kept
    def packages_by_hash(self, url: str, prefix: str) -> Optional[Dict[str, NodesOfPackage]]:
        """DAG hash -> nodes, of the packages whose hash begins so; cost: as :meth:`lookup`. None also where what is
        kept cannot be looked up in place.
        """
        meta = self._meta(url)
        files = self._files(url, meta) if meta is not None else None
        if meta is None or files is None or not meta["in_place"]:
            return None
        return files.packages_by_hash(prefix)

    @_none_if_not_kept
    def load_part(self, url: str, wanted: Wanted) -> Optional[CachedIndex]:
        """As :meth:`load`, some packages and what they need only, in a time that does not grow with the index. None
        also where what is kept cannot be read in part.
        """
        meta = self._meta(url)
        files = self._files(url, meta) if meta is not None else None
        if meta is None or files is None or meta["database"]:
            return None
        part = files.part(wanted)
        index = IndexDocument(part.data, part.digest, meta["manifest"], meta["source"], part.document)
        return CachedIndex(index, self._age(meta))

    def _files(self, url: str, meta: Mapping[str, Any]) -> Optional[DocumentFiles]:
        files = [meta[key] for key in ("document", "table", "names")]
        return DocumentFiles(*(self._path(url, name) for name in files)) if all(files) else None

    def _path(self, url: str, *names: str) -> str:
        return os.path.join(self._directory, _directory_of(url), *names)

    def _meta(self, url: str) -> Optional[Mapping[str, Any]]:
        path = self._path(url, _META)
        try:
            status = os.stat(path)
            # several times for each package of an install, and hardly ever another one
            meta = _read_meta(path, status.st_ino, status.st_mtime_ns, status.st_size)
        except (FileNotFoundError, NotADirectoryError, InvalidContent):
            return None
        except OSError as e:
            raise StorageError.from_os_error(f"reading the cached index of {url}", e) from e
        return meta if meta is not None and meta["url"] == url else None

    def _read_verified(self, url: str, meta: Mapping[str, Any], label: str) -> bytes:
        data = self._read(url, meta[label])
        if sha256_digest(data) != meta[f"{label}_digest"]:
            raise InvalidContent(f"the cached index of {url} is damaged")
        return data

    def _read(self, url: str, name: str) -> bytes:
        with open(self._path(url, name), "rb") as f:
            return f.read()

    def _write(self, url: str, name: str, data: bytes) -> None:
        with atomic_write(self._path(url, name)) as f:
            f.write(data)

    def _remove_others(self, url: str, names: "set[str]") -> None:
        before = time.time() - 3600
        for name in os.listdir(self._path(url)):
            path = self._path(url, name)
            # what a process is still reading stays readable; what one is writing is not an hour old
            with contextlib.suppress(FileNotFoundError):
                if name not in names and (not name.startswith(".") or os.stat(path).st_mtime < before):
                    os.unlink(path)


@functools.lru_cache(maxsize=64)
def _directory_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:20]


@functools.lru_cache(maxsize=8)
def _entries_known(document: str) -> Dict[str, PackageEntry]:
    """By DAG hash, what this process has looked up in a file whose content never changes: an install plans with all
    entries at once, and then asks for each of them again."""
    return {}


@functools.lru_cache(maxsize=16)
def _read_meta(path: str, *identity: int) -> Optional[Mapping[str, Any]]:
    """``identity``: what changes when the file is replaced. Raises OSError, InvalidContent."""
    with open(path, "rb") as f:
        meta = parse_json(f.read(), "the cached index")
    return meta if _is_meta(meta) else None


def _is_meta(meta: Mapping[str, Any]) -> bool:
    """Whether it has what :meth:`IndexCache.keep` writes, and names files of its own directory only."""
    checked = meta.get("checked")
    return (
        all(isinstance(meta.get(key), str) for key in ("url", *_TEXTS, *_FILES))
        and all(_FILE.match(meta[key]) for key in _FILES)
        and all(isinstance(meta.get(key), bool) for key in _FLAGS)
        and isinstance(checked, (int, float))
        and not isinstance(checked, bool)
        and abs(checked) < _END_OF_TIME
        and bool(meta["document"] or meta["database"])
    )


def refresh_index(cache: IndexCache, url: str, store: ContentReader) -> Union[IndexDocument, NotModified]:
    """Make what is kept for a mirror what the mirror has now: one request if nothing changed. What is new is returned,
    also if it could not be kept.

    Raises NotFound when the mirror has no index, after which nothing is kept; and what :func:`fetch_index` raises.
    """
    try:
        found = cache.fetch(url, store, cache.known(url))
    except NotFound:
        cache.drop(url)
        raise
    if isinstance(found, NotModified):
        cache.confirm(url)
    else:
        cache.keep(url, found)
    return found


def load_index(
    cache: IndexCache,
    url: str,
    open_store: Callable[[], ContentReader],
    *,
    ttl: float = 600.0,
    wanted: Optional[Wanted] = None,
) -> CachedIndex:
    """The index of one mirror: the kept one if it was confirmed less than ``ttl`` seconds ago, else asked for.

    ``wanted``: only these packages are needed; the result may have only them, and what they need.

    A registry that cannot be reached, or refuses, is no reason to do without what is kept; the result then says why it
    may be old (``failure``). Raises that failure when nothing is kept, and NotFound when the mirror has no index: that
    is an answer, after which a kept one is wrong.
    """

    def load() -> Optional[CachedIndex]:
        return (cache.load_part(url, wanted) if wanted is not None else None) or cache.load(url)

    try:
        known = cache.known(url)
        if known is not None and cache.age(url) < ttl:
            kept = load()
            if kept is not None:
                return kept
    except StorageError:  # of another user, say
        known = None
    try:
        found = cache.fetch(url, open_store(), known)
        if isinstance(found, NotModified):
            kept = load()
            if kept is not None:
                try:
                    cache.confirm(url)
                except StorageError as e:
                    return CachedIndex(kept.index, not_kept=e)
                return CachedIndex(kept.index)
            found = cache.fetch(url, open_store(), None)
    except (NotFound, TrustError):
        raise
    except SpackOciError as e:
        kept = load() if known is not None else None
        if kept is None:
            raise
        return CachedIndex(kept.index, kept.age, e)
    assert isinstance(found, IndexDocument)
    try:
        cache.keep(url, found)
    except StorageError as e:
        return CachedIndex(found, not_kept=e)
    part = cache.load_part(url, wanted) if wanted is not None else None
    return CachedIndex(found) if part is None else CachedIndex(part.index)


def load_indexes(
    cache: IndexCache,
    stores: Mapping[str, Callable[[], ContentReader]],
    *,
    ttl: float = 600.0,
    jobs: int = 8,
    wanted: Optional[Wanted] = None,
) -> Dict[str, Union[CachedIndex, SpackOciError]]:
    """The indexes of several mirrors at once, by URL in the order given; a mirror that fails has its error."""

    def load(url: str) -> Union[CachedIndex, SpackOciError]:
        try:
            return load_index(cache, url, stores[url], ttl=ttl, wanted=wanted)
        except SpackOciError as e:
            return e
        except Exception as e:  # content that no check foresaw must not keep the other mirrors out
            return InvalidContent(f"the index of {url} cannot be understood ({type(e).__name__}: {ascii(e)[:200]})")

    if not stores:
        return {}
    with DaemonPool(min(jobs, len(stores)), "load-index") as pool:
        return dict(zip(stores, pool.map(load, stores)))


def describe_age(seconds: float) -> str:
    """``"3 minutes"``."""
    if seconds == float("inf"):
        return "an unknown time"
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} seconds"
