# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs, manifests and lists of tags over urllib3's pools: what a ``requests`` session has beneath it, and shares.

Loaded with the first request.

They are all but a few of the requests, and what a session does for each (cookies, hooks, settings that are merged) is
of no use to them. A command that asks for nothing else does without the import of ``requests``: a tenth of what
`spack-oci list` takes, 6% of the instructions of a push that has nothing to do.
"""

import http.client
import logging
import ssl
from typing import Any, Callable, Dict, Mapping

import urllib3
import urllib3.exceptions

from ..settings import RegistrySettings
from .connections import Exchange, exchange_again_if_stale, use_our_pools
from .urls import quoted

#: hosts whose pools are kept; more than there are: a registry, its token server, its storage
MAX_HOSTS = 4096


class _WithoutQueries(logging.Filter):
    """urllib3 logs the whole URL of each request; signed URLs have their signature in the query."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())


class RegistryPools:
    """Connections with our TLS context, not through a proxy; safe to use from many threads."""

    #: what :meth:`exchange` raises for an exchange without a response; ``requests`` derives its own from OSError
    failures = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)

    def __init__(self, settings: RegistrySettings, context: Callable[[], ssl.SSLContext]) -> None:
        self._settings = settings
        self.context = context
        self._pools: Dict[str, Any] = {}
        self.manager = urllib3.PoolManager(num_pools=MAX_HOSTS, maxsize=settings.connections)
        use_our_pools(self.manager, settings.minimum_rate, settings.read_timeout)
        if not settings.verify_tls:  # the user said so; once is enough
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def pool(self, origin: str) -> Any:
        """``origin``: scheme, host and port. Finding a pool costs urllib3 a third of what a small request does."""
        pool = self._pools.get(origin)
        if pool is None:
            if origin.startswith("https:"):
                self.manager.connection_pool_kw["ssl_context"] = self.context()
            pool = self._pools[origin] = self.manager.connection_from_url(origin)
        return pool

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: Any, read_timeout: float) -> Exchange:
        """``url``: with a path."""
        path = url.index("/", 8)
        pool, target = self.pool(url[:path]), url[path:]
        if not target.isascii():  # of a realm, which is used as it was sent
            target = quoted(target)

        def exchange() -> Exchange:
            found: Exchange = pool.exchange(
                method,
                target,
                {"Accept-Encoding": "identity", **headers},
                body,
                (self._settings.connect_timeout, read_timeout),
            )
            return found

        return exchange_again_if_stale(exchange, body, self.failures)
