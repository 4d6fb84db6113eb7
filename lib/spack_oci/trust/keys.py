# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Public keys: read, named, and asked whether they made a signature.

Signatures are those that cosign verifies with a key: ECDSA over SHA-256 in ASN.1 DER, RSA PKCS#1 v1.5 with SHA-256, or
Ed25519 (RFC 8032, not Ed25519ph, which cosign 3 makes of such a key and does not verify itself).
"""

import base64
import binascii
import hashlib
import os
import re
import stat
import sys
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import ConfigurationError, StorageError

#: as ``openssl pkey -pubout`` and ``cosign generate-key-pair`` write it
PUBLIC_MARK = b"-----BEGIN PUBLIC KEY-----"
#: a public key of RSA with 16384 bits has some 3 kB
MAX_KEY_FILE = 64 << 10
_SMALLEST_RSA = 2048
_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*\Z")
#: what a SubjectPublicKeyInfo on P-256 begins with (RFC 5480), and the bytes of the uncompressed point after it
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_POINT = 65
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
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(SHA256()))
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, data, padding.PKCS1v15(), SHA256())
            else:
                self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @property
    def short_id(self) -> str:
        return self.id[:12]

    def describe(self) -> str:
        """``ECDSA secp256r1``, ``RSA 3072`` or ``Ed25519``."""
        curve, size = getattr(self._key, "curve", None), getattr(self._key, "key_size", None)
        if curve is not None:
            return f"ECDSA {curve.name}"
        return f"RSA {size}" if size is not None else "Ed25519"


def read_key_file(path: str, what: str = "key", remedy: str = "see oci:trust:keys and oci:signing") -> bytes:
    """The first 64 KiB of a file, or of a pipe that the shell has opened (``<(pass show team)``). ``what``: for
    messages. Raises ConfigurationError, StorageError."""
    try:
        # a pipe that nobody writes to is not waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            kind = _kind_of(descriptor, path)
            if kind:
                raise ConfigurationError(f"the {what} {path} is a {kind}, not a file", remedy=f"name a file; {remedy}")
            os.set_blocking(descriptor, True)
            with open(descriptor, "rb", closefd=False) as f:
                return f.read(MAX_KEY_FILE)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {what} {path}", remedy=remedy) from None
    except OSError as e:
        raise StorageError.from_os_error(f"reading the {what} {path}", e) from e


def _kind_of(descriptor: int, path: str) -> str:
    """What an open file is instead of a file; empty: it is one."""
    mode = os.fstat(descriptor).st_mode
    # what a pipe without a name is a link to (Linux: /proc/PID/fd/pipe:[NUMBER]) is nowhere
    if stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and not os.path.exists(os.path.realpath(path))):
        return ""
    return "directory" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device"


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

    where = f"the key {name}" + (f" ({origin})" if origin else "")
    if not data.strip():
        raise ConfigurationError(f"{where} is empty", remedy="give the file that `spack oci key generate` wrote")
    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError(f"{where} is a private key", remedy="a policy names public keys: the .pub file")
    if data.count(b"-----BEGIN ") > 1:  # of which only one would count
        raise ConfigurationError(f"{where} holds several keys", remedy="give each a file, and a name in oci:trust:keys")
    try:
        usual = _usual_key(data, name)
        if usual is not None:
            return usual
        # imports ciphers and more
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as e:
        why = str(e).partition(" See http")[0]
        raise ConfigurationError(
            f"{where} is no public key in PEM format: {why}", remedy="it begins with -----BEGIN PUBLIC KEY-----"
        ) from None
    return public_key(key, name, where)


def _usual_key(data: bytes, name: str) -> Optional[PublicKey]:
    """An ECDSA key on P-256, as cosign makes them, with half of the imports. None: the file holds something else.
    Raises ValueError for a point that is not on the curve."""
    from cryptography.hazmat.primitives.asymmetric import ec

    match = _PEM.match(data)
    try:
        der = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        return None
    if len(der) != len(_P256) + _P256_POINT or not der.startswith(_P256):
        return None
    return _public_of_p256(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), der[len(_P256) :]), name)


def _public_of_p256(key: Any, name: str) -> PublicKey:
    der = _P256 + point_of(key)
    text = base64.b64encode(der)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    pem = b"%s\n%s\n-----END PUBLIC KEY-----\n" % (PUBLIC_MARK, lines)
    return PublicKey(name, hashlib.sha256(der).hexdigest(), pem, key)


def point_of(key: Any) -> bytes:
    """Of a public key on P-256, uncompressed (SEC 1, 2.3.3)."""
    numbers = key.public_numbers()
    return b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def public_key(key: Any, name: str, where: str = "") -> PublicKey:
    """Of a key object of ``cryptography``; ConfigurationError for one whose signatures cosign would not verify."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    where = where or f"the key {name}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return _public_of_p256(key, name)
        if key.curve.name not in _CURVES:
            raise _unsupported(where, f"ECDSA on the curve {key.curve.name}")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise _unsupported(where, f"RSA with {key.key_size} bits")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise _unsupported(where, type(key).__name__.replace("PublicKey", "").strip("_"))
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(name, hashlib.sha256(der).hexdigest(), pem, key)


def _unsupported(where: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} is of a kind that is not supported: {kind}",
        remedy="use ECDSA on P-256 (spack oci key generate), P-384 or P-521, RSA with 2048 bits or more, or Ed25519",
    )
