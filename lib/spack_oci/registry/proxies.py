# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Connections through a proxy, with urllib3, by the rules that ``requests`` has for the environment's variables."""

import ssl
import urllib.parse
from typing import Any, Dict, Mapping, Optional

import requests.utils
import urllib3
import urllib3.exceptions

from ..errors import ConfigurationError
from .connections import Body, Headers


def proxy_for(url: str) -> Optional[str]:
    """The proxy that the environment names for a URL (``https_proxy``, ``all_proxy``, ...), ``no_proxy`` considered."""
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))


class ProxiedPool:
    """As ConnectionPool, for one host behind a proxy."""

    def __init__(
        self,
        proxy: str,
        target: urllib.parse.SplitResult,
        context: Optional[ssl.SSLContext],
        connect_timeout: float,
        size: int,
    ) -> None:
        self._connect_timeout = connect_timeout
        # a proxy for plain http is asked for the whole URL; for https it makes a tunnel
        self._prefix = "" if context else f"{target.scheme}://{target.netloc}"
        options: Dict[str, Any] = {"maxsize": size, "block": False}
        if context:
            options["ssl_context"] = context
        manager = urllib3.ProxyManager(_address(proxy), proxy_headers=_authorization(proxy), **options)
        self._pool: Any = manager.connection_from_host(target.hostname, target.port, target.scheme)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, timeout: float
    ) -> "ProxiedResponse":
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
        return ProxiedResponse(response)

    def close(self) -> None:
        self._pool.close()


class ProxiedResponse:
    """As Response."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status
        self.headers = Headers(_Fields(response.headers))

    def read(self, size: int) -> bytes:
        return self._response.read(size, decode_content=False)

    def close(self) -> None:
        self._response.close()
        self._response.release_conn()


class _Fields:
    def __init__(self, fields: Any) -> None:
        self._fields = fields

    def get(self, name: str, default: Any) -> Any:
        return self._fields.get(name, default)

    def get_all(self, name: str) -> Any:
        return self._fields.getlist(name)


def _address(proxy: str) -> str:
    """Scheme, host and port, without the password."""
    parts = urllib.parse.urlsplit(requests.utils.prepend_scheme_if_needed(proxy, "http"))
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"cannot use a {parts.scheme} proxy", remedy="set an http or https proxy, or no_proxy")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _authorization(proxy: str) -> Dict[str, str]:
    user, password = requests.utils.get_auth_from_url(requests.utils.prepend_scheme_if_needed(proxy, "http"))
    return dict(urllib3.make_headers(proxy_basic_auth=f"{user}:{password}")) if user else {}
