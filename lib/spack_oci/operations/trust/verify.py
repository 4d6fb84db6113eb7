# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Look at packages of a store: can they be read, are their layers there, who has signed them."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence

from ...content import ContentStore
from ...errors import InvalidContent, SpackOciError, TrustError
from ...trust.keys import PublicKey
from ...trust.payload import KEY_ID, parse_payload
from ...trust.policy import Policy
from ...trust.verify import Signature, verify
from ...util.threads import DaemonPool
from ..install.fetch import RemotePackage, find_package
from .guard import claim_of, subject_of
from .stored import expected_payloads, stored_signatures


@dataclass(frozen=True)
class Finding:
    """``signed_by``: names of known keys that made a signature that holds, and ids of others that claim one;
    ``problems``: what is wrong, with what to do about it."""

    tag: str
    manifest: str = ""
    signed_by: Sequence[str] = ()
    problems: List[str] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "tag": self.tag,
            "manifest": self.manifest or None,
            "signed_by": list(self.signed_by),
            "problems": self.problems,
        }


def verify_packages(
    store: ContentStore,
    tags: Sequence[str],
    policy: Policy,
    keys: Sequence[PublicKey] = (),
    *,
    blobs: bool = True,
    jobs: int = 8,
) -> List[Finding]:
    """One finding for each tag, in their order. ``keys``: further ones that are known by name; ``blobs``: ask whether
    layers are there. A package that the policy does not accept has a problem, whatever the mode, unless it is off."""
    known = tuple({key.id: key for key in (*policy.keys, *keys)}.values())

    def one(tag: str) -> Finding:
        try:
            remote = find_package(store, tag)
        except SpackOciError as e:
            return Finding(tag, problems=[str(e)])
        problems = []
        if blobs and not store.has_blob(remote.layer.digest):
            problems.append(f"its layer {remote.layer.digest} is missing: push it again with --force")
        signed_by: Sequence[str] = ()
        try:
            signatures = stored_signatures(
                store, remote.manifest.digest, expected_payloads(Policy(keys=known), subject_of(remote))
            )
            signed_by = _who(remote, known, signatures)
            if policy.active:
                _check(policy, remote, signatures)
        except SpackOciError as e:
            problems.append(str(e))
        return Finding(tag, remote.manifest.digest, signed_by, problems)

    with DaemonPool(jobs, "verify") as pool:
        return list(pool.map(one, tags))


def _check(policy: Policy, remote: RemotePackage, signatures: Sequence[Signature]) -> None:
    verify(policy, claim_of(remote, subject_of(remote), read_from_manifest=True), signatures)


def _who(remote: RemotePackage, known: Sequence[PublicKey], signatures: Sequence[Signature]) -> List[str]:
    found: Dict[str, None] = {}
    for signature in signatures:
        key = next((k for k in known if k.verifies(signature.value, signature.payload)), None)
        if key is None:
            found[f"unknown key {_claimed(signature)}".strip()] = None
            continue
        try:
            _check(Policy("require", (key,), repositories=("*",)), remote, [signature])
            found[key.name] = None
        except TrustError:
            found[f"{key.name}, but not of this"] = None
    return list(found)


def _claimed(signature: Signature) -> str:
    """The id that a payload names; nothing of it is verified."""
    try:
        key_id: Optional[str] = parse_payload(signature.payload).text(KEY_ID)
    except InvalidContent:
        return ""
    return key_id[:12] if key_id and key_id.isalnum() else ""
