# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a cache has: its tags by kind, and what its index says of its packages."""

import contextlib
import functools
import io
import re
import shlex
import sys
import time
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Set, Tuple

from ...content.blob_cache import BlobCache
from ...content.interfaces import RepositoryReader, RepositoryWriter
from ...descriptor import Descriptor, check_digest, sha256_digest
from ...errors import ConfigurationError, DigestMismatch, InvalidContent, InvalidReference, NotFound, StorageError
from ...index.condemned import PLAN_TAG, read_plan
from ...index.frames import decompress
from ...index.lines import parse_line, read_lines
from ...index.model import PackageIndex
from ...index.publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DocumentManifest,
    document_named_by,
    is_current,
    read_document,
    read_document_manifest,
)
from ...index.signature_table import SIGNED_PREFIX
from ...index.snapshots import SNAPSHOT_PREFIX
from ...index.update.loop import UpdateSettings, update_index
from ...package.record import is_package_tag
from ...reference import check_tag

#: tags that belong to a manifest: signatures, attestations and SBOMs of cosign, and the fallback of the referrers API
#: (distribution-spec, "Referrers Tag Schema")
_ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?\Z")

#: tags of pins: see :mod:`spack_oci.operations.lifecycle.pins`
PIN_PREFIX = "spack-oci.pin."

#: seconds before the index is looked at again
_LOOK_AGAIN = (0.05, 0.2)

LINK_RUN = frozenset({"link", "run"})
ALL_TYPES = frozenset({"link", "run", "build", "test"})


class ContentsIndex:
    """The document of an index, which is parsed as far as it is asked for: a copy with nothing to do needs no nodes."""

    def __init__(self, document: bytes) -> None:
        #: given away when all of it is parsed
        self._document = document

    @functools.cached_property
    def whole(self) -> Optional[PackageIndex]:
        """None: it is damaged. The tags are the truth, and they are read."""
        document, self._document = self._document, b""
        try:
            return PackageIndex.from_lines(decompress(document))
        except InvalidContent:
            return None

    def digest_of(self, tag: str) -> Optional[str]:
        """Of a package's manifest; None: not known."""
        if self._document or not self.whole:
            return self.digests.get(tag)
        return self.whole.manifest_of(tag) if tag in self.whole.tags else None

    def forget_nodes(self) -> None:
        """Keep the digests alone: :attr:`whole` is not asked for any more."""
        if self.digests:
            self._document, self.__dict__["whole"] = b"", None

    @functools.cached_property
    def digests(self) -> Mapping[str, str]:
        """Tag -> digest of the manifest, of each package."""
        try:
            if not self._document:
                return {entry.tag: entry.manifest.digest for _, entry in self.whole.packages()} if self.whole else {}
            _, lines = read_lines(decompress(self._document))
            found = (line.package for line in map(parse_line, lines))
            return dict(_tag_and_digest(package) for package in found if package is not None)
        except InvalidContent:
            return {}


def _tag_and_digest(package: Mapping[str, Any]) -> Tuple[str, str]:
    """Of an entry of an index, of which nothing else is looked at."""
    try:
        tag, digest = check_tag(package["tag"]), check_digest(package["manifest"]["digest"])
    except (KeyError, TypeError, InvalidReference) as e:
        raise InvalidContent(f"the package index has an entry without tag or digest ({type(e).__name__})") from None
    # of the two caches of a copy, and of the table of a layout, most are the same
    return sys.intern(tag), sys.intern(digest)


@dataclass(frozen=True)
class Contents:
    """``known``: our index, if it belongs to the ``index.spack`` that is there; None: only the tags are known."""

    url: str
    packages: FrozenSet[str] = frozenset()
    images: FrozenSet[str] = frozenset()
    #: tags of pins
    pins: FrozenSet[str] = frozenset()
    #: names of snapshots
    snapshots: FrozenSet[str] = frozenset()
    #: digest of a manifest -> tags of what is attached to it
    attached: Mapping[str, List[str]] = field(default_factory=dict)
    known: Optional[ContentsIndex] = None

    @property
    def index(self) -> Optional[PackageIndex]:
        """None also where it is damaged."""
        return self.known.whole if self.known is not None else None

    def digest_of(self, tag: str) -> Optional[str]:
        """Of a package's manifest, as far as the index knows it."""
        return self.known.digest_of(tag) if self.known is not None else None

    def size_of(self, tag: str) -> int:
        """Compressed bytes of a package's own layer; 0: not known."""
        entry = self.index.entry(self.index.tags[tag]) if self.index and tag in self.index.tags else None
        return entry.layer.size if entry else 0

    def need_index(self) -> PackageIndex:
        """Raises ConfigurationError where only tags are known, NotFound where there is nothing: its name may be
        wrong."""
        if self.index is None and not (self.packages or self.images):
            raise NotFound(f"{self.url} has neither packages nor an index", remedy="check its name")
        if self.index is None:
            raise ConfigurationError(
                f"{self.url} has no current index, which tells what packages need",
                remedy=f"make one with `spack oci update-index {shlex.quote(self.url)}`",
            )
        return self.index


def read_contents(
    store: RepositoryReader,
    index_store: Optional[RepositoryReader] = None,
    cache: Optional[BlobCache] = None,
    *,
    is_check: bool = False,
) -> Contents:
    """Three requests and the pages of tags, and two for the plan of a prune where there is one.

    The index first: a tag that comes in between is then only not in it.

    ``index_store``: where the index is, if not in the repository of the packages. ``cache``: keeps the index, so that
    the next time an index that is the same costs one request. ``is_check``: believe nothing that one request would not
    show, here that somebody has overwritten our document alone; two requests then.
    """
    index = _read_index(index_store or store, cache, is_check)
    packages: Set[str] = set()
    images: Set[str] = set()
    pins: Set[str] = set()
    snapshots: Set[str] = set()
    attached: Dict[str, List[str]] = {}
    has_plan = False
    for tag in store.tags():
        found = _ATTACHED.match(tag)
        if found:
            attached.setdefault(f"sha256:{found[1]}", []).append(tag)
        elif is_package_tag(tag):
            packages.add(sys.intern(tag))
        elif tag.startswith(PIN_PREFIX):
            pins.add(tag)
        elif tag.startswith(SNAPSHOT_PREFIX):
            snapshots.add(tag[len(SNAPSHOT_PREFIX) :])
        elif tag == PLAN_TAG:
            has_plan = True
        elif tag not in (DATABASE_TAG, DOCUMENT_TAG) and not tag.startswith(SIGNED_PREFIX):
            images.add(tag)
    if has_plan:  # what a prune has untagged is no package any more, unless somebody has pushed it since
        packages -= read_plan(store).untagged.keys() - (index.digests.keys() if index is not None else set())
    return Contents(
        store.url,
        frozenset(packages),
        frozenset(images),
        frozenset(pins),
        frozenset(snapshots),
        attached,
        index,
    )


def read_current_contents(store: RepositoryWriter, settings: UpdateSettings) -> Contents:
    """The same for who may write: where the index is not current, because somebody was killed between its two
    documents, it is updated first."""
    index_store = settings.index_store or store
    for _ in range(settings.backoff.attempts):
        contents = read_contents(store, index_store)
        if contents.index is not None or not contents.packages:
            break
        update_index(store, settings, compare_digests=False)
    return contents


def _read_index(store: RepositoryReader, cache: Optional[BlobCache], is_check: bool) -> Optional[ContentsIndex]:
    """None also for one that is older than ``index.spack``: the tags are the truth, and they are read.

    A writer that is between its two documents makes ours look older for a moment: then another look is taken.
    """
    for wait in (*_LOOK_AGAIN, None):
        try:
            kept = _KeptIndex(store, cache) if cache is not None else None
            if kept is not None and not is_check:
                data = kept.current()
                if data is not None:
                    return ContentsIndex(data)
            document = read_document_manifest(store)
            database = store.resolve(DATABASE_TAG)
            if is_current(document, database):
                data = kept.document(document) if kept is not None else read_document(store, document)
                if kept is not None:
                    kept.keep(document, database, data, is_check)
                return ContentsIndex(data)
        except (NotFound, InvalidContent, DigestMismatch):
            return None
        if wait is not None:
            time.sleep(wait)
    return None


class _KeptIndex:
    """The documents of an index in the blob cache. The manifest of ``index.spack`` names our document by its digest, so
    who has both needs to know no more than that the tag has not moved."""

    def __init__(self, store: RepositoryReader, cache: BlobCache) -> None:
        self._store = store
        self._cache = cache

    def current(self) -> Optional[bytes]:
        """The document. One request. None: not all of it is kept."""
        manifest = self._blob(self._store.resolve(DATABASE_TAG).digest)
        named = document_named_by(manifest) if manifest is not None else ""
        return self._blob(named) if named else None

    def document(self, manifest: DocumentManifest) -> bytes:
        data = self._blob(manifest.document.digest)
        return read_document(self._store, manifest) if data is None else data

    def keep(self, manifest: DocumentManifest, database: Descriptor, data: bytes, is_check: bool) -> None:
        """A cache that cannot be written to is no reason to fail."""
        with contextlib.suppress(StorageError, NotFound):
            self._cache.add(manifest.document.digest, io.BytesIO(data))
            if manifest.is_named and not is_check and self._cache.get(database.digest) is None:
                self._cache.add(database.digest, io.BytesIO(self._store.get_manifest(database.digest)[1]))

    def _blob(self, digest: str) -> Optional[bytes]:
        """None also for one that is damaged on this disk."""
        path = self._cache.get(digest)
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        return data if sha256_digest(data) == digest else None


def closure(index: PackageIndex, roots: Iterable[str], types: AbstractSet[str] = LINK_RUN) -> Set[str]:
    """DAG hashes of ``roots`` and of all that they depend on by an edge of these types, as far as the index has nodes.

    A spliced package is fetched as the one that it was built as, so its build spec is part of it.
    """
    found: Set[str] = set()
    pending = list(roots)
    while pending:
        dag_hash = pending.pop()
        if dag_hash in found:
            continue
        found.add(dag_hash)
        try:
            node = index.node(dag_hash)
        except KeyError:
            continue
        pending += dependencies_of(node, types)
    return found


def dependencies_of(node: Mapping[str, Any], types: AbstractSet[str] = LINK_RUN) -> List[str]:
    """DAG hashes that a node (specfile version 5) depends on by an edge of these types, and its build spec's."""
    wanted = [
        edge["hash"]
        for edge in node.get("dependencies") or ()
        if types & set((edge.get("parameters") or {}).get("deptypes") or ())
    ]
    build_spec = node.get("build_spec")
    return [*wanted, build_spec["hash"]] if build_spec else wanted


def is_external(index: PackageIndex, dag_hash: str) -> bool:
    """As far as the index has its node."""
    try:
        return bool(index.node(dag_hash).get("external"))
    except KeyError:
        return False
