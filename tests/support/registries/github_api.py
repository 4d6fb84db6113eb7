# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""GitHub's REST API for versions of container packages, as far as a prune uses it, in this process on a real socket.

https://docs.github.com/en/rest/packages/packages: pages of ``per_page`` with a ``Link``, 204 for a deletion, 404 where
a token may not see a package, 400 for a public version with more than 5,000 downloads, 403 with ``X-RateLimit-*``.
"""

import contextlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, Iterator, List, Set
from urllib.parse import parse_qs, urlsplit

TOO_MANY = (
    "Publicly visible package versions with more than 5000 downloads cannot be deleted. "
    "Contact GitHub support for further assistance."
)
_PATH = re.compile(r"/(orgs|users)/([^/]+)/packages/container/([^/]+)/versions(?:/(\d+))?\Z")


@dataclass
class GithubApi:
    """``digests``: asked for the versions, digest -> tags; ``deleted``: told of a digest that was deleted."""

    digests: Callable[[], Dict[str, List[str]]]
    deleted: Callable[[str], Any]
    owner: str = "org"
    owners: str = "orgs"
    name: str = "team%2Fcache"
    token: str = "t0ken"
    #: most entries of a page, whatever is asked for
    page: int = 100
    #: each page leads to the first
    endless: bool = False
    #: digests of versions with too many downloads
    popular: Set[str] = field(default_factory=set)
    #: requests that are refused because of the rate limit, and the seconds until it is over
    limited: int = 0
    wait: int = 1
    may_delete: bool = True
    requests: List[str] = field(default_factory=list)
    url: str = ""
    _ids: Dict[str, int] = field(default_factory=dict)

    def versions(self) -> List[Dict[str, Any]]:
        found = []
        for digest, tags in self.digests().items():
            number = self._ids.setdefault(digest, len(self._ids) + 1)
            found.append({"id": number, "name": digest, "metadata": {"container": {"tags": tags}}})
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: GithubApi

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._answer("GET")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        api, parts = self.api, urlsplit(self.path)
        api.requests.append(f"{method} {self.path}")
        found = _PATH.match(parts.path)
        if api.limited:
            api.limited -= 1
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + api.wait)}
            self._send(403, {"message": "API rate limit exceeded for user ID 1."}, headers)
        elif self.headers["Authorization"] != f"Bearer {api.token}":
            self._send(401, {"message": "Bad credentials"})
        elif not found or found.groups()[:3] != (api.owners, api.owner, api.name):
            self._send(404, {"message": "Not Found"})
        elif method == "GET":
            self._list(parse_qs(parts.query))
        else:
            self._delete(int(found[4]))

    def _list(self, query: Dict[str, List[str]]) -> None:
        number, size = int(query.get("page", ["1"])[0]), min(int(query["per_page"][0]), self.api.page)
        versions = self.api.versions()
        headers = {}
        if number * size < len(versions):
            path = urlsplit(self.path).path
            following = 1 if self.api.endless else number + 1
            headers["Link"] = f'<{self.api.url}{path}?per_page={size}&page={following}>; rel="next"'
        self._send(200, versions[(number - 1) * size : number * size], headers)

    def _delete(self, number: int) -> None:
        version = next((v for v in self.api.versions() if v["id"] == number), None)
        if version is None:
            self._send(404, {"message": "Not Found"})
        elif not self.api.may_delete:
            self._send(403, {"message": "Must have admin rights to Package."})
        elif version["name"] in self.api.popular:
            self._send(400, {"message": TOO_MANY})
        else:
            self.api.deleted(version["name"])
            self._send(204, None)

    def _send(self, status: int, document: Any, headers: Dict[str, str] = {}) -> None:  # noqa: B006
        data = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def github_api(
    digests: Callable[[], Dict[str, List[str]]], deleted: Callable[[str], Any], **more: Any
) -> Iterator[GithubApi]:
    api = GithubApi(digests, deleted, **more)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
