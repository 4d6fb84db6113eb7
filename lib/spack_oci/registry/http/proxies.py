# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which proxy a host is reached through: the environment's variables, by the rules of ``requests``."""

import urllib.request
from typing import Optional

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
    if not proxy:
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
