# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One request, one response, with ``requests``. No retries, no redirects, no authorization: they are the client's."""

import contextlib
import os
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Dict, Iterable, Mapping, Optional, Protocol, Set, Union

from ...errors import ConfigurationError, HostAway, UnexpectedResponse, Unreachable
from ..settings import RegistrySettings
from .proxies import proxy_for
from .response import Response
from .tls import tls_context
from .transport_errors import transport_error
from .urls import host_of, split_url, without_query

if TYPE_CHECKING:
    from .connections import Exchange
    from .pools import RegistryPools
    from .session import RegistrySession

#: what is produced piece by piece needs a Content-Length
Body = Union[None, bytes, Iterable[bytes]]

#: in the URLs of requests that need no session: all that most commands ask a registry for
_CONTENT = ("/blobs/", "/manifests/", "/tags/")

_RESTARTED = (
    "it answered earlier in this command, so it is probably being restarted: run the command again, what is there is "
    "not sent again"
)


class Transport(Protocol):
    """What sends a request.

    What ``requests`` costs, on Python 3.11, in microseconds of processor time for one small HEAD request over http (the
    least of eight runs of 400): a parser and pool of our own 46, urllib3's connections as here 113, its ``urlopen``
    166, a session more than that. Of a cold push of 300 small packages (six requests each), our own code, which was two
    modules of 420 lines, would save 8% of the processor time; ``urlopen`` and the session for everything would add
    another 14%.
    """

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        read_timeout: Optional[float] = None,
    ) -> Response:
        """Send once, and return any status. ``read_timeout``: seconds of silence; None: as the settings say.

        Raises Unreachable, TLSFailure, TimedOut or HostAway; UnexpectedResponse for what is no http URL (it came
        from a response); ConfigurationError for proxies, certificates and credentials that cannot be used; and what
        reading ``body`` raises.
        """


class RequestsTransport:
    """The connections to any number of hosts with one set of TLS, proxy and timeout settings:
    urllib3's pools for content, and a ``requests.Session`` on them for the rest.

    Safe to use from many threads. In a forked child it starts without connections: a TLS session cannot be shared.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._context: Optional[ssl.SSLContext] = None
        self._reset()
        _transports.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pools: Optional[RegistryPools] = None
        self._session: Optional[RegistrySession] = None
        #: origin -> URL of the proxy, a secret; None: no proxy
        self._proxies: Dict[str, Optional[str]] = {}
        self._reached: Set[str] = set()

    def prepare(self) -> None:
        """Load, before a fork, what every child would have to load for itself with its first request."""
        from . import session  # noqa: F401

        if not self._reached or any(origin.startswith("https:") for origin in self._reached):
            self._tls()

    def _tls(self) -> ssl.SSLContext:
        """Made with the first connection that needs it: reading the system's certificates takes 20 ms."""
        if self._context is None:
            self._context = tls_context(self._settings)
        return self._context

    def pools(self) -> "RegistryPools":
        """Made with the first request: importing urllib3 takes 40 ms, which many commands need not pay."""
        if self._pools is None:
            from .pools import RegistryPools

            with self._lock:
                if self._pools is None:
                    self._pools = RegistryPools(self._settings, self._tls)
        return self._pools

    def session(self) -> "RegistrySession":
        """Made with the first request that is not for content: importing ``requests`` takes 20 ms more."""
        if self._session is None:
            from .session import RegistrySession

            pools = self.pools()
            with self._lock:
                if self._session is None:
                    self._session = RegistrySession(self._settings, pools)
        return self._session

    def _exchange(
        self, method: str, url: str, origin: str, headers: Mapping[str, str], body: Body, timeout: float
    ) -> "Exchange":
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin)
        proxy = self._proxies[origin]
        if proxy is None and any(part in url for part in _CONTENT):
            return self.pools().exchange(method, url, headers, body, timeout)
        return self.session().exchange(method, url, proxy, headers, body, timeout)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        read_timeout: Optional[float] = None,
    ) -> Response:
        check_header_values(headers)
        parts = split_url(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnexpectedResponse(f"{method} {without_query(url)}: that is no http address")
        url = url if parts.path else f"{parts.scheme}://{parts.netloc}/" + (f"?{parts.query}" if parts.query else "")
        origin = f"{parts.scheme}://{parts.netloc}"
        failures = self.pools().failures
        try:
            exchange = self._exchange(method, url, origin, headers, body, read_timeout or self._settings.read_timeout)
        except failures as e:
            proxy = self._proxies.get(origin)
            through = f" through the proxy {host_of(proxy)}" if proxy else ""
            failure = transport_error(e, f"{method} {without_query(url)}{through}", parts.netloc)
            if isinstance(failure, Unreachable) and origin in self._reached:
                # a registry that restarts, not a wrong address: this is worth another try
                failure = HostAway(failure.message, remedy=_RESTARTED)
                failure.host = parts.netloc
            raise failure from e
        self._reached.add(origin)
        return Response(exchange, method, url)


def check_header_values(headers: Mapping[str, str]) -> None:
    """http.client and requests show a value that they refuse, which may be a secret."""
    for name, value in headers.items():
        if any(c in value for c in "\r\n\0") or not value.isascii():
            raise ConfigurationError(
                f"the header field {name} cannot be sent: it has line breaks or characters beyond ASCII",
                remedy="check the credentials: a line break at the end of a token is a common mistake",
            )


#: all of this process, to be emptied in a forked child
_transports: "weakref.WeakSet[RequestsTransport]" = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport._reset()


def _before_fork() -> None:
    for transport in list(_transports):
        with contextlib.suppress(ConfigurationError):  # certificates that cannot be read: said with the first request
            transport.prepare()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
