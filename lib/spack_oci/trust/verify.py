# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The decision: a policy, what is claimed to be a package, and signatures make an acceptance or an error. Pure.

A signature counts when a key of the policy made it over exactly these bytes, and what the bytes say is what is about
to be used: this manifest, in this repository, and for payloads of ours this DAG hash, layer and so on. Bytes are parsed
after their signature was verified, not before.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence

from ..errors import BadSignature, InvalidContent, NotSigned, TrustError
from .keys import PublicKey
from .payload import CONFIG, DAG_HASH, DIFF_ID, KEY_ID, LAYER, LAYER_SIZE, Payload, Subject, parse_payload
from .policy import Policy


class Signature(NamedTuple):
    """``payload``: the bytes that were signed; ``value``: the signature as bytes."""

    payload: bytes
    value: bytes


class Claim(NamedTuple):
    """What is about to be used, and how it is known."""

    #: for messages: ``zlib@1.3.1/abcdefg``
    label: str
    #: HOST/NAME that it comes from; None: a layout directory
    repository: Optional[str]
    subject: Subject
    #: layer and DAG hash were read out of the manifest with this digest (True), or somebody says that they belong to
    #: it (False); then a payload must name them itself
    read_from_manifest: bool = False


class Acceptance(NamedTuple):
    """The keys that have signed, in the order of the policy."""

    keys: Sequence[PublicKey]


def verify(policy: Policy, claim: Claim, signatures: Sequence[Signature]) -> Acceptance:
    """Raises NotSigned when there are too few signatures by keys of the policy, BadSignature when one is not what it
    should be and too few others are.
    """
    accepted: Dict[str, PublicKey] = {}
    problems: List[str] = []
    for signature in signatures:
        key = _maker(policy, signature)
        if key is None:
            problems.append(_stranger(policy, signature))
            continue
        problem = _problem(policy, claim, signature.payload)
        if problem:
            problems.append(f"the signature by {key.name} {problem}")
        else:
            accepted[key.id] = key
    if len(accepted) >= policy.threshold:
        return Acceptance([key for key in policy.keys if key.id in accepted])
    raise _refusal(policy, claim, list(accepted.values()), problems)


def _maker(policy: Policy, signature: Signature) -> Optional[PublicKey]:
    return next((key for key in policy.keys if key.verifies(signature.value, signature.payload)), None)


def _stranger(policy: Policy, signature: Signature) -> str:
    """Why a signature is by no key of the policy, as far as it says itself: nothing of this is verified."""
    try:
        key_id = parse_payload(signature.payload).text(KEY_ID) or ""
    except InvalidContent as e:
        return e.message
    known = next((key for key in policy.keys if key.id == key_id), None)
    if known is not None:
        return f"a signature that names the key {known.name} is not by it"
    return f"a signature is by another key{f' ({key_id[:12]})' if key_id.isalnum() else ''}"


def _problem(policy: Policy, claim: Claim, data: bytes) -> str:
    """What is wrong with what was signed; empty: nothing."""
    try:
        payload = parse_payload(data)
        return _mismatch(policy, claim, payload)
    except InvalidContent as e:
        return f"is over something else: {e.message}"


def _mismatch(policy: Policy, claim: Claim, payload: Payload) -> str:
    subject = claim.subject
    if payload.manifest != subject.manifest:
        return f"is of another manifest, {payload.manifest}"
    if not policy.accepts_repository(payload.repository, claim.repository):
        return f"is of another repository, {payload.repository}"
    size = None if subject.layer_size is None else str(subject.layer_size)
    facts = {
        DAG_HASH: (subject.dag_hash, "package"),
        LAYER: (subject.layer, "layer"),
        LAYER_SIZE: (size, "layer size"),
        DIFF_ID: (subject.diff_id, "layer content"),
        CONFIG: (subject.config, "config"),
    }
    for name, (wanted, label) in facts.items():
        said = payload.text(name)
        if said is not None and wanted is not None and said != wanted:
            return f"is of another {label}, {said}"
    if not claim.read_from_manifest:
        for name in (DAG_HASH, LAYER):
            if payload.text(name) is None:
                return f"does not say which {facts[name][1]} it is of"
    return ""


def _refusal(policy: Policy, claim: Claim, accepted: List[PublicKey], problems: List[str]) -> TrustError:
    wanted = policy.signers
    where = claim.repository or "the layout directory"
    if not problems:
        if accepted:
            text = f"{claim.label} in {where} is signed by {', '.join(k.name for k in accepted)} only, not by {wanted}"
        else:
            text = f"{claim.label} in {where} is not signed by {wanted}"
        return NotSigned(text, remedy=_HOW_TO_SIGN)
    strangers = all("by another key" in problem for problem in problems)
    label = "; ".join(sorted(set(problems))[:3])
    error = NotSigned if strangers else BadSignature
    return error(
        f"{claim.label} in {where} is not signed as it has to be (by {wanted}): {label}", remedy=_remedy(label)
    )


_HOW_TO_SIGN = (
    "who has the key signs it with `spack oci sign`; --no-check-signature installs it without asking for a signature"
)


def _remedy(label: str) -> str:
    if "another repository" in label:
        return "if this is a copy of that one, list it in `repositories` of the policy in oci:trust"
    if "by another key" in label:
        return "see `spack oci verify` for who signed it; if you trust that key, `spack oci key add` adds it"
    return "do not use it before its owner has explained it; `spack oci show` shows what refers to it"
