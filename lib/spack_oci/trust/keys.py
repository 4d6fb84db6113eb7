# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Public keys: read, named, and asked whether they made a signature.

Signatures are those of cosign with a key pair: ECDSA over SHA-256 in ASN.1 DER, or RSA PKCS#1 v1.5 with SHA-256. What
cosign makes with an Ed25519 key is Ed25519ph (RFC 8032, section 5.1), which ``cryptography`` does not have; such a key
is refused by name rather than never matching.
"""

import hashlib
import sys
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError

#: as ``openssl pkey -pubout`` and ``cosign generate-key-pair`` write it
PUBLIC_MARK = b"-----BEGIN PUBLIC KEY-----"
#: a public key of RSA with 16384 bits has some 3 kB
MAX_KEY_FILE = 64 << 10
_SMALLEST_RSA = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class PublicKey:
    """``name``: what a policy calls it; ``id``: hexadecimal SHA-256 of its DER form (SubjectPublicKeyInfo)."""

    name: str
    id: str
    pem: bytes = field(repr=False, compare=False)
    _key: Any = field(repr=False, compare=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the private half of this key made ``signature`` over ``data``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(SHA256()))
            else:
                self._key.verify(signature, data, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True

    @property
    def short_id(self) -> str:
        return self.id[:12]

    def describe(self) -> str:
        """``ECDSA secp256r1`` or ``RSA 3072``."""
        curve = getattr(self._key, "curve", None)
        return f"ECDSA {curve.name}" if curve is not None else f"RSA {self._key.key_size}"


def require_cryptography() -> None:
    """Raise ConfigurationError where signatures can be neither made nor verified."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "signatures need the Python package cryptography, which is not installed",
            remedy=how_to_install(),
        ) from None


def how_to_install() -> str:
    return f"run {sys.executable} -m pip install 'spack-oci[sign]'"


def read_public_key(data: bytes, name: str, origin: str = "") -> PublicKey:
    """The public key in a PEM file. ``origin``: where it was, for messages. Raises ConfigurationError."""
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    where = f"the key {name}" + (f" ({origin})" if origin else "")
    if not data.strip():
        raise ConfigurationError(f"{where} is empty", remedy="give the file that `spack oci key generate` wrote")
    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError(f"{where} is a private key", remedy="a policy names public keys: the .pub file")
    if data.count(b"-----BEGIN ") > 1:  # of which only one would count
        raise ConfigurationError(f"{where} holds several keys", remedy="give each a file, and a name in oci:trust:keys")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as e:
        why = str(e).partition(" See http")[0]
        raise ConfigurationError(
            f"{where} is no public key in PEM format: {why}", remedy="it begins with -----BEGIN PUBLIC KEY-----"
        ) from None
    return public_key(key, name, where)


def public_key(key: Any, name: str, where: str = "") -> PublicKey:
    """Of a key object of ``cryptography``; ConfigurationError for one whose signatures cosign would not verify."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    where = where or f"the key {name}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise _unsupported(where, f"ECDSA on the curve {key.curve.name}")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise _unsupported(where, f"RSA with {key.key_size} bits")
    else:
        raise _unsupported(where, type(key).__name__.replace("PublicKey", "").strip("_"))
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(name, hashlib.sha256(der).hexdigest(), pem, key)


def _unsupported(where: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} is of a kind that is not supported: {kind}",
        remedy="use ECDSA on P-256 (spack oci key generate), P-384 or P-521, or RSA with 2048 bits or more",
    )
