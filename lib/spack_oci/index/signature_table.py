# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The signatures of all packages of an index, as a layer of its own of the index artifact.

A JSON object a line, compressed with zstd, sorted by hash (docs/format.md)::

    {"hash":DAG HASH,"config":DIGEST,"signatures":[{"key":KEY ID,"value":BASE64}, ...]}

The payload that a signature is over is made again from this line and the index's entry of the package; only one that
cannot be (``cosign sign`` makes its own) stands there as ``payload``. Nothing here verifies anything.
"""

import base64
import binascii
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..descriptor import canonical_json, check_digest, parse_json
from ..errors import InvalidContent, InvalidReference

SIGNATURES_TYPE = "application/vnd.spack-oci.index.signatures.v1.jsonl+zstd"

#: of the tags under which each key's last signatures are (:mod:`spack_oci.operations.trust.announced`)
SIGNED_PREFIX = "spack-oci.signed."

#: bytes; 20,000 packages need 3 MB
MAX_SIGNATURES_SIZE = 256 << 20
#: of one package that are kept
MOST_SIGNATURES = 32
_LEVEL = 9
_WHAT = "the signatures of the package index"


@dataclass(frozen=True)
class IndexedSignature:
    """``key``: its id, as the signer says; ``payload``: None: the one that the key's owner makes of the entry;
    ``signed``: the payload in any case, where it is known, for who puts it beside others."""

    key: str
    value: bytes
    payload: Optional[bytes] = None
    signed: Optional[bytes] = field(default=None, compare=False, repr=False)

    def to_dict(self) -> Dict[str, str]:
        result = {"key": self.key, "value": base64.b64encode(self.value).decode()}
        if self.payload is not None:
            result["payload"] = self.payload.decode("utf-8")
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "IndexedSignature":
        payload = data.get("payload")
        return cls(
            str(data["key"]),
            base64.b64decode(data["value"], validate=True),
            None if payload is None else payload.encode("utf-8"),
        )


class SignedPackage(NamedTuple):
    """``config``: digest of the config, which the index does not name; ``sbom``: of the SBOM, if there is one."""

    signatures: Tuple[IndexedSignature, ...]
    config: Optional[str] = None
    sbom: Optional[str] = None

    def to_line(self, dag_hash: str) -> bytes:
        document: Dict[str, Any] = {"hash": dag_hash}
        if self.config is not None:
            document["config"] = self.config
        if self.sbom is not None:
            document["sbom"] = self.sbom
        document["signatures"] = [s.to_dict() for s in self.signatures]
        return canonical_json(document) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Tuple[str, SignedPackage]":
        """Raises InvalidContent."""
        document = parse_json(line, _WHAT)
        try:
            digests = [document.get("config"), document.get("sbom")]
            for digest in digests:
                if digest is not None:
                    check_digest(digest)
            signatures = tuple(IndexedSignature.from_dict(s) for s in document["signatures"][:MOST_SIGNATURES])
            return str(document["hash"]), cls(signatures, *digests)
        except (KeyError, TypeError, AttributeError, ValueError, binascii.Error, InvalidReference) as e:
            raise InvalidContent(f"{_WHAT} have a line that is none ({type(e).__name__}: {e})") from None

    def merged(self, other: "SignedPackage") -> "SignedPackage":
        """With the signatures of ``other``, which win over those of the same key and payload.

        A line has one SBOM, but who signs later may know of none. The payloads of the side that loses its own are
        spelled out: of ``self``, unless they are not known.
        """
        older, newer = self, other
        if self._makes_payloads and other._makes_payloads and self.sbom != other.sbom:
            if all(s.payload or s.signed for s in self.signatures):
                older = self._spelled_out()
            else:
                newer = other._spelled_out()
        found = {(s.key, s.payload): s for s in (*older.signatures, *newer.signatures)}
        short = {(s.key, s.value) for s in found.values() if s.payload is None}
        found = {k: s for k, s in found.items() if s.payload is None or (s.key, s.value) not in short}
        signatures = tuple(found[k] for k in sorted(found, key=lambda k: (k[0], k[1] or b"")))
        line = older if older._makes_payloads and not newer._makes_payloads else newer
        sbom = line.sbom if line._makes_payloads else other.sbom or self.sbom
        return SignedPackage(signatures[:MOST_SIGNATURES], line.config or self.config or other.config, sbom)

    @property
    def _makes_payloads(self) -> bool:
        return any(s.payload is None for s in self.signatures)

    def _spelled_out(self) -> "SignedPackage":
        return self._replace(signatures=tuple(replace(s, payload=s.payload or s.signed) for s in self.signatures))


#: DAG hash -> what is known of its signatures
SignatureTable = Dict[str, SignedPackage]


def table_of_lines(lines: Iterable[bytes]) -> SignatureTable:
    """Raises InvalidContent."""
    return dict(SignedPackage.from_line(line) for line in lines)


def lines_of_table(table: Mapping[str, SignedPackage]) -> Iterator[bytes]:
    for dag_hash in sorted(table):
        if table[dag_hash].signatures:
            yield table[dag_hash].to_line(dag_hash)


def compress_table(table: Mapping[str, SignedPackage]) -> bytes:
    """The layer, one zstd frame. The same table gives the same bytes (with the same libzstd)."""
    import zstandard  # not at the top: most of Spack's processes never write an index

    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(lines_of_table(table)))


def merge_tables(*tables: Mapping[str, SignedPackage]) -> SignatureTable:
    result: SignatureTable = {}
    for table in tables:
        for dag_hash, package in table.items():
            known = result.get(dag_hash)
            result[dag_hash] = package if known is None else known.merged(package)
    return result


def keys_of(package: SignedPackage) -> List[str]:
    return [s.key for s in package.signatures]
