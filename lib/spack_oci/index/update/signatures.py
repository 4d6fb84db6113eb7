# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The signatures in an index while it is updated: those that it has stay, those that were just made come in.

A signature belongs to a manifest. One of a package whose manifest has changed since is dropped, unless it came with the
change.
"""

from typing import Collection, Mapping, Optional, Protocol, Sequence, Set, Tuple

from ...content import ContentReader
from ...errors import DigestMismatch, InvalidContent, NotFound
from ..entry import PackageEntry
from ..model import PackageIndex
from ..publish import DocumentManifest, SignStatement, read_signatures, signature_table
from ..signature_table import SignatureTable, SignedPackage, keys_of, merge_tables

Packages = Sequence[Tuple[str, PackageEntry]]


class IndexSignatures(Protocol):
    """What an update of an index needs to know of signatures and cannot find out itself."""

    @property
    def own(self) -> Mapping[str, SignedPackage]:
        """DAG hash -> signatures that were just made."""

    def announce(self) -> None:
        """Tell others who sign what :attr:`own` is, once, before the index and the tags are looked at."""

    def read(self, packages: Packages) -> Mapping[str, SignedPackage]:
        """Those that the repository has for some packages; what cannot be read is left out."""

    def statement(self, previous: Optional[DocumentManifest]) -> Optional[SignStatement]:
        """What signs the index that comes after ``previous``; None: there is no key."""

    def is_signed(self, manifest: DocumentManifest) -> bool:
        """Whether the index is signed as :meth:`statement` would sign it."""

    def keep_together(self, table: SignatureTable, packages: PackageIndex, announced: Collection[str]) -> bool:
        """Have index and repository hold the same signatures of what was signed here: what the index has of others,
        and what the keys ``announced`` have announced, is put beside ours, and what the repository has of others
        becomes ``own``. True: something was missing, so the index is to be updated and looked at again."""


class SignatureUpdate:
    """Of one update. ``signatures``: None: what is there is kept."""

    def __init__(self, store: ContentReader, signatures: Optional[IndexSignatures]) -> None:
        self._store = store
        self._signatures = signatures
        #: digest of the layer that was read last -> its table
        self._last: Tuple[Optional[str], SignatureTable] = (None, {})
        #: manifests whose signatures could not be read
        self._unreadable: Set[str] = set()

    def announce(self) -> None:
        if self._signatures is not None:
            self._signatures.announce()

    def table_of(self, manifest: Optional[DocumentManifest]) -> SignatureTable:
        """What an index has. One that cannot be read is as good as none: the signatures are in the repository too."""
        if manifest is None or manifest.signatures is None:
            return {}
        if self._last[0] != manifest.signatures.digest:
            try:
                table = signature_table(read_signatures(self._store, manifest))
            except (NotFound, InvalidContent, DigestMismatch):
                table = {}
            self._last = (manifest.signatures.digest, table)
        return self._last[1]

    def is_complete(self, manifest: Optional[DocumentManifest], packages: PackageIndex, signed: Set[str]) -> bool:
        """``packages``: of the index; ``signed``: digests of manifests that have signatures."""
        if self._signatures is None or manifest is None:
            return True
        if not self._signatures.is_signed(manifest):
            return False
        if not self._signatures.own and not signed:
            return True
        table = self.table_of(manifest)
        for dag_hash, package in self._signatures.own.items():
            if dag_hash in packages and not set(keys_of(package)) <= set(keys_of(table.get(dag_hash, _NOTHING))):
                return False
        return not self._missing(packages, table, signed)

    def new_table(
        self, look: Optional[DocumentManifest], before: PackageIndex, now: PackageIndex, signed: Set[str]
    ) -> SignatureTable:
        """For the index ``now``. ``before``: the packages of the index that ``look`` is of."""
        kept = {
            dag_hash: package
            for dag_hash, package in self.table_of(look).items()
            if _same_manifest(before, now, dag_hash)
        }
        if self._signatures is None:
            return kept
        own = {dag_hash: package for dag_hash, package in self._signatures.own.items() if dag_hash in now}
        table = merge_tables(kept, own)
        missing = self._missing(now, table, signed)
        found = self._signatures.read(missing) if missing else {}
        self._unreadable.update(entry.manifest.digest for dag_hash, entry in missing if dag_hash not in found)
        return merge_tables(table, found)

    def sign(self, previous: Optional[DocumentManifest]) -> Optional[SignStatement]:
        return None if self._signatures is None else self._signatures.statement(previous)

    def keep_together(
        self, manifest: Optional[DocumentManifest], packages: PackageIndex, announced: Collection[str]
    ) -> bool:
        """See IndexSignatures. ``manifest``, ``packages``: of an index that has our signatures; ``announced``: ids of
        keys, of the tags that were looked at after that."""
        if self._signatures is None or not self._signatures.own:
            return False
        return self._signatures.keep_together(self.table_of(manifest), packages, announced)

    def _missing(self, packages: PackageIndex, table: SignatureTable, signed: Set[str]) -> Packages:
        """Packages that have signatures in the repository, of which the table has none."""
        wanted = signed - self._unreadable
        if not wanted:
            return []
        return [(h, e) for h, e in packages.packages(besides=table) if e.manifest.digest in wanted]


_NOTHING = SignedPackage(())


def _same_manifest(before: PackageIndex, now: PackageIndex, dag_hash: str) -> bool:
    old, new = before.entry(dag_hash), now.entry(dag_hash)
    return old is not None and new is not None and old.manifest.digest == new.manifest.digest
