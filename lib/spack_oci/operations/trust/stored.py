# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Read the signatures of a manifest out of a store: bounded, whatever somebody has put there."""

from typing import Iterable, List, Mapping, Optional

from ...content import ContentReader, read_blob
from ...errors import BadSignature, ContentError, DigestMismatch, InvalidContent, NotFound
from ...trust.payload import MAX_PAYLOAD, Subject
from ...trust.policy import Policy
from ...trust.signatures import SignatureLayer, payload_descriptor, read_signatures, signature_tag
from ...trust.verify import Signature

#: payloads that are fetched for one manifest; more are left alone
MOST_PAYLOADS = 32
#: signatures of one manifest over payloads of ours that are looked at; each costs a millisecond of verifying
MOST_OF_OURS = 256


def stored_signatures(
    store: ContentReader, digest: str, known: Optional[Mapping[str, bytes]] = None
) -> List[Signature]:
    """The signatures of the manifest with ``digest``; none if there are none.

    ``known``: digest -> payload that needs not be fetched (:func:`expected_payloads`); these come first. Raises
    BadSignature when something is there that cannot be read.
    """
    tag = signature_tag(digest)
    try:
        _, data = store.get_manifest(tag)
    except NotFound:
        return []
    except ContentError as e:
        raise _unreadable(f"{tag} of {store.url}", e) from e
    return signatures_in(store, data, digest, known or {})


def signatures_in(store: ContentReader, data: bytes, digest: str, known: Mapping[str, bytes]) -> List[Signature]:
    """Those of a signature manifest that was read; see :func:`stored_signatures`."""
    label = f"{signature_tag(digest)} of {store.url}"
    try:
        layers = read_signatures(data, label)
    except ContentError as e:
        raise _unreadable(label, e) from e
    digests = [layer.payload.digest for layer in layers]
    ours = [Signature(known[d], layer.value) for d, layer in zip(digests, layers) if d in known][:MOST_OF_OURS]
    others = [layer for layer in layers if layer.payload.digest not in known][:MOST_PAYLOADS]
    return ours + [signature for signature in (_fetch(store, layer) for layer in others) if signature is not None]


def _unreadable(label: str, error: ContentError) -> BadSignature:
    return BadSignature(
        f"the signatures {label} cannot be read: {error.message}", remedy="its owner deletes that tag and signs again"
    )


def _fetch(store: ContentReader, layer: SignatureLayer) -> Optional[Signature]:
    """None: the payload is not there, or another one. What the registry fails to answer is an error."""
    try:
        return Signature(read_blob(store, layer.payload, MAX_PAYLOAD), layer.value)
    except (NotFound, DigestMismatch, InvalidContent):
        return None


def expected_payloads(policy: Policy, subject: Subject) -> Mapping[str, bytes]:
    """What the keys of a policy sign when they sign ``subject``, by digest."""
    return by_digest(subject.payload(key.id) for key in policy.keys)


def by_digest(payloads: Iterable[bytes]) -> Mapping[str, bytes]:
    return {payload_descriptor(Signature(payload, b"")).digest: payload for payload in payloads}
