# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which proxy a host is reached through: the environment's variables, by the rules of ``requests``, and for addresses
by those of curl and Go: with ports, and networks of IPv6 (psf/requests #6313)."""

import urllib.parse
import urllib.request
from typing import Iterator, Optional, Tuple

from ...errors import ConfigurationError


def proxy_for(url: str) -> Optional[str]:
    """The proxy that the environment names for a URL (``https_proxy``, ``all_proxy``, ...), ``no_proxy`` considered.

    ``SCHEME://[USER:PASSWORD@]HOST[:PORT]``: a secret. ConfigurationError for what cannot be one.
    """
    if not urllib.request.getproxies():
        return None
    import requests.utils
    import urllib3.exceptions
    import urllib3.util

    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url, no_proxy=None))
    if not proxy or _is_exempt(url, urllib.request.getproxies().get("no", "")):
        return None
    remedy = "correct http_proxy, https_proxy or all_proxy in the environment, or name the registry in no_proxy"
    try:
        proxy = requests.utils.prepend_scheme_if_needed(proxy, "http")
        parts = urllib3.util.parse_url(proxy)
    except (ValueError, urllib3.exceptions.HTTPError):  # their message may have the password
        parts = urllib3.util.Url()
    if not parts.host:
        raise ConfigurationError(f"the proxy for {url} is not an address", remedy=remedy) from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"cannot use a {parts.scheme} proxy", remedy="set an http or https proxy, or no_proxy")
    return proxy


def _is_exempt(url: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names the address in ``url``: ``fd00::/8``, ``[fd00::1]:5000``, ``10.1.2.3:5000``."""
    import ipaddress

    parts = urllib.parse.urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:  # a name
        return False
    for network, its_port in _networks(no_proxy):
        try:
            if address in ipaddress.ip_network(network, strict=False) and its_port in (None, port):
                return True
        except ValueError:
            continue
    return False


def _networks(no_proxy: str) -> Iterator[Tuple[str, Optional[int]]]:
    """What may be addresses or networks, and their ports."""
    for entry in no_proxy.replace(" ", "").split(","):
        host, colon, port = entry.rpartition(":")
        if colon and port.isdecimal() and (host.endswith("]") or ":" not in host):
            yield host.strip("[]"), int(port)
        else:
            yield entry.strip("[]"), None
