# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (tables of bytes)
"""Damaged HTTP responses, as raw bytes on a real socket: what is asked for comes, or an error of ours."""

import atexit
import json
import socket
import threading
import zlib
from pathlib import Path
from typing import List, Optional, Sequence

from spack_oci.descriptor import OCI_LAYER, Descriptor
from spack_oci.errors import SpackOciError
from spack_oci.registry import RetryPolicy
from spack_oci.registry.http.limiter import forget_rates
from support.registries.registry_cases import MANIFEST, SMALL, store_at

TOKENS: Sequence[bytes] = (
    *(b"\r\n", b"\r\n\r\n", b"HTTP/1.1 ", b"100 Continue\r\n\r\n", b"206", b"307", b"401", b"429", b"416", b"\xc2\xb2"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Range: bytes 0-9/5\r\n"),
    *(b"Location: //\r\n", b"Location: http://" + b"a" * 64 + b"/\r\n", b'Link: </v2/>; rel="next"\r\n', b"Retry-After: "),
    *(b'WWW-Authenticate: Bearer realm="http://127.0.0.1:9/"\r\n', b'WWW-Authenticate: Basic realm=""\r\n', b"Docker-Content-Digest: x\r\n"),
    *(b"-1", b"9" * 5000, b"\x00", b"\xff", b"ffffffff\r\n", b'{"errors":[5]}', b'{"tags":[null]}', b"[" * 2000),
)  # fmt: skip


class _Server:
    """Answers every request with the same bytes, and closes the connection: a third of the time of a real server."""

    def __init__(self) -> None:
        self.data = b""
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.scheme, self.ca = "http", None
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        atexit.register(self._listening.close)
        for _ in range(2):  # a client may hold one connection and ask on another
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listening.accept()[0]
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(2.0)
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(1 << 16)
                if not received:
                    return
                request += received
            connection.sendall(self.data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass


_server: Optional[_Server] = None


def _running() -> _Server:
    global _server
    if _server is None:
        _server = _Server()
    return _server


def _response(head: str, body: bytes, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {head}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def material(directory: Path) -> List[bytes]:
    _running()
    kind = "Content-Type: application/vnd.oci.image.manifest.v1+json"
    error = json.dumps({"errors": [{"code": "DENIED", "message": "no"}]}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\na small blob\r\n0\r\n\r\n"
    return [
        _response("200 OK", MANIFEST, kind),
        _response("200 OK", json.dumps({"name": "x", "tags": ["a", "b"]}).encode(), "Content-Type: application/json"),
        _response("200 OK", SMALL),
        _response("206 Partial Content", SMALL[:5], "Content-Range: bytes 0-4/12", 'ETag: "x"'),
        _response("401 Unauthorized", error, 'WWW-Authenticate: Bearer realm="http://127.0.0.1:9/token",service="x"'),
        _response("202 Accepted", b"", "Location: /v2/test/faults/blobs/uploads/1", "Range: 0-5"),
        _response("429 Too Many Requests", error, "Retry-After: 0"),
        _response("307 Temporary Redirect", b"", "Location: /v2/other"),
        chunked,
    ]


def attempt(data: bytes, directory: Path) -> Optional[str]:
    server = _running()
    server.data = data
    forget_rates()  # else all wait for a host that refuses everything
    # every fourth is asked for again
    retry = RetryPolicy(
        attempts=2 if zlib.crc32(data) % 4 == 0 else 1, base=0.0, cap=0.0, max_retry_after=0.0, patience=0.0
    )
    store = store_at(server, retry=retry, read_timeout=0.5, commit_timeout=0.5)
    blob = Descriptor.of(SMALL, OCI_LAYER)

    def read_blob() -> None:
        with store.open_blob(blob) as reader:
            if reader.read() != SMALL:
                raise AssertionError("other bytes than those of the digest")

    try:
        for ask in (
            lambda: list(store.tags()),
            lambda: store.resolve("tag"),
            lambda: store.get_manifest("tag"),
            read_blob,
            lambda: store.has_blob(blob.digest),
            lambda: store.referrers(blob.digest),
        ):
            try:
                ask()
            except SpackOciError as e:
                if not str(e).isprintable() or len(str(e)) > 2000:
                    return f"the error {str(e)[:200]!r}"
    finally:
        store.close()
    return None
