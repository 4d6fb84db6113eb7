# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who has signed a package, and whether that is what a policy asks for."""

from typing import Dict, List, Optional, Sequence, Tuple

from ...content import ContentReader
from ...errors import InvalidContent, SpackOciError, TrustError
from ...trust.keys import PublicKey
from ...trust.payload import KEY_ID, parse_payload
from ...trust.policy import Policy
from ...trust.verify import Signature, verify
from ..install.fetch import RemotePackage
from .guard import check_name, claim_of, subject_of
from .stored import expected_payloads, stored_signatures


def signed_by(
    store: ContentReader, remote: RemotePackage, policy: Policy, keys: Sequence[PublicKey] = ()
) -> Tuple[List[str], Optional[SpackOciError]]:
    """Names of known keys that made a signature that holds, and ids of others that claim one; and what is wrong.

    ``keys``: further ones that are known by name. A package that the policy does not accept is wrong whatever the mode,
    unless it is off.
    """
    known = tuple({key.id: key for key in (*policy.keys, *keys)}.values())
    names: List[str] = []
    try:
        signatures = stored_signatures(
            store, remote.manifest.digest, expected_payloads(Policy(keys=known), subject_of(remote))
        )
        names = _who(remote, known, signatures)
        if policy.active:
            _check(policy, remote, signatures)
            check_name(remote)
    except SpackOciError as e:
        return names, e
    return names, None


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
