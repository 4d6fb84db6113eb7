# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An HTTP proxy before a registry that holds one request back, so that a test can interrupt who waits for it."""

import contextlib
import http.client
import http.server
import re
import threading
from typing import Iterator, Optional, Type, TypeVar


class HoldingProxy(http.server.ThreadingHTTPServer):
    """``host``: where clients connect. ``reached`` is set when the request came that is held until ``release``."""

    daemon_threads = True

    def __init__(self, upstream: str, handler: "Optional[Type[Handler]]" = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.upstream = upstream
        self.host = f"127.0.0.1:{self.server_port}"
        self.reached = threading.Event()
        self.release = threading.Event()
        self._pattern = ""
        self._left = 0
        self._lock = threading.Lock()

    def hold(self, pattern: str, number: int = 1) -> None:
        """Hold the ``number``-th request whose ``METHOD PATH`` matches, and every matching one after it."""
        self.reached.clear()
        self.release.clear()
        self._pattern, self._left = pattern, number

    def pass_everything(self) -> None:
        self._pattern = ""
        self.release.set()

    def wait(self, method: str, path: str) -> None:
        with self._lock:
            if not self._pattern or not re.search(self._pattern, f"{method} {path}"):
                return
            self._left -= 1
            if self._left > 0:
                return
        self.reached.set()
        self.release.wait(600)

    def handle_error(self, request, client_address) -> None:
        """Clients that went away are what this is for."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HoldingProxy

    def forward(self) -> None:
        body = self._body()
        self.server.wait(self.command, self.path)
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=600)
        names = {k.lower() for k in self.headers} - {"connection", "transfer-encoding", "content-length"}
        headers = {name: ", ".join(self.headers.get_all(name)) for name in names}  # skopeo repeats Accept
        upstream.request(self.command, self.path, body=body, headers=headers)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for key, value in answer.getheaders():
            if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                return b"".join(parts)

    def log_message(self, *arguments) -> None:
        pass


P = TypeVar("P", bound=HoldingProxy)


@contextlib.contextmanager
def holding_proxy(upstream: str) -> Iterator[HoldingProxy]:
    """``upstream``: ``HOST:PORT`` of a registry on plain http."""
    with serving(HoldingProxy(upstream)) as proxy:
        yield proxy


@contextlib.contextmanager
def serving(proxy: P) -> Iterator[P]:
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.pass_everything()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
