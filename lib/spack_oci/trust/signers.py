# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What makes signatures: a private key in a file, or a program of the user's (a token, an agent, a key service).

The encrypted files are cosign's own (``cosign generate-key-pair``, sigstore ``pkg/cryptoutils`` and
go-securesystemslib ``encrypted``): PEM around JSON, the password through scrypt, PKCS#8 in a NaCl secretbox.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Protocol, Sequence

from ..errors import ConfigurationError, SigningError, StorageError
from ..util.concurrency.processes import Child, available_cores
from .keys import PublicKey, how_to_install, point_of, public_key, read_key_file, require_cryptography

#: what cosign 2 and 3 write, and what cosign 1 wrote
_MARKS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_KDF, _CIPHER = "scrypt", "nacl/secretbox"
_SALT, _NONCE, _KEY = 32, 24, 32
#: scrypt's N that cosign has written over the years; r and p were always the same
_COSTS = (1 << 15, 1 << 16, 1 << 17)
_COST = 1 << 16
_R, _P = 8, 1
#: bytes that scrypt may take: 128 * N * r, and some for itself
_SCRYPT_MEMORY = 160 << 20
#: of PKCS #8 for a key on P-256 (RFC 5958, 5915), as OpenSSL and Go write it: all up to the private number, and what is
#: between that and the public point
_P256 = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
_P256_POINT = bytes.fromhex("a144034200")
#: seconds; a program may ask its user to touch a token
PROGRAM_TIMEOUT = 120.0

#: asked for the password of a file when it turns out to be encrypted
Password = Callable[[], bytes]


class Signer(Protocol):
    """Safe to use from several threads."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this makes."""

    def sign(self, data: bytes) -> bytes:
        """A signature over ``data`` that ``public`` verifies. Raises SigningError."""


@dataclass(frozen=True)
class KeySigner:
    """A private key in memory."""

    public: PublicKey
    _key: Any = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), SHA256())
        return self._key.sign(data)  # Ed25519


class ProgramSigner(NamedTuple):
    """A program that signs: it gets the SHA-256 digest as 64 hexadecimal digits and a newline on its standard input,
    and prints the signature (ASN.1 DER for ECDSA), base64. ``argv``: run as it is, without a shell."""

    public: PublicKey
    argv: Sequence[str]

    def sign(self, data: bytes) -> bytes:
        program = shutil.which(self.argv[0])
        if program is None:
            raise SigningError(f"the signing program {self.argv[0]} is not on PATH", remedy="see oci:signing:program")
        digest = hashlib.sha256(data).hexdigest()
        try:
            done = subprocess.run(
                [program, *self.argv[1:]],
                input=f"{digest}\n".encode(),
                stdout=subprocess.PIPE,
                timeout=PROGRAM_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SigningError(f"the signing program {program} took longer than {PROGRAM_TIMEOUT:.0f} s") from None
        except OSError as e:
            raise SigningError(f"cannot run the signing program {program}: {e.strerror}") from e
        if done.returncode:
            raise SigningError(f"the signing program {program} failed with exit code {done.returncode}")
        try:
            signature = base64.b64decode(b"".join(done.stdout.split()), validate=True)
        except binascii.Error:
            raise SigningError(f"the signing program {program} did not print a signature in base64") from None
        if not self.public.verifies(signature, data):
            raise SigningError(
                f"what the signing program {program} printed is no signature by the key {self.public.name}",
                remedy="see that oci:signing:public_key is that of the program's key, and that it signs the digest",
            )
        return signature


class LockedSigner:
    """A private key whose file is being decrypted: who needs it first waits for that. Both raise ConfigurationError
    then if the password is wrong."""

    def __init__(self, unlock: Callable[[], KeySigner]) -> None:
        self._unlock = unlock
        self._unlocked: Optional[KeySigner] = None
        self._lock = threading.Lock()

    @property
    def public(self) -> PublicKey:
        return self._signer().public

    def sign(self, data: bytes) -> bytes:
        return self._signer().sign(data)

    def _signer(self) -> KeySigner:
        with self._lock:
            if self._unlocked is None:
                self._unlocked = self._unlock()
            return self._unlocked


def signer_of_file(path: str, password: Password) -> KeySigner:
    """The private key in a file, encrypted as cosign does or not at all. Raises ConfigurationError, StorageError.

    ``password`` is called only for an encrypted key.
    """
    return signer_of_pem(_read(path), path, password)


def signer_ahead(path: str, password: Password) -> Signer:
    """The same for a command that begins with something else: a password becomes a key in a process of its own, which
    takes as long as the rest of the start of a push. To be called before the first thread is started."""
    data = _read(path)
    if not _is_encrypted(data):
        return signer_of_pem(data, path, password)
    require_cryptography()
    box = _box(_body(data, path), path)
    derivation = KeyDerivation(password(), box)
    return LockedSigner(lambda: _signer(_load(box.open(derivation.key()), path), path))


def _read(path: str) -> bytes:
    return read_key_file(path, remedy="make one with `spack oci key generate`, or name another")


def signer_of_pem(data: bytes, origin: str, password: Password) -> KeySigner:
    """As :func:`signer_of_file`. ``origin``: for messages."""
    require_cryptography()
    if not data.strip():
        raise ConfigurationError(f"the key {origin} is empty", remedy="restore it, or make another one")
    if b"-----BEGIN PUBLIC KEY-----" in data:
        raise ConfigurationError(f"the key {origin} is a public key", remedy="signing needs the private one: .key")
    if _is_encrypted(data):
        box = _box(_body(data, origin), origin)
        return _signer(_load(box.open(_derive(password(), box.salt, box.cost)), origin), origin)
    return _signer(_load_pem(data, origin), origin)


def _is_encrypted(data: bytes) -> bool:
    return any(mark.encode() in data for mark in _MARKS)


def generate(password: bytes, name: str = "new") -> "tuple[KeySigner, bytes]":
    """A new ECDSA P-256 key, and its file as ``cosign generate-key-pair`` would write it."""
    require_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return KeySigner(public_key(key.public_key(), name), key), _encrypt(der, password)


def _signer(key: Any, origin: str) -> KeySigner:
    name = os.path.basename(origin)
    public = key.public_key() if hasattr(key, "public_key") else key
    return KeySigner(public_key(public, name, f"the key {origin}"), key)


def _load(der: bytes, origin: str) -> Any:
    usual = _usual_key(der)
    if usual is not None:
        return usual
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        return load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise ConfigurationError(f"the key {origin} holds no private key: {e}") from None


def _usual_key(der: bytes) -> Any:
    """A private key on P-256, as cosign makes them, without the import of all that it could be. None: it is another."""
    from cryptography.hazmat.primitives.asymmetric import ec

    start, end = len(_P256), len(_P256) + 32
    if not der.startswith(_P256) or not der.startswith(_P256_POINT, end):
        return None
    try:
        key = ec.derive_private_key(int.from_bytes(der[start:end], "big"), ec.SECP256R1())
    except ValueError:  # of no key
        return None
    return key if der[end + len(_P256_POINT) :] == point_of(key.public_key()) else None


def _load_pem(data: bytes, origin: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise ConfigurationError(
            f"the key {origin} is encrypted in a way that cosign does not read",
            remedy="convert it: `cosign import-key-pair --key FILE`",
        ) from None
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ConfigurationError(
            f"the key {origin} is no private key in PEM format: {e}",
            remedy="give one that `spack oci key generate` or `cosign generate-key-pair` wrote",
        ) from None


# cosign's box


def _body(data: bytes, origin: str) -> bytes:
    lines = [line.strip() for line in data.splitlines()]
    starts = [n for n, line in enumerate(lines) if line.startswith(b"-----BEGIN ENCRYPTED ")]
    ends = [n for n, line in enumerate(lines) if line.startswith(b"-----END ENCRYPTED ")]
    try:
        return base64.b64decode(b"".join(lines[starts[0] + 1 : ends[0]]), validate=True)
    except (IndexError, binascii.Error):
        raise _damaged(origin) from None


def _damaged(origin: str) -> ConfigurationError:
    return ConfigurationError(f"the key {origin} is damaged", remedy="restore it from a copy, or make another one")


def _encrypt(der: bytes, password: bytes) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    box = _secret_box_class()(_derive(password, salt, _COST))
    document = {
        "kdf": {"name": _KDF, "params": {"N": _COST, "r": _R, "p": _P}, "salt": _text(salt)},
        "cipher": {"name": _CIPHER, "nonce": _text(nonce)},
        "ciphertext": _text(box.encrypt(der, nonce).ciphertext),
    }
    body = base64.b64encode(json.dumps(document, separators=(",", ":")).encode())
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    mark = _MARKS[0].encode()
    return b"\n".join([b"-----BEGIN " + mark + b"-----", *lines, b"-----END " + mark + b"-----", b""])


class _Box(NamedTuple):
    """``secret_box``: nacl's class of that name."""

    salt: bytes
    cost: int
    nonce: bytes
    text: bytes
    origin: str
    secret_box: Any

    def open(self, key: bytes) -> bytes:
        """``key``: made of the password by :func:`_derive`."""
        from nacl.exceptions import CryptoError

        try:
            return self.secret_box(key).decrypt(self.text, self.nonce)
        except CryptoError:
            raise ConfigurationError(
                f"the password of the key {self.origin} is wrong",
                remedy="set COSIGN_PASSWORD, oci:signing:password_file or oci:signing:password_variable",
            ) from None


def _box(body: bytes, origin: str) -> _Box:
    try:
        document = json.loads(body)
        kdf, cipher = document["kdf"], document["cipher"]
        names = (kdf["name"], cipher["name"])
        cost = _cost(kdf["params"])
        salt, nonce, text = (_bytes(v) for v in (kdf["salt"], cipher["nonce"], document["ciphertext"]))
    except (ValueError, KeyError, TypeError):
        raise _damaged(origin) from None
    if names != (_KDF, _CIPHER) or cost is None or len(nonce) != _NONCE:
        raise ConfigurationError(
            f"the key {origin} is encrypted in an unknown way: {names[0]}, {names[1]}", remedy="update spack-oci"
        )
    return _Box(salt, cost, nonce, text, origin, _secret_box_class())


class KeyDerivation:
    """A password becomes a key: begun in a child process, where there is a processor for it; ``child``: while it is
    waited for."""

    def __init__(self, password: bytes, box: _Box) -> None:
        self._here = lambda: _derive(password, box.salt, box.cost)
        self.child: Optional[Child] = None
        if available_cores() > 1:
            with contextlib.suppress(OSError):  # no more processes
                self.child = Child(self._serve)

    def _serve(self, connection: Any) -> None:
        with contextlib.suppress(Exception):  # the parent finds out, or is gone
            connection.send_bytes(self._here())

    def key(self) -> bytes:
        child, self.child = self.child, None
        if child is not None:
            try:
                return child.connection.recv_bytes()
            except (EOFError, OSError):  # somebody has ended it
                pass
            finally:
                child.wait()
                child.connection.close()
        return self._here()


def _cost(params: Dict[str, Any]) -> Any:
    """N, or None for numbers that cosign never wrote (and that could take all memory)."""
    known = type(params["N"]) is int and params["N"] in _COSTS and (params["r"], params["p"]) == (_R, _P)
    return params["N"] if known else None


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    """By libsodium, which who has encrypted keys has for the box, in two thirds of OpenSSL's time."""
    with contextlib.suppress(ImportError, RuntimeError):  # one that was built without
        from nacl.bindings import crypto_pwhash_scryptsalsa208sha256_ll

        return crypto_pwhash_scryptsalsa208sha256_ll(password, salt, cost, _R, _P, dklen=_KEY, maxmem=_SCRYPT_MEMORY)
    return hashlib.scrypt(password, salt=salt, n=cost, r=_R, p=_P, maxmem=_SCRYPT_MEMORY, dklen=_KEY)


def _secret_box_class() -> Any:
    try:
        from nacl.secret import SecretBox
    except ImportError:
        raise ConfigurationError(
            "encrypted keys need the Python package pynacl, which is not installed",
            remedy=how_to_install(),
        ) from None
    return SecretBox


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def write_pair(path: str, private: bytes, public: bytes) -> "List[str]":
    """Write ``PATH.key`` (for its owner only) and ``PATH.pub``; a file that is there is never replaced."""
    names = [f"{path}.key", f"{path}.pub"]
    for name in names:
        if os.path.lexists(name):
            raise ConfigurationError(f"{name} is there already", remedy="remove it, or name another file")
    for name, data, mode in zip(names, (private, public), (0o600, 0o644)):
        try:
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as f:
                f.write(data)
        except OSError as e:
            raise StorageError.from_os_error(f"writing {name}", e) from e
    return names
