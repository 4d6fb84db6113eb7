# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the index of a repository under a policy: is it signed, is it as new as the newest one seen, and which of
its packages may be offered.

Under ``require`` ours is read without a look at Spack's, so that the layer with the signatures costs no request more;
and Spack's own index is not signed by anybody. Packages are filtered by which keys their signatures name; the
signatures themselves are verified when a package is to be used.
"""

import hashlib
import time
from dataclasses import replace
from typing import Any, Callable, Dict, Optional, Set, Union

from ...content import ContentReader, RepositoryReader
from ...descriptor import canonical_json, parse_json
from ...errors import InvalidContent, NotFound, SpackOciError, StaleIndex, TrustError
from ...index.entry import PackageEntry
from ...index.index_cache import describe_age
from ...index.publish import (
    DOCUMENT_TAG,
    DocumentManifest,
    read_document_manifest,
    read_signatures,
    signature_table,
)
from ...index.read import IndexDocument, KnownIndex, NotModified, OldDocument, fetch_document, fetch_index
from ...index.signature_table import SignatureTable, lines_of_table
from ...index.snapshots import SnapshotStore
from ...reference import LayoutDirectory, parse_url
from ...trust.payload import repository_of
from ...trust.policy import Policy
from ...trust.signatures import signed_digest
from ...trust.statement import Statement, verify_statement
from ...util.concurrency.threads import DaemonPool
from ...util.text import counted
from .generations import Generations, generation_name

Warn = Callable[[str], None]
Found = Union[IndexDocument, NotModified]


class TrustedIndex:
    """Reads indexes of the repository behind ``store`` under ``policy``, which is active."""

    def __init__(
        self,
        policy: Policy,
        store: RepositoryReader,
        generations: Generations,
        warn: Warn = lambda message: None,
        now: Callable[[], float] = time.time,
        jobs: int = 8,
    ) -> None:
        self._policy = policy
        self._store = store
        self._repository = repository_of(store.url)
        self._here = None if isinstance(parse_url(store.url), LayoutDirectory) else self._repository
        self._name = generation_name(store.url)
        self._generations = generations
        self._warn = warn
        self._now = now
        self._jobs = jobs

    def fetch(
        self,
        index_store: ContentReader,
        known: Optional[KnownIndex] = None,
        old_document: Callable[[], Optional[OldDocument]] = lambda: None,
    ) -> Union[IndexDocument, NotModified]:
        """As :func:`fetch_index`, of packages that may be offered. Raises TrustError too."""
        if not self._policy.required:
            return self._fetch_and_warn(index_store, known, old_document)
        try:
            return self._fetch(index_store, known, old_document)
        except (NotFound, TrustError):
            raise
        except SpackOciError as e:
            self._refuse_held_back(e)
            raise

    def _fetch(
        self, index_store: ContentReader, known: Optional[KnownIndex], old_document: Callable[[], Optional[OldDocument]]
    ) -> Union[IndexDocument, NotModified]:
        try:
            ours = read_document_manifest(index_store)
        except NotFound:
            self._refuse_unsigned()
            return self._fetch_foreign(index_store, known)
        statement = self.check(ours)
        digest = self._digest(ours)
        if known is not None and known.digest == digest:
            return NotModified(digest)
        found = fetch_document(index_store, ours, old_document)
        table = signature_table(read_signatures(index_store, ours))
        offered = self._offered(found.entries(), table)
        # Signatures are over hashes, not over names and versions: of what an index says that nobody has signed, nothing
        # is proved by them, and each package is read from its tag.
        lines = _lines(table) if statement is not None else b""
        # no manifest: a reader without this policy has to fetch it anew
        return self._filtered(replace(found, digest=digest, manifest="", is_named=False, signatures=lines), offered)

    def count(self, index_store: ContentReader) -> "tuple[int, int]":
        """(packages that may be offered, others), as the index has it. Raises what :meth:`fetch` raises."""
        ours = read_document_manifest(index_store)
        self.check(ours)
        entries = fetch_document(index_store, ours).entries()
        offered = self._offered(entries, signature_table(read_signatures(index_store, ours)))
        return len(offered), len(entries) - len(offered)

    def check(self, ours: DocumentManifest) -> Optional[Statement]:
        """What is said of an index; None: nothing, and nothing has to be. Raises BadSignature, StaleIndex."""
        if not ours.statement:
            self._refuse_unsigned()
            return None
        statement = verify_statement(
            self._policy,
            ours.statement,
            ours.statement_signature,
            here=self._here,
            document=ours.document.digest,
            signatures=ours.signatures.digest if ours.signatures else None,
            label=self._store.url,
            snapshot=self._store.snapshot if isinstance(self._store, SnapshotStore) else "",
        )
        newest = self._generations.newest(self._name)
        if newest is not None and statement.generation < newest:
            raise StaleIndex(
                f"the index of {self._store.url} is older than one that was there before: generation "
                f"{statement.generation}, not {newest}",
                remedy="somebody has turned it back; if its owner has restored the registry, accept that with "
                "`spack oci trust accept-older`",
            )
        age = int(self._now()) - statement.time
        if self._policy.max_age is not None and age > self._policy.max_age:
            raise StaleIndex(
                f"the index of {self._store.url} was signed {describe_age(age)} ago, and max_age of the policy is "
                f"{describe_age(self._policy.max_age)}",
                remedy="its owner signs it anew with `spack oci sign`",
            )
        self._generations.saw(self._name, statement.generation, statement.time)
        return statement

    def accept_older(self) -> bool:
        """Forget what was seen. False: nothing was."""
        return self._generations.forget(self._name)

    def _refuse_unsigned(self) -> None:
        signing = "its owner signs it with `spack oci sign`"
        if self._generations.newest(self._name) is not None:
            raise StaleIndex(
                f"the index of {self._store.url} is not signed any more",
                remedy=f"{signing}; if that is as it should be, accept it with `spack oci trust accept-older`",
            )
        if self._policy.max_age is not None:
            raise StaleIndex(
                f"the index of {self._store.url} is not signed, so nobody knows how old it is (max_age)", remedy=signing
            )

    def _refuse_held_back(self, error: SpackOciError) -> None:
        """A registry that does not answer is no reason to do without what is kept, as long as that is not too old."""
        signed_at = self._generations.signed_at(self._name)
        age = None if signed_at is None else int(self._now()) - signed_at
        if self._policy.max_age is not None and (age is None or age > self._policy.max_age):
            known = "none was seen before" if age is None else f"the newest one seen was signed {describe_age(age)} ago"
            raise StaleIndex(
                f"the index of {self._store.url} cannot be had, and {known}; max_age of the policy is "
                f"{describe_age(self._policy.max_age)}: {error.message}",
                remedy="try again when its registry answers",
            ) from error

    def _digest(self, ours: DocumentManifest) -> str:
        """Of what is offered, so that it is fetched anew when the policy changes."""
        signatures = ours.signatures.digest if ours.signatures else ""
        signed = bool(ours.statement)
        text = f"{ours.named_database} {ours.document.digest} {signatures} {signed} {_fingerprint(self._policy)}"
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def _offered(self, entries: Dict[str, PackageEntry], table: SignatureTable) -> Set[str]:
        """DAG hashes of what says that it is signed as the policy asks. Of signatures that the index has not (they came
        later, or a Spack without this extension wrote it), it may know that they are there."""
        ids = {key.id for key in self._policy.keys}
        offered = set()
        for dag_hash, entry in entries.items():
            signed = table.get(dag_hash)
            if signed is None:
                if entry.signed:
                    offered.add(dag_hash)
                continue
            keys = {s.key for s in signed.signatures}
            if len(keys & ids) >= self._policy.threshold or "" in keys:
                offered.add(dag_hash)
        return offered

    def _filtered(self, found: IndexDocument, offered: Set[str]) -> IndexDocument:
        document = parse_json(found.data, "the index")
        hidden = 0
        for dag_hash, install in document["database"]["installs"].items():
            if install.get("in_buildcache") and dag_hash not in offered:
                install["in_buildcache"] = False
                hidden += 1
        if hidden:
            self._warn(
                f"{counted(hidden, 'build')} in {self._store.url} cannot be used: not signed by {self._policy.signers}"
            )
        database = canonical_json(document) if hidden else found.database
        return replace(found, database=database, is_filtered=True, hides=hidden > 0)

    def _fetch_foreign(
        self, index_store: ContentReader, known: Optional[KnownIndex]
    ) -> Union[IndexDocument, NotModified]:
        """The index of a Spack without this extension; which packages have signatures is asked of the tags."""
        found = fetch_index(index_store)
        assert isinstance(found, IndexDocument)
        signed = {digest for digest in map(signed_digest, self._store.tags()) if digest is not None}
        installs: Dict[str, Any] = parse_json(found.data, "the index")["database"]["installs"]
        packages = {h: install["spec"] for h, install in installs.items() if install.get("in_buildcache")}
        offered = self._with_signatures(packages, signed) if signed else set()
        text = f"{found.digest} {sorted(offered)} {_fingerprint(self._policy)}"
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        if known is not None and known.digest == digest:
            return NotModified(digest)
        return self._filtered(replace(found, digest=digest, manifest="", is_named=False), offered)

    def _with_signatures(self, packages: Dict[str, Any], signed: Set[str]) -> Set[str]:
        from ...package.record import package_tag

        def has(item: Any) -> bool:
            dag_hash, spec = item
            try:
                tag = package_tag(spec["name"], str(spec["version"]), dag_hash)
                return self._store.resolve(tag).digest in signed
            except NotFound:
                return False

        with DaemonPool(self._jobs, "signed") as pool:
            return {item[0] for item, found in zip(packages.items(), pool.map(has, packages.items())) if found}

    def _fetch_and_warn(
        self,
        index_store: ContentReader,
        known: Optional[KnownIndex],
        old_document: Callable[[], Optional[OldDocument]],
    ) -> Union[IndexDocument, NotModified]:
        found = fetch_index(index_store, known, old_document)
        if isinstance(found, NotModified) or found.source != DOCUMENT_TAG:
            return found
        try:
            ours = read_document_manifest(index_store)
            self.check(ours)
            return replace(found, signatures=_lines(signature_table(read_signatures(index_store, ours))))
        except (NotFound, InvalidContent):
            return found
        except TrustError as e:
            self._warn(str(e))
            return found


def _fingerprint(policy: Policy) -> str:
    return f"{policy.mode} {policy.threshold} {sorted(key.id for key in policy.keys)}"


def _lines(table: SignatureTable) -> bytes:
    return b"".join(lines_of_table(table))
