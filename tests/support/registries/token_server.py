# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A token server (distribution-spec, token authentication) for a ``docker-registry`` with ``auth: token``.

Tokens are signed with RS256 and carry their certificate (``x5c``), which the registry holds against its
``rootcertbundle``. Refresh tokens (``grant_type=refresh_token``) are known for each user as ``refresh-NAME``.
"""

import base64
import contextlib
import datetime
import json
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

ISSUER, SERVICE = "test issuer", "test registry"

#: name: (password, what it may do)
USERS = {"puller": ("pull-secret-1", "pull"), "pusher": ("push-secret-2", "pull,push,delete")}


@dataclass
class TokenServer:
    """``granted``: user and scopes of each token, in order. ``lifetime``: seconds."""

    users: Dict[str, Tuple[str, str]]
    lifetime: int
    key: Any
    certificate: Any
    bundle: Path
    url: str = ""
    granted: List[Tuple[str, Tuple[str, ...]]] = field(default_factory=list)

    def registry_options(self) -> Dict[str, str]:
        """For ``docker_registry(auth="token", token=...)``."""
        return {"realm": f"{self.url}/token", "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.bundle)}

    def user_of(self, header: str) -> str:
        """The name, ``""`` for nobody; KeyError for a wrong password."""
        if not header:
            return ""
        name, _, password = base64.b64decode(header.partition(" ")[2]).decode().partition(":")
        if self.users.get(name, ("",))[0] != password:
            raise KeyError(name)
        return name

    def token(self, user: str, scopes: List[str]) -> Dict[str, Any]:
        import jwt
        from cryptography.hazmat.primitives import serialization

        self.granted.append((user, tuple(sorted(scopes))))
        allowed = self.users[user][1].split(",") if user else []
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": [a for a in actions.split(",") if a in allowed]})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 1,
            "exp": now + self.lifetime,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        chain = [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"x5c": chain})
        issued = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isoformat()
        return {"token": token, "expires_in": self.lifetime, "issued_at": issued}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: TokenServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        query = urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query)
        try:
            user = self.server_state.user_of(self.headers.get("Authorization") or "")
        except KeyError:
            return self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]})
        scopes = " ".join(v for k, v in query if k == "scope").split()
        self._answer(200, self.server_state.token(user, scopes))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = dict(urllib.parse.parse_qsl(body))
        user = form.get("refresh_token", "").partition("refresh-")[2]
        if form.get("grant_type") != "refresh_token" or user not in self.server_state.users:
            return self._answer(400, {"error": "invalid_grant"})
        document = self.server_state.token(user, form.get("scope", "").split())
        document["access_token"] = document.pop("token")
        self._answer(200, document)

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def token_server(directory: Path, lifetime: int = 60, users: Any = None) -> Iterator[TokenServer]:
    """``directory``: where the certificate goes that the registry trusts."""
    pytest.importorskip("jwt", reason="pyjwt is needed for the token server")
    key, certificate = _signing_key()
    bundle = directory / "token-ca.pem"
    from cryptography.hazmat.primitives import serialization

    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    state = TokenServer(dict(USERS if users is None else users), lifetime, key, certificate, bundle)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"server_state": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _signing_key() -> Tuple[Any, Any]:
    pytest.importorskip("cryptography", reason="cryptography is needed for the token server")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate
