# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The SBOM that is attached to a package or image, compared with the one that its signatures name.

Anybody who may push can attach another one. A signature that a push with ``--sbom`` has made names the digest of its
own; one that was made later (``spack oci sign``, cosign) names none.
"""

from dataclasses import replace
from typing import Callable, Dict, Optional, Sequence

from ...content import ContentStore
from ...descriptor import sha256_digest
from ...errors import BadSignature, NotFound, NotSigned, TrustError
from ...reference import LayoutDirectory, parse_url
from ...trust.keys import PublicKey
from ...trust.payload import SBOM, Subject, parse_payload, repository_of
from ...trust.policy import Policy
from ...trust.sbom import MEDIA_TYPE
from ...trust.verify import Claim, Signature, verify
from .attach import attached
from .stored import stored_signatures

_PUSH_AGAIN = "push it with --sbom --force"


def read_sbom(
    store: ContentStore,
    digest: str,
    label: str,
    policy: Policy,
    keys: Sequence[PublicKey] = (),
    warn: Callable[[str], None] = lambda message: None,
) -> bytes:
    """That of the manifest with ``digest``. ``label``: for messages; ``keys``: further ones that are known.

    Raises NotFound where there is none, and TrustError where the policy requires a signature and this is not what was
    signed; ``warn`` is told of that otherwise. Without a policy and without a known key, nothing is compared.
    """
    signed_by: Dict[str, PublicKey] = {}
    judging = policy if policy.active else replace(policy, keys=tuple(keys))
    signatures = stored_signatures(store, digest) if judging.keys else []
    here = repository_of(store.url)
    claim = Claim(
        label,
        None if isinstance(parse_url(store.url), LayoutDirectory) else here,
        Subject(here, digest),
        read_from_manifest=True,
    )
    for signature in signatures:
        signed_by.update(_named(judging, claim, signature))
    document = attached(store, digest, MEDIA_TYPE, signed_by)
    if document is None:
        gone = f", though {_names(signed_by)} signed one" if signed_by else ""
        raise NotFound(f"{label} has no SBOM{gone}", remedy=_PUSH_AGAIN)
    try:
        if policy.active:
            verify(policy, claim, signatures)
        _compare(judging, label, sha256_digest(document), signed_by)
    except TrustError as e:
        if policy.required:
            raise
        warn(str(e))
    return document


def _named(policy: Policy, claim: Claim, signature: Signature) -> Dict[str, PublicKey]:
    """Digest of the SBOM that a signature names -> the key that made it; empty: none, or it does not count."""
    try:
        (key,) = verify(replace(policy, threshold=1), claim, [signature]).keys
    except TrustError:
        return {}
    digest: Optional[str] = parse_payload(signature.payload).text(SBOM)
    return {} if digest is None else {digest: key}


def _compare(policy: Policy, label: str, digest: str, signed_by: Dict[str, PublicKey]) -> None:
    if digest in signed_by:
        return
    if signed_by:
        raise BadSignature(
            f"the SBOM of {label} is another one than {_names(signed_by)} signed: {digest}, not {', '.join(signed_by)}",
            remedy="do not use it before its owner has explained it",
        )
    if policy.active:
        raise NotSigned(
            f"the SBOM of {label} is not signed by {', '.join(key.name for key in policy.keys)}",
            remedy=f"its owner signs both at once: {_PUSH_AGAIN} --sign KEY",
        )


def _names(signed_by: Dict[str, PublicKey]) -> str:
    return ", ".join(sorted({key.name for key in signed_by.values()}))
