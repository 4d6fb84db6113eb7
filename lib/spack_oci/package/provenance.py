# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What may be told of where a package comes from."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit


def is_text(value: Any) -> bool:
    """That a manifest can hold and a terminal can show: not half of a surrogate pair, which UTF-8 does not have."""
    return isinstance(value, str) and value.isprintable()


def without_credentials(url: Any) -> str:
    """A recipe of a private repository may hold a token; whoever has the image can read what it says of itself.

    Empty for what is no URL: a package is pushed, whatever its recipe says there.
    """
    if not is_text(url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.password is None and (parts.scheme not in ("http", "https") or parts.username is None):
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
