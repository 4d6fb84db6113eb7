# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Connections whose answers cannot trickle in for ever.

A socket's timeout restarts with every byte, so a server that sends one byte a second holds a client for days, in the
middle of a status line even, where no code of ours runs. These connections count the time spent waiting for bytes of
one answer against what was received: waiting longer than ``patience + received / minimum_rate`` seconds is a timeout.
The time in which the caller does something else, such as extracting, does not count.
"""

import http.client
import io
import socket
import time
from typing import Any, Optional

import urllib3.connection
import urllib3.connectionpool

#: read from the socket in pieces of up to this many bytes, where the caller asks for little
_BUFFER = 64 << 10


class _PatientRaw(io.RawIOBase):
    """``in_body``: set when the headers were read. A break is then first told as an end, so that the bytes before it
    reach the caller, who resumes behind them; reading again raises it."""

    def __init__(self, raw: Any, patience: float, minimum_rate: int) -> None:
        self._raw = raw
        self._left = patience
        self._rate = minimum_rate
        self._broken: Optional[OSError] = None
        self.in_body = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._broken is not None:
            raise self._broken
        try:
            return self._read_patiently(buffer)
        except OSError as e:
            if not self.in_body:
                raise
            self._broken = e
            return 0

    def _read_patiently(self, buffer: Any) -> int:
        started = time.monotonic()
        count = self._raw.readinto(buffer) or 0
        self._left += count / self._rate - (time.monotonic() - started)
        if self._left < 0:
            raise socket.timeout("the answer trickles in too slowly")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


class _PatientSocket:
    """Stands in for the socket where ``http.client.HTTPResponse`` makes its file."""

    def __init__(self, sock: Any, patience: float, minimum_rate: int) -> None:
        self._sock = sock
        self._patience = patience
        self._rate = minimum_rate

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        self.raw = _PatientRaw(self._sock.makefile("rb", buffering=0), self._patience, self._rate)
        return io.BufferedReader(self.raw, _BUFFER)


class _PatientResponse(http.client.HTTPResponse):
    def __init__(self, sock: _PatientSocket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)  # type: ignore[arg-type]
        self._patient = sock.raw

    def begin(self) -> None:
        super().begin()
        self._patient.in_body = True


class _PatientMixin:
    minimum_rate = 1024

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        patience = sock.gettimeout()
        if patience is None:
            return http.client.HTTPResponse(sock, *args, **kwargs)
        return _PatientResponse(_PatientSocket(sock, patience, self.minimum_rate), *args, **kwargs)


class PatientHTTPConnection(_PatientMixin, urllib3.connection.HTTPConnection):  # type: ignore[misc]
    pass


class PatientHTTPSConnection(_PatientMixin, urllib3.connection.HTTPSConnection):  # type: ignore[misc]
    pass


class PatientHTTPPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = PatientHTTPConnection  # type: ignore[assignment]


class PatientHTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = PatientHTTPSConnection  # type: ignore[assignment]


POOL_CLASSES = {"http": PatientHTTPPool, "https": PatientHTTPSPool}
