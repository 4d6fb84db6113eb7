# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What urllib3's connections and pools do differently here. Loaded with the first request, as it imports urllib3."""

import contextlib
import functools
import http.client
import queue
import ssl
from typing import Any, Callable, Iterator, List, Mapping, Optional, Protocol, Tuple, Type

import urllib3
import urllib3.connection

from .fields import parse_number
from .minimum_rate import MinimumRateResponse
from .transport_errors import causes

#: how a connection ends that the other side has closed, with and without TLS
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


#: bytes of a small body. More may take its time to be read, and the server should have looked at the credentials before
_TOGETHER = 64 << 10


class StaleConnection(ConnectionError):
    """A connection was used again that the server has closed meanwhile: no part of a response came."""


def exchange_again_if_stale(
    exchange: Callable[[], "Exchange"], body: Any, failures: Tuple[Type[Exception], ...]
) -> "Exchange":
    """A server may close an idle connection just when it is used again. A request that had no response because of
    that is sent once more, unless its body cannot be produced again here."""
    try:
        return exchange()
    except failures as e:
        stale = any(isinstance(cause, StaleConnection) for cause in causes(e))
        if not stale or not (body is None or isinstance(body, bytes)):
            raise
    return exchange()


class IdleConnections:
    """urllib3's queue of idle connections (``ConnectionPool.QueueCls``): last in, first out.

    Without a lock, which another thread may hold in the moment of a fork; methods of lists are atomic. Connections
    beyond ``maxsize`` are closed, where urllib3 would also print a warning.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._connections: List[Any] = []

    def get(self, block: bool = False, timeout: Any = None) -> Any:
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:
        if connection is None:  # urllib3 fills its queue with them to count the connections
            return
        if len(self._connections) < self._maxsize:
            self._connections.append(connection)
        else:
            connection.close()


class _Connection:
    """Mixed into urllib3's connections.

    - A response has a minimum rate.
    - While a request is sent, the limit is that of silence, not that of connecting.
    - A server that refuses a large body may respond, and close the connection, before it has read it all: the response
      is read all the same, with TLS too.
    - A small body goes with its head: each write is a TLS record, and may wake the server.
    - A connection that went stale is told from one that was lost.
    """

    response_class: Any
    read_timeout: float
    sock: Any
    _used = False
    #: what is not sent yet of a request with a small body
    _held: Optional[List[bytes]] = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(self.read_timeout)
        self._used = False

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        length = parse_number((headers or {}).get("Content-Length"))
        self._held = [] if length and length <= _TOGETHER else None
        try:
            super().request(method, url, body, headers, **options)  # type: ignore[misc]
            held, self._held = self._held, None
            if held:
                self.send(b"".join(held))
        except _CLOSED as e:
            raise BrokenPipeError from e  # on which urllib3 reads the response
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._held.append(data)

    def getresponse(self) -> Any:
        with self._stale_if_used():
            return super().getresponse()  # type: ignore[misc]

    def receive(self, read_timeout: float) -> MinimumRateResponse:
        """The response itself, without the second one that urllib3 makes around it."""
        with self._stale_if_used():
            self.sock.settimeout(read_timeout)
            response: MinimumRateResponse = http.client.HTTPConnection.getresponse(self)  # type: ignore[arg-type,assignment]
            return response

    @contextlib.contextmanager
    def _stale_if_used(self) -> Iterator[None]:
        used, self._used = self._used, True
        try:
            yield
        except (*_CLOSED, http.client.BadStatusLine) as e:
            if not used:
                raise
            raise StaleConnection(str(e)) from e


class Exchange(Protocol):
    """A response that is not read yet, and the connection that it comes from."""

    response: MinimumRateResponse

    def release(self) -> None:
        """The response was read: the connection may serve the next request."""

    def close(self) -> None:
        """What is left of the response is not wanted."""


class SessionExchange:
    """``raw``: of urllib3, as ``requests`` gets it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.response: MinimumRateResponse = raw._original_response

    def release(self) -> None:
        self._raw.release_conn()

    def close(self) -> None:
        self._raw.close()
        self._raw.release_conn()


class _PoolExchange:
    def __init__(self, pool: "_Pool", connection: Any, response: MinimumRateResponse) -> None:
        self._pool = pool
        self._connection = connection
        self.response = response

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.take_back(connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self.response.close()
        if connection is not None:
            connection.close()


class _Pool:
    """Mixed into urllib3's pools: an exchange without what ``urlopen`` does for each request that is of no use here:
    retries, redirects, decoding, merged header fields, a check of the header fields, a second response. Not for
    connections through a proxy."""

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Any, timeouts: Tuple[float, float]
    ) -> Exchange:
        """``target``: path and query; ``timeouts``: of connecting, and of silence. Raises what urllib3's connections
        and ``http.client`` do."""
        connection = self._get_conn()  # type: ignore[attr-defined]
        try:
            connection.timeout = timeouts[0]
            self._validate_conn(connection)  # type: ignore[attr-defined]
            # urllib3 reads the response of a server that has closed the connection before it had all of the request
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, target, body=body, headers=headers)
            return _PoolExchange(self, connection, connection.receive(timeouts[1]))
        except BaseException:
            connection.close()
            raise

    def take_back(self, connection: Any) -> None:
        self._put_conn(connection)  # type: ignore[attr-defined]


def pool_class(base: Type[Any], minimum_rate: int, read_timeout: float) -> Type[Any]:
    """``base``: urllib3's class of pools for http or https."""
    attributes = {
        "response_class": staticmethod(functools.partial(MinimumRateResponse, minimum_rate)),
        "read_timeout": read_timeout,
    }
    connection = type("Connection", (_Connection, base.ConnectionCls), attributes)
    return type(base.__name__, (_Pool, base), {"ConnectionCls": connection, "QueueCls": IdleConnections})


def use_our_pools(manager: urllib3.PoolManager, minimum_rate: int, read_timeout: float) -> None:
    manager.pool_classes_by_scheme = {
        "http": pool_class(urllib3.HTTPConnectionPool, minimum_rate, read_timeout),
        "https": pool_class(urllib3.HTTPSConnectionPool, minimum_rate, read_timeout),
    }
