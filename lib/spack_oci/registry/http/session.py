# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ``requests`` session of a transport: for tokens, logins, referrers, what a registry redirects to, and
all that goes through a proxy. Loaded with the first of them, as it imports requests."""

import http.cookiejar
from typing import Any, Dict, Mapping, Optional

import requests
import requests.adapters
import requests.utils
import urllib3

from ..settings import RegistrySettings
from .connections import Exchange, SessionExchange, exchange_again_if_stale, use_our_pools
from .pools import MAX_HOSTS, RegistryPools


class RegistrySession(requests.Session):
    """Sends requests that are complete: no cookies, no .netrc, no proxies or certificates but those of the settings."""

    def __init__(self, settings: RegistrySettings, pools: RegistryPools) -> None:
        super().__init__()
        self._settings = settings
        self.trust_env = False  # would read .netrc, and $REQUESTS_CA_BUNDLE in spite of the settings
        self.headers.clear()
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = RegistryAdapter(settings, pools)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: Any) -> Optional[str]:
        """Redirects are the client's; requests would read the body of one whole."""
        return None

    def exchange(
        self, method: str, url: str, proxy: Optional[str], headers: Mapping[str, str], body: Any, read_timeout: float
    ) -> Exchange:
        """Raises what :class:`.RegistryPools` does, and what requests raises, which are of OSError."""
        proxies = {url.partition(":")[0]: proxy} if proxy else {}

        def exchange() -> Exchange:
            return self._exchange(method, url, proxies, headers, body, read_timeout)

        return exchange_again_if_stale(exchange, body, RegistryPools.failures)

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


class RegistryAdapter(requests.adapters.HTTPAdapter):
    """Connections with our TLS context, also to a proxy, in our pools."""

    def __init__(self, settings: RegistrySettings, pools: RegistryPools) -> None:
        self._settings = settings
        self._registry_pools = pools
        #: origin -> pool of connections to it through its proxy
        self._proxied: Dict[str, Any] = {}
        super().__init__(pool_connections=MAX_HOSTS, pool_maxsize=settings.connections)
        # none, which the argument cannot say: errors as they are, as urllib3 shows the whole URL in its MaxRetryError
        self.max_retries = urllib3.Retry(False)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager = self._registry_pools.manager

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options, proxy_ssl_context=self._registry_pools.context())
        if is_new:
            use_our_pools(manager, self._settings.minimum_rate, self._settings.read_timeout)
        return manager

    def cert_verify(self, *_: Any) -> None:
        """The context says what is trusted: requests would add the authorities of certifi to it."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """Of requests before 2.32.2."""
        origin = url[: url.index("/", 8)]
        proxy = requests.utils.select_proxy(url, proxies)
        if not proxy:
            return self._registry_pools.pool(origin)
        pool = self._proxied.get(origin)
        if pool is None:
            manager = self.proxy_manager_for(proxy)
            if origin.startswith("https:"):
                manager.connection_pool_kw["ssl_context"] = self._registry_pools.context()
            pool = self._proxied[origin] = manager.connection_from_url(url)
        return pool

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Without what nobody reads here: another copy of the header fields, cookies, the encoding of text."""
        response = requests.Response()
        response.status_code, response.raw, response.request = resp.status, resp, req
        return response

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        return self.get_connection(request.url, proxies)
