# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a writer of an index sees: the index, and the tags after that."""

import re
from typing import Collection, List, NamedTuple, Optional, Set, Tuple

from ...content import RepositoryWriter
from ...descriptor import Descriptor
from ...errors import DigestMismatch, IndexUpdateError, InvalidContent, NotFound, SpackOciError
from ...package.record import is_package_tag
from ..condemned import condemned_among
from ..entry import PackageEntry
from ..frames import decompress
from ..model import PackageIndex
from ..publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DocumentManifest,
    is_current,
    read_document,
    read_document_manifest,
)
from ..signature_table import SIGNED_PREFIX
from .settings import UpdateSettings

#: where cosign stores the signature of a manifest
_SIGNATURE_TAG = re.compile(r"sha256-([0-9a-f]{64})\.sig\Z")
#: how often an incomplete listing of the tags is asked for again
_LISTINGS = 5


class Look(NamedTuple):
    """The index as it was, and the tags as they were after that."""

    #: None: there is no document of ours, or none that can be read
    document: Optional[DocumentManifest]
    #: of ``index.spack``
    database: Optional[Descriptor]
    packages: PackageIndex
    #: those of packages
    tags: Set[str]
    #: digests of manifests that have a signature, as far as tags tell (cosign's ``sha256-HEX.sig``)
    signed: Set[str]
    #: ids of keys whose owners have announced what they signed
    announced: Set[str]

    @property
    def is_consistent(self) -> bool:
        """Both documents were written together."""
        return self.document is not None and is_current(self.document, self.database)

    @property
    def is_known(self) -> bool:
        """Our document tells what the index has; not where it is older than Spack's."""
        return self.is_consistent or (self.document is None and self.database is None)


class Looker:
    """Reads an index again only if it is another than the last one that was seen or written."""

    def __init__(self, store: RepositoryWriter, settings: UpdateSettings) -> None:
        self._store = store
        self._index_store = settings.index_store or store
        self._backoff = settings.backoff
        self._warn = settings.warn
        #: (digest of a document manifest, its packages)
        self._last: Tuple[Optional[str], PackageIndex] = (None, PackageIndex())

    def knows(self, digest: str, packages: PackageIndex) -> None:
        """What the index with that document manifest has."""
        self._last = (digest, packages)

    def look(self, own: Collection[str]) -> Look:
        """The index first, the tags second: a tag that appears in between makes the index look incomplete.

        ``own``: tags that were just pushed, which nobody has condemned since.
        """
        document, index = self._read_index()
        try:
            database: Optional[Descriptor] = self._index_store.resolve(DATABASE_TAG)
        except NotFound:
            database = None
        listed = self._listed(document is not None and self._index_store is self._store)
        signed = {f"sha256:{match.group(1)}" for match in map(_SIGNATURE_TAG.match, listed) if match}
        announced = {tag[len(SIGNED_PREFIX) :] for tag in listed if tag.startswith(SIGNED_PREFIX)}
        condemned = condemned_among(self._store, listed) - set(own)
        packages = {tag for tag in listed if is_package_tag(tag)} - condemned
        return Look(document, database, index, packages, signed, announced)

    def _listed(self, with_document: bool) -> Set[str]:
        """All tags. A listing without the tag that was just read is a moment behind; of what it lacks, we would say
        that it is gone.
        """
        for attempt in range(_LISTINGS):
            if attempt:
                self._backoff.wait(attempt)
            listed = set(self._store.tags())
            if not with_document or DOCUMENT_TAG in listed:
                return listed
        raise IndexUpdateError(
            f"{self._store.url} has {DOCUMENT_TAG}, but does not list it among its {len(listed)} tags",
            remedy="its listing is incomplete, and packages would be lost by believing it; try again later",
        )

    def _read_index(self) -> Tuple[Optional[DocumentManifest], PackageIndex]:
        try:
            document = read_document_manifest(self._index_store)
        except NotFound:
            return None, PackageIndex()
        except InvalidContent as e:
            return self._without_index(e)
        try:
            if document.descriptor.digest != self._last[0]:
                lines = decompress(read_document(self._index_store, document))
                self.knows(document.descriptor.digest, PackageIndex.from_lines(lines))
            return document, self._last[1]
        except (NotFound, InvalidContent, DigestMismatch) as e:
            return self._without_index(e)

    def _without_index(self, error: SpackOciError) -> Tuple[None, PackageIndex]:
        self._warn(f"the index of {self._store.url} is made anew, because it cannot be read: {error.message}")
        return None, PackageIndex()


def others_are_at_work(before: Look, now: Look) -> bool:
    """Whether somebody has pushed or merged between two looks."""
    return before.tags != now.tags or before.document != now.document


def newly_signed(index: PackageIndex, signed: Set[str]) -> List[Tuple[str, PackageEntry]]:
    """Packages whose signature the index does not know yet."""
    if not signed:
        return []
    return [(h, entry) for h, entry in index.unsigned_packages() if entry.manifest.digest in signed]
