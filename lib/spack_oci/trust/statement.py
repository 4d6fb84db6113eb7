# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a key says of an index: of which repository, or of which snapshot in it, it is, what it consists of, and its
place in time.

A registry can always offer what it had before. It cannot make a statement with a higher generation, so a client that
remembers the newest one it has seen (:mod:`spack_oci.operations.trust.generations`) notices.

Snapshots are signed by the same keys, so their statements are of another type and name the snapshot: a registry cannot
offer one as the index of the cache, nor as another snapshot. The statement of a cache's index has remained what it was
before there was that other type, so who knows none reads it, and takes no snapshot for an index either.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ..descriptor import canonical_json, check_digest
from ..errors import BadSignature, InvalidContent, InvalidReference
from .keys import PublicKey
from .payload import parse_strict
from .policy import Policy
from .signers import Signer

TYPE, SNAPSHOT_TYPE = "spack-oci index", "spack-oci snapshot"
_MEMBERS = {"type", "repository", "document", "signatures", "generation", "time"}


@dataclass(frozen=True)
class Statement:
    """``document``, ``signatures``: digests of the layers; ``time``: seconds since 1970; ``snapshot``: its name; empty:
    the index of the cache."""

    repository: str
    document: str
    signatures: Optional[str]
    generation: int
    time: int
    snapshot: str = ""

    def to_text(self) -> str:
        members: Dict[str, Any] = {**vars(self), "type": SNAPSHOT_TYPE}
        if not self.snapshot:
            members["type"] = TYPE
            del members["snapshot"]
        return canonical_json(members).decode("utf-8")


def parse_statement(text: str) -> Statement:
    """Raises InvalidContent."""
    data = parse_strict(text.encode("utf-8"), "the statement about an index")
    members = _MEMBERS | {"snapshot"} if data.get("type") == SNAPSHOT_TYPE else _MEMBERS
    snapshot = data.get("snapshot", "")
    if (
        data.keys() != members
        or data["type"] not in (TYPE, SNAPSHOT_TYPE)
        or not isinstance(data["repository"], str)
        or not isinstance(snapshot, str)
    ):
        raise InvalidContent("the statement about an index does not have the members that it should")
    generation, time = data["generation"], data["time"]
    if any(type(number) is not int or number < 0 for number in (generation, time)):
        raise InvalidContent("the statement about an index has no valid generation and time")
    try:
        check_digest(data["document"])
        if data["signatures"] is not None:
            check_digest(data["signatures"])
    except InvalidReference as e:
        raise InvalidContent(f"the statement about an index: {e.message}") from None
    return Statement(data["repository"], data["document"], data["signatures"], generation, time, snapshot)


def sign_statement(statement: Statement, signer: Signer) -> "tuple[str, str]":
    """(text, signature in base64)."""
    text = statement.to_text()
    return text, base64.b64encode(signer.sign(text.encode("utf-8"))).decode()


def signed_by(text: str, signature: str, keys: Any) -> Optional[PublicKey]:
    """The one of ``keys`` that signed a statement; None: none did."""
    try:
        value = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    return next((key for key in keys if key.verifies(value, text.encode("utf-8"))), None)


def verify_statement(
    policy: Policy,
    text: str,
    signature: str,
    *,
    here: Optional[str],
    document: str,
    signatures: Optional[str],
    label: str,
    snapshot: str = "",
) -> Statement:
    """``here``: HOST/NAME that the index comes from; None: a layout directory; ``snapshot``: that it is asked for as;
    the other digests: what is offered.

    Raises BadSignature if no key of the policy has signed exactly that.
    """
    if signed_by(text, signature, policy.keys) is None:
        names = ", ".join(key.name for key in policy.keys) or "any key"
        raise BadSignature(
            f"the index of {label} is signed, but not by {names}",
            remedy="if you trust who signed it, add the key with `spack oci key add`; `spack oci verify` shows its id",
        )
    try:
        statement = parse_statement(text)
    except InvalidContent as e:
        raise BadSignature(f"{e.message} of {label}") from None
    if (statement.document, statement.signatures) != (document, signatures):
        raise BadSignature(
            f"the index of {label} is not the one that was signed: its layers were exchanged or removed",
            remedy="do not use it before its owner has explained it; its owner repairs it with `spack oci sign`",
        )
    if statement.snapshot != snapshot:
        raise _other_part(label, statement.snapshot, snapshot)
    if not policy.accepts_repository(statement.repository, here):
        raise BadSignature(
            f"the index of {label} is signed as that of another repository, {statement.repository}",
            remedy="if this is a copy of that one, list it in `repositories` of the policy in oci:trust",
        )
    return statement


def _other_part(label: str, signed: str, wanted: str) -> BadSignature:
    what = f"the snapshot {signed}" if signed else "the index of a whole cache"
    if not wanted:
        remedy = "do not use it before its owner has explained it; its owner repairs it with `spack oci sign`"
    else:
        again = "" if signed else ", also if an older spack-oci signed it, which named no snapshots"
        remedy = f"its owner makes it anew with `spack oci snapshot`{again}"
    return BadSignature(f"what {label} offers as its index is signed as {what}", remedy=remedy)
