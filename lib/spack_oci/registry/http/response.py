# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A response as the rest of the registry client sees it."""

import http.client
import zlib
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, TypeVar

from ...errors import InvalidContent, TransportError
from ...util.text import visible
from .transport_errors import transport_error
from .urls import absolute_url, without_query

if TYPE_CHECKING:
    from .connections import Exchange

#: a response that is thrown away is read up to this many bytes, to keep its connection; beyond, closing is cheaper
_DRAIN_LIMIT = 64 << 10
_READ_SIZE = 1 << 20
#: followed one after the other
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD_REDIRECTS = frozenset({307, 308})

_Received = TypeVar("_Received", int, bytes)


def decoded(response: "Response", limit: int) -> bytes:
    """The whole body of a document. Some proxies compress it although we ask for it as it is: digests and sizes are of
    what it was. InvalidContent if it has more than ``limit`` bytes, or an encoding that is not known."""
    body = response.read_all(limit)
    encoding = response.field("Content-Encoding").lower()
    if encoding in ("", "identity"):
        return body
    label = f"{without_query(response.url)} (Content-Encoding {encoding})"
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidContent(f"{label} cannot be read", remedy="let what stands before the registry send it as it is")
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        result = decoder.decompress(body, limit + 1)
    except zlib.error as e:
        raise InvalidContent(f"{label} cannot be read: {e}") from e
    if len(result) > limit or not decoder.eof:
        raise InvalidContent(f"{label} has more than {limit} bytes, or breaks off")
    return result


def redirect_target(response: "Response") -> Optional[str]:
    """Where the same request is to be sent instead; None: nowhere."""
    if response.status not in _REDIRECTS:
        return None
    if response.method not in ("GET", "HEAD") and response.status not in _SAME_METHOD_REDIRECTS:
        return None
    location = response.field("Location")
    return absolute_url(response.url, location) if location else None


class Response:
    """Status, header fields and body. Read it whole or discard it: its connection serves the next request.

    Bytes are read from ``http.client``'s response, into a buffer of the caller's: urllib3's makes a new object for each
    read, and its memory is what a large download costs most.
    """

    def __init__(self, exchange: "Exchange", method: str, url: str) -> None:
        self._exchange = exchange
        self._body = exchange.response
        self.method = method
        self.url = url
        self.status: int = self._body.status
        #: name in lower case -> values; a dozen of them are asked for in each response, which email searches in turn
        self._fields: Optional[Dict[str, List[str]]] = None

    def field(self, name: str) -> str:
        """The value of a header field, empty if there is none; of several fields of that name, joined with commas."""
        return visible(", ".join(self.fields(name)))  # an error may show it

    def fields(self, name: str) -> List[str]:
        if self._fields is None:
            self._fields = {}
            # as they came: items() would examine each value for bytes that http.client has decoded already
            for known, value in self._body.headers.raw_items():
                self._fields.setdefault(known.lower(), []).append(value.strip(" \t"))
        return self._fields.get(name.lower(), [])

    def readinto(self, buffer: memoryview) -> int:
        """Up to as many bytes as fit; their number, 0 at the end. ConnectionLost if the connection ends too early."""
        return self._receive(self._body.readinto, buffer, len(buffer))

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end. ConnectionLost if the connection ends too early."""
        return self._receive(self._body.read, size, size)

    def _receive(self, receive: Callable[[Any], _Received], argument: Any, wanted: int) -> _Received:
        try:
            received = receive(argument)
            if wanted and not received and self._body.is_incomplete():
                raise http.client.IncompleteRead(b"", self._body.length)
        except (OSError, http.client.HTTPException, ValueError) as e:
            self.abort()
            raise transport_error(e, f"reading {without_query(self.url)}") from e
        if self._body.isclosed():
            self._exchange.release()
        return received

    def read_all(self, limit: int) -> bytes:
        """The whole body; InvalidContent if it has more than ``limit`` bytes."""
        chunks: List[bytes] = []
        received = 0
        while True:
            chunk = self.read(min(_READ_SIZE, limit + 1 - received))
            if not chunk:
                return b"".join(chunks)
            received += len(chunk)
            if received > limit:
                self.abort()
                raise InvalidContent(f"{without_query(self.url)} answered with more than {limit} bytes")
            chunks.append(chunk)

    def start_of_body(self, limit: int) -> bytes:
        """The first bytes of an error's body; whatever goes wrong while reading it must not hide the error itself."""
        chunks: List[bytes] = []
        try:
            while limit > 0:
                chunk = self.read(limit)
                if not chunk:
                    break
                limit -= len(chunk)
                chunks.append(chunk)
        except TransportError:
            self.abort()
        return b"".join(chunks)

    def discard(self) -> None:
        """Give the connection back; closes it if much of the body would have to be read for that."""
        if len(self.start_of_body(_DRAIN_LIMIT)) == _DRAIN_LIMIT:
            self.abort()

    def abort(self) -> None:
        """Close the connection: what is left of the body is not wanted."""
        self._exchange.close()

    def without_body(self) -> "Response":
        self.discard()
        return self
