# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Responses that can neither trickle in for ever nor be endless where no caller sees it.

A socket's timeout restarts with every byte, so a server that sends one byte a second holds a client for days, in the
middle of a status line even, where no code of ours runs. So the time spent waiting for bytes of one response is held
against what was received: more than ``patience + received / minimum_rate`` seconds is a timeout. The time in which the
caller does something else, such as extracting, does not count.

``http.client`` reads ``100 Continue``, chunk sizes and trailers in loops that have no end of their own. So what may be
received for a head, and for one call of :meth:`MinimumRateResponse.readinto`, is limited.
"""

import http.client
import io
import socket
import time
from typing import Any, Optional

#: bytes that are read from the socket at once, where the caller asks for fewer
_BUFFER = 64 << 10
#: bytes of a head, interim responses before it included
_HEAD_LIMIT = 1 << 20
#: bytes around the content that was asked for: trailers, and what is read ahead
_FRAMING_LIMIT = 1 << 20
#: bytes received for a byte of content, in chunks of one byte: ``1 CR LF x CR LF``
_FRAMING_FACTOR = 8


class _MinimumRateFile(io.RawIOBase):
    """The bytes of one response, as they come from the socket.

    ``in_body``: set when the head was read. A break is then first told as an end, so that the bytes before it reach the
    caller, who resumes behind them; reading again raises it.
    """

    def __init__(self, sock: Any, patience: float, minimum_rate: int) -> None:
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open as long as the response is read
        self._receive = sock.recv_into
        self._seconds_left = patience
        self._rate = minimum_rate
        self._broken: Optional[OSError] = None
        self._bytes_left = _HEAD_LIMIT
        self.in_body = False

    def allow(self, content: int) -> None:
        """How many bytes of content are going to be read next."""
        self._bytes_left = content * _FRAMING_FACTOR + _FRAMING_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._broken is not None:
            raise self._broken
        try:
            return self._readinto_in_time(buffer)
        except OSError as e:
            if not self.in_body:
                raise
            self._broken = e
            return 0

    def _readinto_in_time(self, buffer: Any) -> int:
        started = time.monotonic()
        count = self._receive(buffer)
        self._seconds_left += count / self._rate - (time.monotonic() - started)
        if self._seconds_left < 0:
            raise socket.timeout("the response comes in too slowly")
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ConnectionError("the response has too many header fields, interim responses or trailers")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


class _MinimumRateSocket:
    """Stands in for the socket where ``http.client.HTTPResponse`` makes its file."""

    def __init__(self, sock: Any, patience: float, minimum_rate: int) -> None:
        self._sock = sock
        self._patience = patience
        self._rate = minimum_rate

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        self.raw = _MinimumRateFile(self._sock, self._patience, self._rate)
        return io.BufferedReader(self.raw, _BUFFER)


def _is_interim(status: int) -> bool:
    """RFC 9110, 15.2: a client has to read past any of them, asked for or not (103 Early Hints of a CDN, 102). For
    ``http.client``, all but 100 end a response; the one behind it would be taken for that to the next request."""
    return 100 <= status < 200 and status != 101


class MinimumRateResponse(http.client.HTTPResponse):
    """In the place of ``http.client``'s own. The socket's timeout at the time of construction is the patience."""

    def __init__(self, minimum_rate: int, sock: Any, debuglevel: int = 0, method: Optional[str] = None) -> None:
        limited = _MinimumRateSocket(sock, sock.gettimeout(), minimum_rate)
        super().__init__(limited, debuglevel, method)  # type: ignore[arg-type]
        self._limited = limited.raw

    def begin(self) -> None:
        super().begin()
        while _is_interim(self.status):
            self.headers = None  # type: ignore[assignment]  # by which http.client knows that it has begun
            super().begin()
        if self.status < 200:  # 101, for which nobody asked: what follows may be no HTTP
            self.will_close = True
        self._limited.in_body = True

    def readinto(self, buffer: Any) -> int:
        self._limited.allow(len(buffer))
        return super().readinto(buffer)

    def read(self, size: Any = None) -> bytes:
        """Up to ``size`` bytes."""
        if not self.chunked:
            self._limited.allow(size)
            return super().read(size)
        # into a buffer, which limits what a chunk of a negative size, read to the end by http.client, would be
        buffer = memoryview(bytearray(size))
        return bytes(buffer[: self.readinto(buffer)])

    def is_incomplete(self) -> bool:
        """After an end: whether there should have been more, by the ``Content-Length``."""
        return bool(self.length)
