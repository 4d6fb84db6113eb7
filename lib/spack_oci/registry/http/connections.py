# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pooled connections to one host, on the standard library's ``http.client``.

A push or an install is thousands of small requests, from several threads that share one interpreter lock, so what a
client spends on each counts. Measured on Python 3.11 over TLS, microseconds of processor time for one HEAD: requests
600, urllib3 270, http.client 200, this 140, of which 50 are the bare TLS socket; and 70 ms of start-up for
importing the first two. So requests are written and heads of answers read here (``heads``), bodies are read by
http.client, and proxies are left to urllib3 (``proxies``). tests/bench/bench_registry.py shows what it comes to.

An answer cannot trickle in for ever. A socket's timeout restarts with every byte, so a server that sends one byte a
second holds a client for days, in the middle of a status line even, where no code of ours runs. So the time spent
waiting for bytes of one answer is held against what was received: more than ``patience + received / minimum_rate``
seconds is a timeout. The time in which the caller does something else, such as extracting, does not count.
"""

import http.client
import io
import select
import socket
import ssl
import time
from typing import Any, Iterable, List, Mapping, Optional, Union

from .heads import Fields, parse_head, request_head

#: read from the socket in pieces of up to this many bytes, where the caller asks for little
_BUFFER = 64 << 10
#: a body of up to this many bytes goes with the head: each write may wake the server. More may take its time to be
#: read, and the server should have looked at the credentials before they are over
_TOGETHER = 64 << 10

#: how a connection ends that the other side has closed, with and without TLS
_CUT = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

#: what is produced piece by piece needs a Content-Length
Body = Union[None, bytes, Iterable[bytes]]


class _PatientRaw(io.RawIOBase):
    """``in_body``: set when the headers were read. A break is then first told as an end, so that the bytes before it
    reach the caller, who resumes behind them; reading again raises it."""

    def __init__(self, sock: Any, patience: float, minimum_rate: int) -> None:
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open as long as the answer is read
        self._receive = sock.recv_into
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
        count = self._receive(buffer)
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
        self.raw = _PatientRaw(self._sock, self._patience, self._rate)
        return io.BufferedReader(self.raw, _BUFFER)


class PatientResponse(http.client.HTTPResponse):
    """Made in place of ``http.client``'s own; the socket's timeout at that moment is the patience."""

    fp: io.BufferedReader
    #: in place of ``headers``
    fields: Fields

    def __init__(self, minimum_rate: int, sock: Any, debuglevel: int = 0, method: Optional[str] = None) -> None:
        patient = _PatientSocket(sock, sock.gettimeout(), minimum_rate)
        super().__init__(patient, debuglevel, method)  # type: ignore[arg-type]
        self._patient = patient.raw

    def begin(self) -> None:
        if not self._begin_as_usual():
            super().begin()
            self.fields = Fields(self.headers.items())
        self._patient.in_body = True

    def _begin_as_usual(self) -> bool:
        """As http.client does, for a head that came in one piece. False: nothing was read."""
        head = parse_head(self.fp.peek())
        if head is None:
            return False
        self.fp.read(head.size)
        self.version = 11
        self.code = self.status = head.status
        self.reason = head.reason
        self.fields = head.fields
        self.chunked = head.chunked  # type: ignore[assignment]
        self.chunk_left = None
        empty = head.status in (204, 304) or self._method == "HEAD"  # type: ignore[attr-defined]
        self.length = 0 if empty else head.length
        self.will_close = head.closes or (self.length is None and not head.chunked)
        return True


class _Connection:
    """A socket to the host, for one request after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False

    def send(self, head: bytes, body: Iterable[bytes], length: int) -> None:
        if length <= _TOGETHER:
            self.sock.sendall(b"".join((head, *body)))
            return
        self.sock.sendall(head)
        for piece in body:
            self.sock.sendall(piece)

    def receive(self, method: str, minimum_rate: int) -> PatientResponse:
        """The answer, as far as its head. The socket stays open until it is read, also when this is closed."""
        answer = PatientResponse(minimum_rate, self.sock, method=method)
        try:
            answer.begin()
        except BaseException:
            answer.close()
            raise
        if answer.will_close:
            self.close()
        return answer

    def close(self) -> None:
        self.closed = True
        self.sock.close()


class Response:
    """An answer whose connection goes back to its pool with the last byte."""

    def __init__(self, pool: "ConnectionPool", connection: _Connection, response: PatientResponse) -> None:
        self._pool: Optional[ConnectionPool] = pool
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.fields
        if response.isclosed():
            self._give_back()

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at the end. IncompleteRead when the connection ends before the content."""
        data = self._response.read(size)
        self._after(len(data), size)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """As :meth:`read`; the number of bytes, 0 at the end."""
        count = self._response.readinto(buffer)
        self._after(count, len(buffer))
        return count

    def _after(self, received: int, wanted: int) -> None:
        if not received and wanted and self._response.length:
            self.close()
            raise http.client.IncompleteRead(b"", self._response.length)
        if self._response.isclosed():
            self._give_back()

    def _give_back(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.put(self._connection)

    def close(self) -> None:
        """Leave the rest of the answer, and the connection."""
        if self._pool is not None:
            self._pool = None
            self._connection.close()
            self._response.close()


class ConnectionPool:
    """Up to ``size`` idle connections to a host. More may be in use: who asks for one gets one."""

    def __init__(
        self,
        host: str,
        port: Optional[int],
        context: Optional[ssl.SSLContext],
        connect_timeout: float,
        size: int,
        minimum_rate: int,
    ) -> None:
        """``context``: None means plain http."""
        default = 443 if context else 80
        self._address = (host, port or default)
        self._host_field = _host_field(host, port if port != default else None)
        self._context = context
        self._connect_timeout = connect_timeout
        self._size = size
        self._rate = minimum_rate
        self._idle: List[_Connection] = []

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: Body, timeout: float) -> Response:
        """Send a request and read the head of its answer. Raises what the socket and http.client raise.

        A server may close an idle connection just when it is used again. A request that had no answer because of that
        is sent once more, over a new connection, unless its body cannot be produced again here.
        """
        connection = self._take()
        reused = connection is not None
        try:
            return self._exchange(connection or self._connect(), method, target, headers, body, timeout)
        except (*_CUT, http.client.BadStatusLine):
            if not reused or not (body is None or isinstance(body, bytes)):
                raise
        return self._exchange(self._connect(), method, target, headers, body, timeout)

    def _exchange(
        self,
        connection: _Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        timeout: float,
    ) -> Response:
        if connection.sock.gettimeout() != timeout:
            connection.sock.settimeout(timeout)
        try:
            length = int(headers.get("Content-Length") or len(body or b""))  # type: ignore[arg-type]
            head = request_head(method, target, self._host_field, headers, length)
            try:
                connection.send(head, [body] if isinstance(body, bytes) else body or (), length)
            except _CUT:
                # a server that refuses a large body may answer and close before it has read it all
                return Response(self, connection, connection.receive(method, self._rate))
            return Response(self, connection, connection.receive(method, self._rate))
        except BaseException:
            connection.close()
            raise

    def _take(self) -> Optional[_Connection]:
        """The connection that was used last, if it is still good."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # nothing is due on an idle connection: what can be read is its end
            if not can_be_read(connection.sock):
                return connection
            connection.close()

    def _connect(self) -> _Connection:
        host = self._address[0]
        try:
            return _Connection(self._open_socket())
        except socket.gaierror as e:
            raise ConnectFailed(f"{host} has no address: {e.strerror or e}") from e
        except ConnectionRefusedError as e:
            raise ConnectFailed(f"{host}: {e.strerror}") from e
        except socket.timeout as e:
            raise ConnectTimeout(str(e)) from e
        except ssl.SSLError:
            raise
        except ConnectionError:
            raise
        except OSError as e:
            raise ConnectFailed(f"{host}: {e.strerror or e}") from e

    def _open_socket(self) -> socket.socket:
        sock = socket.create_connection(self._address, self._connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._context.wrap_socket(sock, server_hostname=self._address[0]) if self._context else sock
        except BaseException:
            sock.close()
            raise

    def put(self, connection: _Connection) -> None:
        if not connection.closed and len(self._idle) < self._size:
            self._idle.append(connection)
        else:
            connection.close()


def _host_field(host: str, port: Optional[int]) -> str:
    """RFC 9112, 3.2; of a name with letters beyond ASCII its form in DNS."""
    name = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode("ascii")
    return name if port is None else f"{name}:{port}"


def can_be_read(sock: socket.socket) -> bool:
    """Whether there is something to read, or the end, right now."""
    if hasattr(select, "poll"):  # has no limit on the number of the descriptor
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


class ConnectFailed(OSError):
    """No connection could be made at all."""


class ConnectTimeout(OSError):
    """No connection in time."""
