# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a key says of an index: of which repository it is, what it consists of, and its place in time.

A registry can always offer what it had before. It cannot make a statement with a higher generation, so a client that
remembers the newest one it has seen (:mod:`spack_oci.operations.trust.generations`) notices.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Optional

from ..descriptor import canonical_json, check_digest
from ..errors import BadSignature, InvalidContent, InvalidReference
from .keys import PublicKey
from .payload import parse_strict
from .policy import Policy
from .signers import Signer

TYPE = "spack-oci index"
_MEMBERS = {"type", "repository", "document", "signatures", "generation", "time"}


@dataclass(frozen=True)
class Statement:
    """``document``, ``signatures``: digests of the layers; ``time``: seconds since 1970."""

    repository: str
    document: str
    signatures: Optional[str]
    generation: int
    time: int

    def to_text(self) -> str:
        return canonical_json({"type": TYPE, **vars(self)}).decode("utf-8")


def parse_statement(text: str) -> Statement:
    """Raises InvalidContent."""
    data = parse_strict(text.encode("utf-8"), "the statement about an index")
    if data.keys() != _MEMBERS or data["type"] != TYPE or not isinstance(data["repository"], str):
        raise InvalidContent("the statement about an index does not have the members that it should")
    numbers = [data["generation"], data["time"]]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise InvalidContent("the statement about an index has no valid generation and time")
    try:
        check_digest(data["document"])
        if data["signatures"] is not None:
            check_digest(data["signatures"])
    except InvalidReference as e:
        raise InvalidContent(f"the statement about an index: {e.message}") from None
    return Statement(data["repository"], data["document"], data["signatures"], *numbers)


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
) -> Statement:
    """``here``: HOST/NAME that the index comes from; None: a layout directory; the other digests: what is offered.

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
    if not policy.accepts_repository(statement.repository, here):
        raise BadSignature(
            f"the index of {label} is signed as that of another repository, {statement.repository}",
            remedy="if this is a copy of that one, list it in `repositories` of the policy in oci:trust",
        )
    return statement
