# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A blob as one stream, whatever happens to connections on the way."""

from typing import Callable, Dict, Optional, Sequence, Tuple

from ..descriptor import Descriptor
from ..errors import (
    ConnectionLost,
    ContentError,
    DigestMismatch,
    ResponseError,
    SpackOciError,
    TimedOut,
    TransportError,
    UnexpectedResponse,
)
from ..util.text import presentable
from .client import RegistryClient
from .http.fields import parse_content_range, parse_strong_etag
from .http.response import Response
from .settings import MIB

#: statuses of hosts that do not serve parts (kubernetes/registry.k8s.io #333: an object store)
_NO_RANGES = (400, 405, 416, 501)
#: characters of a field
_SHOWN = 40


class RangesIgnored(Exception):
    """A part was asked for, and the registry began with the whole."""


class ResumingStream:
    """The bytes of a blob as one stream, over as many requests as it takes.

    After a broken connection the rest is asked for with ``Range`` and ``If-Range``. Whether the registry obeys is seen
    by its response (206 with the right ``Content-Range``), not by what it promises; of a whole response (200) the bytes
    that are here already are skipped. Fewer bytes than the descriptor says count as a broken connection. Digests
    are not checked here.

    A registry that sends a few bytes for each request would keep us for ever, so a failure counts as the first only
    if what came since the last is what ``minimum_rate`` asks of ``read_timeout`` seconds.

    Where one repository fails, the next goes on from the same byte: a digest names the same content everywhere.
    """

    def __init__(
        self, clients: Sequence[RegistryClient], descriptor: Descriptor, span: Optional[Tuple[int, int]] = None
    ) -> None:
        """``span``: only the bytes from the first number up to before the second, or RangesIgnored."""
        self._clients = list(clients)
        self._descriptor = descriptor
        self._is_part = span is not None
        self._offset, self._end = span or (0, descriptor.size)
        self._failures, self._failed_at = 0, self._offset
        self._validator = ""
        #: Content-Encoding of what came; some stores send it with content that is as it was, so the digest decides
        self._encoding = ""
        self._response: Optional[Response] = None
        self._open()

    @property
    def _client(self) -> RegistryClient:
        return self._clients[0]

    def _open(self) -> None:
        """A response that begins at the offset, from the first repository that has one."""
        while True:
            try:
                response = self._request()
            except (ContentError, ResponseError, TransportError) as e:
                self._next_client(e)  # the request was retried as it deserves already
                continue
            try:
                self._check_start(response)
            except (ConnectionLost, TimedOut) as e:
                self._lost(e)
                continue
            except UnexpectedResponse as e:
                self._next_client(e)
                continue
            self._validator = parse_strong_etag(response.field("ETag"))
            self._encoding = response.field("Content-Encoding")[:_SHOWN]
            self._response = response
            return

    def _next_client(self, error: SpackOciError) -> None:
        if len(self._clients) == 1:
            raise error
        self._clients.pop(0)
        self._validator = ""
        self._failures, self._failed_at = 0, self._offset

    def read(self, size: int = -1) -> bytes:
        chunk = b""

        def receive(response: Response) -> int:
            nonlocal chunk
            chunk = response.read(size)
            return len(chunk)

        self._receive(receive, size)
        return chunk

    def readinto(self, buffer: memoryview) -> int:
        """As :meth:`read`, into ``buffer``; the number of bytes, 0 at the end."""
        return self._receive(lambda response: response.readinto(buffer), len(buffer))

    def remedy(self) -> Optional[str]:
        """For content that is damaged; None: as always."""
        if self._encoding.lower() in ("", "identity"):
            return None
        return (
            f"it came with Content-Encoding {presentable(self._encoding)}: a proxy before the registry seems to change "
            "what must stay as it is; have it leave blobs alone (nginx: `gzip off`), or go around it"
        )

    def _receive(self, receive: Callable[[Response], int], wanted: int) -> int:
        while True:
            if self._response is None:
                self._open()
            assert self._response is not None
            try:
                count = receive(self._response)
                if wanted and not count and self._offset < self._end:
                    raise self._cut()
            except (ConnectionLost, TimedOut) as e:
                self._lost(e)
                continue
            self._offset += count
            return count

    def _cut(self) -> SpackOciError:
        message = (
            f"reading {self._descriptor.digest} of {self._client.repository}: "
            f"it ended after {self._offset} of {self._descriptor.size} bytes"
        )
        remedy = self.remedy()
        return ConnectionLost(message) if remedy is None else DigestMismatch(message, remedy=remedy)

    def _lost(self, error: SpackOciError) -> None:
        """Wait before going on, or raise."""
        self.close()
        settings = self._client.settings
        has_progressed = self._offset - self._failed_at >= settings.minimum_rate * settings.read_timeout
        self._failures, self._failed_at = (1 if has_progressed else self._failures + 1), self._offset
        retry = settings.retry
        wait = retry.wait_before_retry(error, self._failures)
        if wait is None:
            error.message += f" ({self._failures} tries, {self._offset} of {self._descriptor.size} bytes arrived)"
            self._next_client(error)
        else:
            retry.sleep(wait)

    def _request(self) -> Response:
        if not self._offset and not self._is_part:
            return self._get({}, (200,))
        headers = {"Range": f"bytes={self._offset}-{self._end - 1 if self._is_part else ''}"}
        if self._validator:
            headers["If-Range"] = self._validator
        try:
            return self._get(headers, (200, 206))
        except ResponseError as e:
            if e.status not in _NO_RANGES:
                raise
        if self._is_part:
            raise RangesIgnored
        return self._get({}, (200,))

    def _get(self, headers: Dict[str, str], accept: Tuple[int, ...]) -> Response:
        return self._client.call(
            "GET",
            f"{self._client.repository.endpoint}/blobs/{self._descriptor.digest}",
            action=f"reading {self._descriptor.digest} of {self._client.repository}",
            scopes=self._client.scopes("pull"),
            accept=accept,
            headers={"Accept-Encoding": "identity", **headers},
        )

    def _check_start(self, response: Response) -> None:
        """Make sure that the next byte of the response is the one that is missing."""
        if response.status == 206:
            part = parse_content_range(response.field("Content-Range"))
            if part is None or not part.continues(self._offset, self._descriptor.size):
                response.abort()
                raise UnexpectedResponse(
                    f"reading {self._descriptor.digest} of {self._client.repository}: asked for bytes "
                    f"{self._offset}-, got Content-Range {response.field('Content-Range')!r}",
                    status=206,
                )
        elif self._is_part:
            response.abort()
            raise RangesIgnored
        else:
            self._skip_offset(response)

    def _skip_offset(self, response: Response) -> None:
        left = self._offset
        while left:
            chunk = response.read(min(MIB, left))
            if not chunk:
                response.abort()
                raise ConnectionLost(
                    f"reading {self._descriptor.digest}: the second response is shorter than the first"
                )
            left -= len(chunk)

    def close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            if self._offset == self._end:
                response.discard()
            else:
                response.abort()
