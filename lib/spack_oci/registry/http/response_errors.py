# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a response that the caller cannot use to the error that says so."""

import json
import re
from typing import Iterable, List, Optional, Tuple

from ...errors import Forbidden, NotFound, RateLimited, ServerFailure, SpackOciError, Unauthorized, UnexpectedResponse
from ...util.text import presentable
from .fields import parse_date, parse_retry_after
from .response import Response
from .urls import absolute_url, without_query

#: bytes of an error's body that are looked at
_BODY_LIMIT = 64 << 10
#: characters of it that are shown
_SHOWN = 200
#: of a page of a proxy: bytes that tell it, and characters of a name
_PAGE_START = 200
_SHOWN_NAME = 40
_PROXIES = ("nginx", "cloudflare", "Apache", "HAProxy", "Envoy", "Traefik", "Varnish", "CloudFront")
_TOO_LARGE = (
    "a request may not have so many bytes there, not even in pieces: raise the limit of the proxy before the registry "
    "(nginx: client_max_body_size 0; Cloudflare: 100 MB for most plans), or go around it"
)


_A_PAGE = (
    "sign in to the network if it asks for that; else the address is a web site's and not a registry's, or a proxy "
    "answers in its place"
)
_OTHER_ADDRESS = (
    "such a redirect loses what is sent, so it is not followed: give the address that it leads to (oci:// in place of "
    "oci+http:// where that is https)"
)
_READ_ONLY = "it does not do this: it may be read-only for now, or a mirror of another registry that takes no pushes"
#: to these methods, with these statuses, in these words (Harbor: goharbor/harbor-cli #96, goharbor/harbor #17390); 507
#: says it by itself
_WRITES = ("POST", "PATCH", "PUT")
_NO_ROOM_STATUSES = (400, 403, 412, 413)
_NO_ROOM_WORDS = ("quota", "configured upper limit", "insufficient storage", "no space left", "storage limit")
NO_ROOM = (
    "the registry has no room for it, whatever the credentials: remove there what nobody needs (`prune`), or have its "
    "quota raised; the next run sends only what is missing"
)


def error_from_response(
    response: Response, action: str, identity: str = "", secrets: Iterable[str] = ()
) -> SpackOciError:
    """The error for a response that is not what the caller can use. Reads (a bounded part of) its body.

    ``action``: e.g. ``"pushing sha256:... to oci://..."``; ``identity``: who asked, e.g. ``"anonymous"``;
    ``secrets``: what is not shown should the server repeat it.
    """
    body = response.start_of_body(_BODY_LIMIT)
    codes, text = parse_error_body(body, secrets)
    if not text and is_page(body):
        text = _presentable(_words_of_page(body), secrets)[:_SHOWN]
    response.discard()
    status = response.status
    said = f"{status}" + (f" ({text})" if text else "")
    message = f"{action}: {_sender(response, body)} answered {said}"
    if status == 404:
        return NotFound(message)
    if _has_no_room(response, text):
        return UnexpectedResponse(message, status=status, codes=codes, remedy=NO_ROOM)
    location = response.field("Location")
    if 300 <= status < 400 and location:
        message += f"; it redirects to {without_query(absolute_url(response.url, location))}"
        return UnexpectedResponse(message, status=status, codes=codes, remedy=_OTHER_ADDRESS)
    if status in (401, 403, 429) and identity:
        message += f"; the request was {identity}"
    if status == 401:
        return Unauthorized(message, status=status, codes=codes)
    if status == 403 and "rate limit" in text.lower():  # ghcr's secondary limit
        return RateLimited(message, status=status, codes=codes)
    if status == 403:
        return Forbidden(message, status=status, codes=codes)
    if status == 405:
        return UnexpectedResponse(message, status=status, codes=codes, remedy=_READ_ONLY)
    wait = retry_after(response)
    if wait is None and status == 429:
        wait = _said_retry_after(text)
    if wait is not None:
        message += f"; it asks to wait {wait:.0f} s"
    if status == 413:
        return UnexpectedResponse(message, status=status, codes=codes, remedy=_TOO_LARGE)
    kind = RateLimited if status == 429 else ServerFailure if status >= 500 else UnexpectedResponse
    return kind(message, status=status, codes=codes, retry_after=wait)


def _has_no_room(response: Response, text: str) -> bool:
    told = response.method in _WRITES and any(words in text.lower() for words in _NO_ROOM_WORDS)
    return response.status == 507 or (told and response.status in _NO_ROOM_STATUSES)


def _sender(response: Response, body: bytes) -> str:
    """A registry says what is wrong in JSON; what stands before it has pages for people, with its name."""
    if not is_page(body):
        return "the registry"
    page = body.lower()
    name = next((name for name in _PROXIES if name.lower().encode() in page), "")
    name = name or response.field("Server").partition("/")[0][:_SHOWN_NAME]
    return f"a proxy before the registry{f' ({name})' if name else ''}"


def a_page_came(response: Response, body: bytes, action: str) -> UnexpectedResponse:
    """The error for a page, with a status of success, in the place of a document."""
    words = _presentable(_words_of_page(body[:_BODY_LIMIT]), ())[:_SHOWN]
    return UnexpectedResponse(
        f"{action}: a page for people came back{f' ({words})' if words else ''}",
        status=response.status,
        remedy=_A_PAGE,
    )


def is_page(body: bytes) -> bool:
    """Whether it begins as HTML does."""
    return body[:_PAGE_START].lstrip().lower().startswith((b"<html", b"<!doctype"))


def _words_of_page(body: bytes) -> str:
    """What a person would read there: without tags, and what they have inside."""
    text = body.decode("utf-8", "replace")
    for pattern in (r"(?is)<(head|script|style)\b.*?(</\1\s*>|\Z)", r"(?s)<[^>]*(>|\Z)"):
        text = re.sub(pattern, " ", text)
    return " ".join(text.split())


def retry_after(response: Response) -> Optional[float]:
    """Seconds; a date is taken relative to the server's own clock."""
    return parse_retry_after(response.field("Retry-After"), parse_date(response.field("Date")))


def _said_retry_after(text: str) -> Optional[float]:
    """Of ghcr: ``TOOMANYREQUESTS: retry-after: 10.305464ms, allowed: 2000/minute``."""
    _, found, rest = text.lower().partition("retry-after:")
    return parse_retry_after(rest.split(",")[0]) if found else None


def parse_error_body(body: bytes, secrets: Iterable[str] = ()) -> Tuple[List[str], str]:
    """The codes and one line of text of a distribution-spec error document, or of one with a ``message``; of anything
    else, nothing."""
    try:
        document = json.loads(body)
        errors = document.get("errors") or [{"message": document["message"]}]
        found = [(str(e.get("code", "")), str(e.get("message") or "")) for e in errors if isinstance(e, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [], ""
    codes = [_presentable(code, secrets) for code, _ in found if code]
    text = "; ".join(": ".join(filter(None, (code, message))) for code, message in found)
    return codes, _presentable(text, secrets)[:_SHOWN]


def _presentable(text: str, secrets: Iterable[str]) -> str:
    """Without secrets, however the document had written them (``\\u0061``, ``\\/``)."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return presentable(text)
