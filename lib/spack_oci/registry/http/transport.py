# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One request, one answer: TLS, proxies, and failures named by kind. No retries, no redirects."""

import http.client
import os
import socket
import ssl
import threading
import urllib.parse
import weakref
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

from ...errors import (
    ConfigurationError,
    ConnectionLost,
    InvalidContent,
    SpackOciError,
    TimedOut,
    TLSFailure,
    TransportError,
    UnexpectedResponse,
    Unreachable,
)
from ..settings import RegistrySettings
from .connections import Body, ConnectFailed, ConnectionPool, ConnectTimeout
from .heads import Fields
from .proxies import ProxiedPool, proxy_for

#: an answer that is thrown away is read up to this many bytes, to keep its connection; beyond, closing is cheaper
_DRAIN_LIMIT = 64 << 10
_READ_SIZE = 1 << 20


#: what a server may have left unquoted in an address, and what is quoted already
_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"


def split_url(url: str) -> urllib.parse.SplitResult:
    """``urlsplit`` for what servers send: UnexpectedResponse instead of ValueError, also for a wrong port."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise UnexpectedResponse(f"not an address: {url[:200]!r} ({e})") from e
    return parts


def absolute_url(base: str, reference: str) -> str:
    """A ``Location`` or link of an answer from ``base``, in the form in which it can be asked for."""
    try:
        url = urllib.parse.urljoin(base, urllib.parse.quote(reference, safe=_UNQUOTED))
    except ValueError as e:
        raise UnexpectedResponse(f"not an address: {reference[:200]!r} ({e})") from e
    split_url(url)
    return url


def host_of(url: str) -> str:
    """``HOST[:PORT]`` of a URL, as ``Repository.host`` has it."""
    return split_url(url).netloc.rpartition("@")[2]


def without_query(url: str) -> str:
    """The URL as it may be shown: signed URLs carry their signature in the query."""
    parts = split_url(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Answer:
    """Status, headers and body of a response. Read it whole or discard it: its connection serves the next request."""

    def __init__(self, response: Any, method: str, url: str) -> None:
        self._response = response
        self.method = method
        self.url = url
        self.status: int = response.status
        self.headers: Fields = response.headers

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty at the end. ConnectionLost if the connection ends before the content."""
        try:
            return self._response.read(size)
        except (OSError, http.client.HTTPException) as e:
            raise name_failure(e, f"reading {without_query(self.url)}") from e

    def readinto(self, buffer: memoryview) -> int:
        """As :meth:`read`, into ``buffer``; the number of bytes, 0 at the end."""
        try:
            return self._response.readinto(buffer)
        except (OSError, http.client.HTTPException) as e:
            raise name_failure(e, f"reading {without_query(self.url)}") from e

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
        self._response.close()

    def read_nothing(self) -> "Answer":
        self.discard()
        return self


class Transport:
    """The connections to any number of hosts with one set of TLS, proxy and timeout settings.

    Safe to use from many threads. In a forked child it starts without connections: a TLS session cannot be shared.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._reset()
        _transports.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pools: Dict[Tuple[str, str], Any] = {}
        self._answered: Set[Tuple[str, str]] = set()
        self._context: Optional[ssl.SSLContext] = None

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        read_timeout: Optional[float] = None,
    ) -> Answer:
        """Send once. Raises Unreachable, TLSFailure, TimedOut or ConnectionLost; every status is an answer."""
        parts = urllib.parse.urlsplit(url)
        pool = self._pool(parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            response = pool.exchange(method, target, headers, body, read_timeout or self._settings.read_timeout)
        except (OSError, http.client.HTTPException) as e:
            failure = name_failure(e, f"{method} {without_query(url)}")
            if isinstance(failure, Unreachable) and (parts.scheme, parts.netloc) in self._answered:
                # a registry that restarts, not a wrong address: this is worth another try
                failure = ConnectionLost(failure.message)
            raise failure from e
        self._answered.add((parts.scheme, parts.netloc))
        return Answer(response, method, url)

    def _pool(self, scheme: str, netloc: str) -> Any:
        found = self._pools.get((scheme, netloc))
        if found is None:
            with self._lock:
                found = self._pools.get((scheme, netloc))
                if found is None:
                    found = self._pools[scheme, netloc] = self._make_pool(scheme, netloc)
        return found

    def _make_pool(self, scheme: str, netloc: str) -> Any:
        parts = urllib.parse.urlsplit(f"{scheme}://{netloc}")
        if scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"cannot speak to {scheme}://{netloc}")
        settings = self._settings
        proxy = proxy_for(f"{scheme}://{netloc}")
        if proxy:
            tls, size, rate = self._tls(), settings.connections, settings.minimum_rate
            return ProxiedPool(proxy, parts, tls, settings.connect_timeout, size, rate)
        return ConnectionPool(
            parts.hostname,
            parts.port,
            self._tls() if scheme == "https" else None,
            settings.connect_timeout,
            settings.connections,
            settings.minimum_rate,
        )

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self._settings)
        return self._context


#: all of this process, to be emptied in a forked child
_transports: "weakref.WeakSet[Transport]" = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def tls_context(settings: RegistrySettings) -> ssl.SSLContext:
    """``ca_bundle``, else $REQUESTS_CA_BUNDLE or $CURL_CA_BUNDLE, else what OpenSSL knows (also $SSL_CERT_FILE)."""
    bundle = settings.ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if bundle else ssl.create_default_context()
    try:
        if bundle:
            if os.path.isdir(bundle):
                context.load_verify_locations(capath=bundle)
            else:
                context.load_verify_locations(cafile=bundle)
        elif not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
            import certifi  # comes with requests

            context.load_verify_locations(cafile=certifi.where())
    except (OSError, ssl.SSLError) as e:
        raise ConfigurationError(f"cannot read the CA certificates in {bundle}: {e}") from e
    if settings.client_cert:
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key)
        except (OSError, ssl.SSLError) as e:
            raise ConfigurationError(f"cannot use the client certificate {settings.client_cert}: {e}") from e
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def name_failure(error: BaseException, doing: str) -> SpackOciError:
    """The error of ours for what a socket or http.client raised while ``doing`` something."""
    detail = str(error) or type(error).__name__
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ConnectionLost(f"{doing}: the connection was cut: {detail}")
    if isinstance(error, ConnectTimeout):
        return TimedOut(f"{doing}: no connection in time")
    if isinstance(error, (socket.timeout, TimeoutError)):
        return TimedOut(f"{doing}: no answer in time")
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return TLSFailure(f"{doing}: TLS failed: {detail}")
    if isinstance(error, ConnectFailed):
        return Unreachable(f"{doing}: no connection: {detail}")
    return ConnectionLost(f"{doing}: the connection was lost: {detail}")
