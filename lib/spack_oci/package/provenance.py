# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What may be told of where a package comes from."""

from urllib.parse import urlsplit, urlunsplit


def without_credentials(url: str) -> str:
    """A recipe of a private repository may hold a token; whoever has the image can read what it says of itself."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.password is None and (parts.scheme not in ("http", "https") or parts.username is None):
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
