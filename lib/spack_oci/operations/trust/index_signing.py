# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What signs an index while it is updated, and finds the signatures of packages that it does not have yet."""

import time
from typing import Callable, Collection, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from ...content import RepositoryWriter
from ...descriptor import check_digest
from ...errors import InvalidContent, InvalidReference, SpackOciError, StaleIndex
from ...index.entry import PackageEntry
from ...index.model import PackageIndex
from ...index.publish import DocumentManifest, SignStatement
from ...index.signature_table import IndexedSignature, SignatureTable, SignedPackage, keys_of
from ...index.update.signatures import Packages
from ...trust.payload import CONFIG, KEY_ID, SBOM, Subject, parse_payload, repository_of
from ...trust.signers import Signer
from ...trust.statement import Statement, parse_statement, sign_statement, signed_by
from ...trust.verify import Signature
from ...util.concurrency.threads import DaemonPool
from .announced import Announced, announce
from .generations import Generations, generation_name
from .stored import by_digest, signatures_in, stored_signatures
from .write import Written, keep_together, tag_is

Warn = Callable[[str], None]
#: bytes that a signature may take in the index, which the short ones do not; cosign's and ours have less than 1,000
_LONGEST_PAYLOAD = 4096
#: seconds that the clocks of those who sign one index may differ
_CLOCKS = 86400


class IndexSigning:
    """:class:`~spack_oci.index.update.signatures.IndexSignatures` of one repository.

    ``written``: what was just signed; ``signer``: None: the index will not be signed; ``generations``: what this
    machine has seen, so that it does not sign what somebody has turned back. ``renew``: sign an index that has lost its
    signature, too; for who compares it with the packages that are there, as an old one may have been put there.
    """

    def __init__(
        self,
        store: RepositoryWriter,
        written: Iterable[Written] = (),
        signer: Optional[Signer] = None,
        generations: Optional[Generations] = None,
        warn: Warn = lambda message: None,
        jobs: int = 8,
        now: Callable[[], float] = time.time,
        renew: bool = False,
    ) -> None:
        self._store = store
        self._repository = repository_of(store.url)
        self._written = {one.subject.dag_hash: one for one in written if one.subject.dag_hash is not None}
        self.own: Dict[str, SignedPackage] = {h: signed_package(one) for h, one in self._written.items()}
        self._signer = signer
        self._generations = generations
        self._warn = warn
        self._jobs = jobs
        self._now = now
        self._renew = renew
        self._announced = Announced(store, warn)
        self._keys = {one.key_id for one in self._written.values()}
        self._has_announced = False

    def announce(self) -> None:
        if self._has_announced:
            return
        for key_id in sorted(self._keys):
            ours = [one for one in self._written.values() if one.key_id == key_id]
            announce(self._store, key_id, {one.subject.manifest: _announcement(one) for one in ours})
        self._has_announced = True

    def read(self, packages: Packages) -> Mapping[str, SignedPackage]:
        def one(item: Tuple[str, PackageEntry]) -> Optional[SignedPackage]:
            try:
                return self._indexed(*item, stored_signatures(self._store, item[1].manifest.digest))
            except SpackOciError as e:
                self._warn(f"signatures of {item[1].tag} are not in the index, because they cannot be read: {e}")
                return None

        with DaemonPool(self._jobs, "signatures") as pool:
            found = dict(zip((dag_hash for dag_hash, _ in packages), pool.map(one, packages)))
        return {dag_hash: package for dag_hash, package in found.items() if package is not None and package.signatures}

    def _indexed(self, dag_hash: str, entry: PackageEntry, signatures: Sequence[Signature]) -> SignedPackage:
        result = SignedPackage(())
        for signature in signatures:
            try:
                found = indexed_signature(self._repository, dag_hash, entry, signature)
            except InvalidContent:
                continue
            result = result.merged(found)
        return result

    def statement(self, previous: Optional[DocumentManifest]) -> Optional[SignStatement]:
        if self._signer is None:
            if previous is not None and previous.statement:
                self._warn(
                    f"the index of {self._store.url} was signed and is not any more, because no key is set: those who "
                    "install under a policy will refuse it until `spack oci sign` signs it"
                )
            return None
        return self._signs(self._signer, self._generation_of(previous))

    def snapshot_statement(self, name: str) -> Optional[SignStatement]:
        """The same for the snapshot ``name``, which nobody can offer as anything else then."""
        return None if self._signer is None else self._signs(self._signer, self._seen(f":{name}"), name)

    def _signs(self, signer: Signer, before: int, snapshot: str = "") -> SignStatement:
        """``before``: the generation that the new one has to exceed."""
        generation = max(int(self._now()), before + 1)

        def sign(document: str, signatures: Optional[str]) -> Tuple[str, str]:
            made = Statement(self._repository, document, signatures, generation, int(self._now()), snapshot)
            return sign_statement(made, signer)

        return sign

    def _seen(self, part: str = "") -> int:
        """The newest generation that this machine has seen of the index, or of a part (``:SNAPSHOT``)."""
        name = generation_name(self._store.url) + part
        return (self._generations.newest(name) if self._generations else None) or 0

    def _generation_of(self, previous: Optional[DocumentManifest]) -> int:
        seen = self._seen()
        if previous is None or not previous.statement:
            if seen and not self._renew:
                raise StaleIndex(
                    f"the index of {self._store.url} is not signed any more",
                    remedy="sign what is there now with `spack oci sign`",
                )
            return seen
        try:
            found = parse_statement(previous.statement).generation
        except InvalidContent:
            found = 0
        if found > self._now() + _CLOCKS and not self.is_signed(previous):
            # anybody who may push can claim a number; if it were signed, it would be the one that all clients remember
            self._warn(f"the index of {self._store.url} claims a generation of the future, which counts for nothing")
            return seen
        if found < seen:
            raise StaleIndex(
                f"the index of {self._store.url} is older than one that this machine has seen; it is not signed again",
                remedy="if the registry was restored, accept that with `spack oci trust accept-older`",
            )
        return found

    def is_signed(self, manifest: DocumentManifest) -> bool:
        if self._signer is None:
            return True
        return signed_by(manifest.statement, manifest.statement_signature, [self._signer.public]) is not None

    def keep_together(self, table: SignatureTable, packages: PackageIndex, announced: Collection[str]) -> bool:
        """A request for each package that others have signed too, or that was not pushed just now."""
        self._announced.look(set(announced) - self._keys)

        def keep(item: Tuple[str, Written]) -> bool:
            dag_hash, own = item
            entry, known = packages.entry(dag_hash), table.get(dag_hash, SignedPackage(()))
            if entry is None or entry.manifest.digest != own.subject.manifest:
                return False  # somebody has pushed it again since
            subject = own.subject._replace(sbom=known.sbom)  # who signs what is there knows of none
            others = [_signature(subject, s) for s in known.signatures if s.key != own.key_id]
            known_payloads = {other.payload for other in others}
            others += [s for s in self._announced.signatures_of(own.subject) if s.payload not in known_payloads]
            if not others and (not own.is_new or own.is_fresh or tag_is(self._store, own.subject.manifest, own.digest)):
                return False
            together = [own.signature, *others]
            was_lost, data = keep_together(self._store, own.subject.manifest, together)
            payloads = by_digest(signature.payload for signature in together)
            found = signatures_in(self._store, data, own.subject.manifest, payloads) if data is not None else []
            self.own[dag_hash] = self.own[dag_hash].merged(self._indexed(dag_hash, entry, found))
            return was_lost or not set(keys_of(self.own[dag_hash])) <= set(keys_of(known))

        with DaemonPool(max(1, min(self._jobs, len(self._written))), "signatures") as pool:
            return any(list(pool.map(keep, self._written.items())))


def _signature(subject: Subject, indexed: IndexedSignature) -> Signature:
    return Signature(subject.payload(indexed.key) if indexed.payload is None else indexed.payload, indexed.value)


def _announcement(written: Written) -> SignedPackage:
    return SignedPackage((IndexedSignature(written.key_id, written.signature.value),), sbom=written.subject.sbom)


def signed_package(written: Written) -> SignedPackage:
    subject = written.subject
    signature = IndexedSignature(written.key_id, written.signature.value, signed=written.signature.payload)
    return SignedPackage((signature,), config=subject.config, sbom=subject.sbom)


def subject_of_entry(repository: str, dag_hash: str, entry: PackageEntry, signed: SignedPackage) -> Subject:
    """What a key's owner has signed of a package that the index names."""
    return Subject(
        repository=repository,
        manifest=entry.manifest.digest,
        dag_hash=dag_hash,
        layer=entry.layer.digest,
        layer_size=entry.layer.size,
        diff_id=entry.diff_id,
        config=signed.config,
        sbom=signed.sbom,
    )


def indexed_signature(repository: str, dag_hash: str, entry: PackageEntry, signature: Signature) -> SignedPackage:
    """As the index keeps it: short if the payload can be made again. Raises InvalidContent, also for what has no place
    there: nothing of it is verified, and the index is everybody's."""
    if len(signature.payload) > _LONGEST_PAYLOAD:
        raise InvalidContent(f"a signature's payload has {len(signature.payload)} bytes, more than {_LONGEST_PAYLOAD}")
    payload = parse_payload(signature.payload)
    key_id = payload.text(KEY_ID) or ""
    digests = SignedPackage((), config=payload.text(CONFIG), sbom=payload.text(SBOM))
    for digest in filter(None, (digests.config, digests.sbom)):
        try:
            check_digest(digest)
        except InvalidReference as e:
            raise InvalidContent(f"a signature's payload: {e.message}") from None
    subject = subject_of_entry(repository, dag_hash, entry, digests)
    if subject.payload(key_id) == signature.payload:
        short = IndexedSignature(key_id, signature.value, signed=signature.payload)
        return SignedPackage((short,), digests.config, digests.sbom)
    return SignedPackage((IndexedSignature(key_id, signature.value, signature.payload),))
