# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An HTTP proxy before a registry that lists all tags at once: it gives them in pages, as other registries do."""

import contextlib
import http.client
import http.server
import json
import urllib.parse
from typing import Iterator, List

from support.network.holding_proxy import Handler, HoldingProxy, serving


class PagingProxy(HoldingProxy):
    """``page``: tags on a page, whatever a client asks for; the list is as old as the first page."""

    def __init__(self, upstream: str, page: int) -> None:
        super().__init__(upstream, _Handler)
        self.page = page
        self.tags: List[str] = []
        self.requests = 0


class _Handler(Handler):
    server: PagingProxy

    def forward(self) -> None:
        self.server.requests += 1
        url = urllib.parse.urlsplit(self.path)
        if not url.path.endswith("/tags/list"):
            super().forward()
            return
        last = dict(urllib.parse.parse_qsl(url.query)).get("last", "")
        if not last:
            self.server.tags = self._all_tags(url.path)
        after = [tag for tag in self.server.tags if tag > last] if last else self.server.tags
        found = after[: self.server.page]
        data = json.dumps({"name": "cache", "tags": found}).encode()
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if len(after) > len(found):
            following = urllib.parse.urlencode({"n": self.server.page, "last": found[-1]})
            self.send_header("Link", f'<{url.path}?{following}>; rel="next"')
        self.end_headers()
        self.wfile.write(data)

    def _all_tags(self, path: str) -> List[str]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=600)
        upstream.request("GET", path)
        found = json.loads(upstream.getresponse().read())["tags"]
        upstream.close()
        return sorted(found)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward


@contextlib.contextmanager
def paging_proxy(upstream: str, page: int) -> Iterator[PagingProxy]:
    """``upstream``: ``HOST:PORT`` of a registry on plain http."""
    with serving(PagingProxy(upstream, page)) as proxy:
        yield proxy
