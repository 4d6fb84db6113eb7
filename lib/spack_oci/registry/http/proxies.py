# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Connections through a proxy, with urllib3, by the rules that ``requests`` has for the environment's variables.

Both are imported only where a proxy is configured: they take 70 ms, which is much for a command that takes 300.
"""

import functools
import http.client
import socket
import ssl
import urllib.parse
import urllib.request
from typing import Any, Dict, Iterator, Mapping, Optional, Type

from ...errors import ConfigurationError
from .connections import Body, ConnectFailed, ConnectTimeout, PatientResponse
from .heads import Fields


def proxy_for(url: str) -> Optional[str]:
    """The proxy that the environment names for a URL (``https_proxy``, ``all_proxy``, ...), ``no_proxy`` considered."""
    if not urllib.request.getproxies():
        return None
    import requests.utils

    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))


class ProxiedPool:
    """As ConnectionPool, for one host behind a proxy."""

    def __init__(
        self,
        proxy: str,
        target: urllib.parse.SplitResult,
        context: ssl.SSLContext,
        connect_timeout: float,
        size: int,
        minimum_rate: int,
    ) -> None:
        """``context``: also for a proxy that is spoken to over TLS itself."""
        import urllib3

        self._connect_timeout = connect_timeout
        # a proxy for plain http is asked for the whole URL; for https it makes a tunnel
        tunnel = target.scheme == "https"
        self._prefix = "" if tunnel else f"{target.scheme}://{target.netloc}"
        options: Dict[str, Any] = {"maxsize": size, "block": False, "proxy_ssl_context": context}
        if tunnel:
            options["ssl_context"] = context
        if context.verify_mode == ssl.CERT_NONE:  # the user said so; once is enough
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        manager = urllib3.ProxyManager(_address(proxy), proxy_headers=_authorization(proxy), **options)
        self._pool: Any = manager.connection_from_host(target.hostname, target.port, target.scheme)
        self._pool.ConnectionCls = _patient(self._pool.ConnectionCls, minimum_rate)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, timeout: float
    ) -> "ProxiedResponse":
        import urllib3

        try:
            response = self._pool.urlopen(
                method,
                self._prefix + target,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=timeout),
            )
        except urllib3.exceptions.HTTPError as e:
            raise as_socket_error(e) from e
        return ProxiedResponse(response)


class _ProxiedAnswer(PatientResponse):
    """Tells a silence at once: an early end urllib3 would call a lost connection."""

    def begin(self) -> None:
        http.client.HTTPResponse.begin(self)


def _patient(connection_class: Any, minimum_rate: int) -> Any:
    """The class of urllib3's connections whose answers cannot trickle in for ever, the proxy's own among them."""
    answer = staticmethod(functools.partial(_ProxiedAnswer, minimum_rate))
    return type("PatientConnection", (connection_class,), {"response_class": answer})


class ProxiedResponse:
    """As Response."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status
        self.headers = Fields(response.headers.items())

    def read(self, size: int) -> bytes:
        import urllib3

        try:
            return self._response.read(size, decode_content=False)
        except urllib3.exceptions.HTTPError as e:
            raise as_socket_error(e) from e

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        self._response.release_conn()


def as_socket_error(error: BaseException) -> Exception:
    """What a socket would have raised, for an error of urllib3."""
    from urllib3 import exceptions

    chain = list(_causes(error))

    def holds(kind: Any) -> bool:
        return any(isinstance(e, kind) for e in chain)

    tls = next((e for e in chain if isinstance(e, ssl.SSLError)), None)
    detail = str(chain[-1]) or type(chain[-1]).__name__
    if tls is not None:
        return tls
    # before the timeouts: urllib3 derives its "refused" from its connection timeout
    kinds: Dict[Type[Exception], Any] = {
        ConnectFailed: (exceptions.NewConnectionError, exceptions.ProxyError),
        ConnectTimeout: exceptions.ConnectTimeoutError,
        socket.timeout: exceptions.TimeoutError,
        ssl.SSLError: exceptions.SSLError,
    }
    made = next((kind for kind, theirs in kinds.items() if holds(theirs)), http.client.HTTPException)
    return made(detail)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, the outermost first; urllib3 keeps the cause in various places."""
    seen = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        todo.extend(e for e in inner if isinstance(e, BaseException))


def _address(proxy: str) -> str:
    """Scheme, host and port, without the password."""
    import requests.utils

    parts = urllib.parse.urlsplit(requests.utils.prepend_scheme_if_needed(proxy, "http"))
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"cannot use a {parts.scheme} proxy", remedy="set an http or https proxy, or no_proxy")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _authorization(proxy: str) -> Dict[str, str]:
    import requests.utils
    import urllib3

    user, password = requests.utils.get_auth_from_url(requests.utils.prepend_scheme_if_needed(proxy, "http"))
    return dict(urllib3.make_headers(proxy_basic_auth=f"{user}:{password}")) if user else {}
