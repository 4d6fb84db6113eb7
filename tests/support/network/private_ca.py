# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A certificate authority of our own and a certificate for the loopback interface."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    ca: str
    cert: str
    key: str


def make_ca(directory: Path, names: tuple = ("localhost",)) -> Certificates:
    """Make them in ``directory``, once."""
    found = Certificates(str(directory / "ca.pem"), str(directory / "cert.pem"), str(directory / "key.pem"))
    if not Path(found.cert).exists():
        _make(found, names)
    return found


def _make(paths: Certificates, names: tuple) -> None:
    pytest.importorskip("cryptography", reason="cryptography is needed to make a CA")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def certificate(subject, issuer, key, signer, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    def _signs_certificates():
        return x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate(
        name("test CA"),
        name("test CA"),
        ca_key,
        ca_key,
        [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_signs_certificates(), True),
            (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False),
        ],
    )
    alternatives = [*(x509.DNSName(n) for n in names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = certificate(
        name("localhost"),
        name("test CA"),
        key,
        ca_key,
        [
            (x509.SubjectAlternativeName(alternatives), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        ],
    )
    pem = serialization.Encoding.PEM
    Path(paths.ca).write_bytes(authority.public_bytes(pem))
    Path(paths.cert).write_bytes(server.public_bytes(pem))
    Path(paths.key).write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
