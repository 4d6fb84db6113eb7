# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""URLs that servers send: parsed without surprises, and shown without secrets."""

import functools
import urllib.parse
from typing import Optional, Tuple

from ...errors import UnexpectedResponse

#: characters of an address that are not quoted, because they may stand there or are a quotation already
_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: characters of an address that are shown; what we ask for is shorter
_LONGEST_SHOWN = 500
#: of a malformed one
_SHOWN = 200


def split_url(url: str) -> urllib.parse.SplitResult:
    """``urlsplit`` for what servers send. UnexpectedResponse for what is no URL: a wrong port, a host name that cannot
    be one (RFC 1035, 2.3.4: labels of 1 to 63 bytes)."""
    try:
        parts = urllib.parse.urlsplit(url)
        _check_authority(parts.netloc)
    except ValueError as e:  # UnicodeError is one
        raise UnexpectedResponse(f"not an address: {url[:_SHOWN]!r} ({e})") from e
    return parts


@functools.lru_cache(maxsize=256)  # every request is to one of a few
def _check_authority(authority: str) -> None:
    parts = urllib.parse.SplitResult("", authority, "", "", "")
    _ = parts.port
    if "\\" in authority:  # where the host begins or ends is another for urllib3
        raise ValueError("a backslash in the name of the host")
    # the resolver encodes a host name with this codec, and raises UnicodeError for what is no name
    (parts.hostname or "").encode("idna")


def quoted(reference: str) -> str:
    """As it may be sent: what may not stand in an address is quoted, a quotation is left as it is."""
    return urllib.parse.quote(reference, safe=_UNQUOTED)


def absolute_url(base: str, reference: str) -> str:
    """The absolute form of a ``Location`` or link that a response to ``base`` has. UnexpectedResponse: it is none."""
    try:
        url = urllib.parse.urljoin(base, quoted(reference))
    except ValueError as e:
        raise UnexpectedResponse(f"not an address: {reference[:_SHOWN]!r} ({e})") from e
    split_url(url)
    return url


def host_of(url: str) -> str:
    """``HOST[:PORT]`` of a URL, as ``Repository.host`` has it."""
    return split_url(url).netloc.rpartition("@")[2]


def without_query(url: str) -> str:
    """The URL as it may be shown: without user and password, and without the query, where signed URLs have their
    signature. Of one with thousands of characters the beginning."""
    parts = split_url(url)
    shown = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."


def origin_of(url: str) -> Tuple[str, str, Optional[int]]:
    """Scheme, host name and port: credentials for one origin do not go to another (RFC 6454)."""
    parts = split_url(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)


def set_command(host: str, setting: str) -> str:
    """The command that sets ``KEY:VALUE`` for a registry, to be pasted.

    A colon in a host is no separator. Spack takes quotes for that, but only where nothing is below ``oci:registries``
    in that scope yet (its ``config.add`` loses them when it looks for what is there); an object it always adds.
    """
    key, _, value = setting.partition(":")
    path = f"{{'{host}': {{{key}: {value}}}}}" if ":" in host else f"{host}:{setting}"
    return f'`spack config add "oci:registries:{path}"`'
