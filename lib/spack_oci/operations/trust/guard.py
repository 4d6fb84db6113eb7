# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What stands between finding a package and fetching it: the policy of the store that it comes from."""

from typing import Callable, Dict, Optional

from ...content import ContentReader
from ...errors import BadSignature, StorageError, TrustError
from ...index.index_cache import IndexCache
from ...package.record import package_tag
from ...reference import LayoutDirectory, parse_url
from ...trust.payload import Subject, repository_of
from ...trust.policy import Policy
from ...trust.verify import Acceptance, Claim, Signature, verify
from ..install.fetch import RemotePackage
from .stored import expected_payloads, stored_signatures

Warn = Callable[[str], None]


class Guard:
    """The packages of one store under one policy. ``warn``: told of what a mode of ``warn`` lets pass."""

    def __init__(
        self,
        policy: Policy,
        store: ContentReader,
        warn: Warn = lambda message: None,
        index: Optional[IndexCache] = None,
    ) -> None:
        """``index``: where what the index of the store says of signatures is kept."""
        self.policy = policy
        self._store = store
        self._warn = warn
        self._index = index
        #: tag -> package
        self._accepted: Dict[str, RemotePackage] = {}

    @property
    def required(self) -> bool:
        return self.policy.required

    def proves(self, remote: RemotePackage) -> bool:
        """Whether the index alone, with what it keeps of signatures, says that a package may be used. No request."""
        if not self.policy.active:
            return True
        if self._index is None:
            return False
        try:
            signed = self._index.lookup_signatures(remote.url, remote.dag_hash)
            if signed is None:
                return False
            subject = subject_of(remote)._replace(config=signed.config, sbom=signed.sbom)
            signatures = [Signature(s.payload or subject.payload(s.key), s.value) for s in signed.signatures]
            verify(self.policy, claim_of(remote, subject, read_from_manifest=False), signatures)
        except (TrustError, StorageError):
            return False  # the tag will tell, and what is wrong
        return True

    def demand(self, remote: RemotePackage) -> Optional[Acceptance]:
        """Raise TrustError if the policy does not accept a package that was read from its tag. One request, and one
        for each signature that is not ours."""
        if not self.policy.active:
            return None
        try:
            return self.verify(remote)
        except TrustError as e:
            if self.policy.required:
                raise
            self._warn(str(e))
            return None

    def remember(self, remote: RemotePackage) -> None:
        """A package was accepted: :meth:`accepted` has it then. Safe in threads."""
        self._accepted[remote.tag] = remote

    def accepted(self, tag: str) -> Optional[RemotePackage]:
        return self._accepted.get(tag)

    def verify(self, remote: RemotePackage) -> Acceptance:
        """As :meth:`demand`, whatever the mode."""
        subject = subject_of(remote)
        signatures = stored_signatures(self._store, remote.manifest.digest, expected_payloads(self.policy, subject))
        accepted = verify(self.policy, claim_of(remote, subject, read_from_manifest=True), signatures)
        check_name(remote)
        return accepted


def check_name(remote: RemotePackage) -> None:
    """Raise BadSignature for a package that was read from a tag which names another package or version. Its hash may be
    the one that is asked for all the same, where nobody has signed the index that told it."""
    node = remote.document["spec"]["nodes"][0]
    if package_tag(str(node.get("name")), str(node.get("version")), remote.dag_hash) != remote.tag:
        raise BadSignature(
            f"what {remote.url} has as {remote.tag} is {node.get('name')}@{node.get('version')}",
            remedy="somebody has moved that tag; its owner deletes it, and signs the index with `spack oci sign`",
        )


def subject_of(remote: RemotePackage) -> Subject:
    return Subject(
        repository=repository_of(remote.url),
        manifest=remote.manifest.digest,
        dag_hash=remote.dag_hash,
        layer=remote.layer.digest,
        layer_size=remote.layer.size,
        diff_id=remote.diff_id,
        config=remote.config.digest if remote.config else None,
    )


def claim_of(remote: RemotePackage, subject: Subject, read_from_manifest: bool) -> Claim:
    is_layout = isinstance(parse_url(remote.url), LayoutDirectory)
    label = f"{remote.tag.removesuffix('.spack').removesuffix(f'-{remote.dag_hash}')}/{remote.dag_hash[:7]}"
    return Claim(label, None if is_layout else subject.repository, subject, read_from_manifest)
