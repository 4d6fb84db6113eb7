# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a response that the caller cannot use to the error that says so."""

import json
from typing import Iterable, List, Optional, Tuple

from ...errors import Forbidden, NotFound, RateLimited, ServerFailure, SpackOciError, Unauthorized, UnexpectedResponse
from .fields import parse_date, parse_retry_after
from .response import Response

#: bytes of an error's body that are looked at
_BODY_LIMIT = 64 << 10
#: characters of it that are shown
_SHOWN = 200


def error_from_response(
    response: Response, action: str, identity: str = "", secrets: Iterable[str] = ()
) -> SpackOciError:
    """The error for an response that is not what the caller can use. Reads (a bounded part of) its body.

    ``action``: e.g. ``"pushing sha256:... to oci://..."``; ``identity``: who asked, e.g. ``"anonymous"``;
    ``secrets``: what is not shown should the server repeat it.
    """
    codes, text = parse_error_body(response.start_of_body(_BODY_LIMIT), secrets)
    response.discard()
    status = response.status
    said = f"{status}" + (f" ({text})" if text else "")
    message = f"{action}: the registry answered {said}"
    if status == 404:
        return NotFound(message)
    if status in (401, 403, 429) and identity:
        message += f"; the request was {identity}"
    if status == 401:
        return Unauthorized(message, status=status, codes=codes)
    if status == 403:
        return Forbidden(message, status=status, codes=codes)
    wait = retry_after(response)
    if wait is not None:
        message += f"; it asks to wait {wait:.0f} s"
    kind = RateLimited if status == 429 else ServerFailure if status >= 500 else UnexpectedResponse
    return kind(message, status=status, codes=codes, retry_after=wait)


def retry_after(response: Response) -> Optional[float]:
    """Seconds; a date is taken relative to the server's own clock."""
    return parse_retry_after(response.field("Retry-After"), parse_date(response.field("Date")))


def parse_error_body(body: bytes, secrets: Iterable[str] = ()) -> Tuple[List[str], str]:
    """The codes and one line of text of a distribution-spec error document; of anything else, nothing."""
    for secret in secrets:
        body = body.replace(secret.encode("utf-8"), b"***")
    try:
        errors = json.loads(body)["errors"]
        found = [(str(e.get("code", "")), str(e.get("message") or "")) for e in errors if isinstance(e, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return [], ""
    text = "; ".join(f"{code}: {message}" if message else code for code, message in found)
    return [code for code, _ in found if code], " ".join(text.split())[:_SHOWN]
