# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``requests`` session of a transport. Loaded with the first request, as it imports requests and urllib3."""

import http.client
import http.cookiejar
import logging
import ssl
from typing import Any, Callable, Dict, Mapping, Optional

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.exceptions

from ..settings import RegistrySettings
from .connections import Exchange, SessionExchange, StaleConnection, use_our_pools
from .proxies import proxy_for
from .transport_errors import causes

#: hosts whose pools are kept; more than there are: a registry, its token server, its storage
_MAX_HOSTS = 4096


class _WithoutQueries(logging.Filter):
    """urllib3 logs the whole URL of each request; signed URLs have their signature in the query."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())


class RegistrySession(requests.Session):
    """Sends requests that are complete: no cookies, no .netrc, no proxies or certificates but those of the settings."""

    #: what :meth:`exchange` raises for an exchange without a response
    failures = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)

    def __init__(self, settings: RegistrySettings, context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__()
        self._settings = settings
        self._proxies: Dict[str, Dict[str, str]] = {}
        self.trust_env = False  # would read .netrc, and $REQUESTS_CA_BUNDLE in spite of the settings
        self.headers.clear()
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._adapter = RegistryAdapter(settings, context)
        self.mount("https://", self._adapter)
        self.mount("http://", self._adapter)
        if not settings.verify_tls:  # the user said so; once is enough
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def get_redirect_target(self, resp: Any) -> Optional[str]:
        """Redirects are the client's; requests would read the body of one whole."""
        return None

    def exchange(
        self, method: str, url: str, origin: str, headers: Mapping[str, str], body: Any, read_timeout: float
    ) -> Exchange:
        """A server may close an idle connection just when it is used again. A request that had no response because of
        that is sent once more, unless its body cannot be produced again here."""
        proxies = self._proxies_for(origin)
        is_content = "/blobs/" in url or "/manifests/" in url
        exchange = self._exchange_content if is_content and not proxies else self._exchange
        try:
            return exchange(method, url, proxies, headers, body, read_timeout)
        except self.failures as e:
            stale = any(isinstance(cause, StaleConnection) for cause in causes(e))
            if not stale or not (body is None or isinstance(body, bytes)):
                raise
        return exchange(method, url, proxies, headers, body, read_timeout)

    def _exchange_content(
        self, method: str, url: str, proxies: Dict[str, str], headers: Mapping[str, str], body: Any, read_timeout: float
    ) -> Exchange:
        """Past what a session does for each request: blobs and manifests are all but a few of them."""
        pool = self._adapter.get_connection(url, proxies)
        exchange: Exchange = pool.exchange(
            method,
            url[url.index("/", 8) :],
            {"Accept-Encoding": "identity", **headers},
            body,
            (self._settings.connect_timeout, read_timeout),
        )
        return exchange

    def _exchange(
        self, method: str, url: str, proxies: Dict[str, str], headers: Mapping[str, str], body: Any, read_timeout: float
    ) -> Exchange:
        request = requests.PreparedRequest()
        # not with prepare(): it requotes the URL, and has chunks for a body that is produced piece by piece
        request.method, request.url, request.body, request.hooks = method, url, body, {"response": []}
        request.headers = requests.structures.CaseInsensitiveDict({"Accept-Encoding": "identity", **headers})
        if isinstance(body, bytes):
            request.headers["Content-Length"] = str(len(body))
        request._cookies = self.cookies  # type: ignore[attr-defined]
        response = self.send(
            request,
            stream=True,
            allow_redirects=False,
            timeout=(self._settings.connect_timeout, read_timeout),
            proxies=proxies,
            verify=self._settings.verify_tls,
            cert=None,
        )
        return SessionExchange(response.raw)

    def _proxies_for(self, origin: str) -> Dict[str, str]:
        found = self._proxies.get(origin)
        if found is None:
            proxy = proxy_for(origin)
            found = self._proxies[origin] = {origin.partition(":")[0]: proxy} if proxy else {}
        return found


class RegistryAdapter(requests.adapters.HTTPAdapter):
    """Connections with our TLS context, also to a proxy, in our pools."""

    def __init__(self, settings: RegistrySettings, context: Callable[[], ssl.SSLContext]) -> None:
        self._settings = settings
        self._context = context
        self._pools: Dict[str, Any] = {}
        super().__init__(pool_connections=_MAX_HOSTS, pool_maxsize=settings.connections)
        # none, which the argument cannot say: errors as they are, as urllib3 shows the whole URL in its MaxRetryError
        self.max_retries = urllib3.Retry(False)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._use_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options, proxy_ssl_context=self._context())
        if is_new:
            self._use_our_pools(manager)
        return manager

    def _use_our_pools(self, manager: Any) -> None:
        use_our_pools(manager, self._settings.minimum_rate, self._settings.read_timeout)

    def cert_verify(self, *_: Any) -> None:
        """The context says what is trusted: requests would add the authorities of certifi to it."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """Of requests before 2.32.2. Finding a pool costs urllib3 a third of what a small request does."""
        origin = url[: url.index("/", 8)]
        pool = self._pools.get(origin)
        if pool is None:
            proxy = requests.utils.select_proxy(url, proxies)
            manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
            if origin.startswith("https:"):
                manager.connection_pool_kw["ssl_context"] = self._context()
            pool = manager.connection_from_url(url)
            self._pools[origin] = pool
        return pool

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Without what nobody reads here: another copy of the header fields, cookies, the encoding of text."""
        response = requests.Response()
        response.status_code, response.raw, response.request = resp.status, resp, req
        return response

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        return self.get_connection(request.url, proxies)
