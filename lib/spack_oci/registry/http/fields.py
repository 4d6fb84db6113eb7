# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One parser for each kind of header field that a response may have.

A value that is not what it should be is None, as if the field were missing: registries differ, and what follows copes
without any of these fields. ``str.isdigit`` and ``int`` take more than digits (``²``, ``1_0``, ``+1``), and ``int``
raises ValueError from some thousand digits on; so only what matches a pattern is converted.
"""

import email.utils
import re
import time
from typing import NamedTuple, Optional

_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z", re.IGNORECASE)
_UPLOAD_RANGE = re.compile(r"(?:bytes=)?0*0-([0-9]{1,18})\Z", re.IGNORECASE)
_LINK = re.compile(r"<([^>]*)>([^,<]*)")
_RELATION = re.compile(r'rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]+\Z")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,12})?)(ms|s)\Z")


def parse_number(value: Optional[str]) -> Optional[int]:
    """``Content-Length`` (RFC 9110, 8.6), ``OCI-Chunk-Min-Length``: a number of bytes.

    >>> parse_number(" 7 "), parse_number("\\u00b2"), parse_number("1" * 5000), parse_number("-1"), parse_number(None)
    (7, None, None, None, None)
    """
    match = _NUMBER.match((value or "").strip(" \t"))
    return int(match.group()) if match else None


class ContentRange(NamedTuple):
    """``total``: None where the server does not know it (``*``)."""

    first: int
    last: int
    total: Optional[int]

    def continues(self, offset: int, size: int) -> bool:
        """Whether this part begins at ``offset`` of a content of ``size`` bytes."""
        return self.first == offset and self.first <= self.last < size and self.total in (None, size)


def parse_content_range(value: Optional[str]) -> Optional[ContentRange]:
    """``Content-Range: bytes 0-9/100`` (RFC 9110, 14.4)."""
    match = _CONTENT_RANGE.match((value or "").strip())
    if not match:
        return None
    first, last, total = match.groups()
    return ContentRange(int(first), int(last), None if total == "*" else int(total))


def parse_upload_range(value: Optional[str]) -> Optional[int]:
    """The number of bytes that a ``Range: 0-LAST`` (also ``bytes=0-LAST``) of an upload stands for (distribution-spec,
    "Pushing a blob in chunks").

    ``0-0`` is what registries say both for nothing and for one byte; nothing is the safe reading.

    >>> parse_upload_range("0-99"), parse_upload_range("0-0"), parse_upload_range(None)
    (100, 0, None)
    """
    match = _UPLOAD_RANGE.match((value or "").strip())
    if not match:
        return None
    last = int(match.group(1))
    return last + 1 if last else 0


def parse_retry_after(value: Optional[str], now: Optional[float] = None) -> Optional[float]:
    """Seconds in a ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date; ghcr writes ``333.939671ms``).

    ``now``: seconds since the epoch by the *server's* clock (its ``Date`` field) where known.
    """
    value = (value or "").strip()
    if _SECONDS.match(value):
        return float(value[:12])
    duration = _DURATION.match(value)
    if duration:
        return float(duration.group(1)) * (0.001 if duration.group(2) == "ms" else 1.0)
    when = parse_date(value)
    return None if when is None else max(0.0, when - (time.time() if now is None else now))


def parse_date(value: Optional[str]) -> Optional[float]:
    """Seconds since the epoch of a ``Date`` (RFC 9110, 5.6.7)."""
    try:
        return email.utils.parsedate_to_datetime(value or "").timestamp()
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None


def parse_next_link(value: Optional[str]) -> Optional[str]:
    """The target of the link whose relation is ``next`` in a ``Link`` field (RFC 8288).

    >>> parse_next_link('</v2/a/tags/list?last=x&n=2>; rel="next"')
    '/v2/a/tags/list?last=x&n=2'
    """
    for target, parameters in _LINK.findall(value or ""):
        relation = _RELATION.search(parameters)
        if relation and "next" in relation.group(1).lower().split():
            return target or None
    return None


def parse_strong_etag(value: Optional[str]) -> str:
    """An ``ETag`` that may be sent in ``If-Range`` (RFC 9110, 13.1.5: only a strong one); empty for any other."""
    return value if value and value.startswith('"') and value.endswith('"') and len(value) > 1 else ""


def parse_media_type(value: Optional[str]) -> str:
    """``Content-Type`` without its parameters (RFC 9110, 8.3)."""
    return (value or "").partition(";")[0].strip()
