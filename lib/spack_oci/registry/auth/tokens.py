# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Bearer tokens: asking a token server for one, and keeping it while it is good.

distribution-spec, token authentication (GET) and its OAuth2 variant (POST).
"""

import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Callable, Dict, FrozenSet, Hashable, Optional, Sequence, Tuple

from ...descriptor import parse_json
from ...errors import Forbidden, InvalidContent, Unauthorized, UnexpectedResponse, how_to_log_in
from ...util.schemas import validate
from ..http.response import MAX_REDIRECTS, Response, decoded, redirect_target
from ..http.response_errors import error_from_response
from ..http.retry import RetryPolicy, send_with_retry
from ..http.transport import Transport
from ..http.urls import host_of, origin_of, set_command, split_url, without_query
from ..settings import RegistrySettings
from .credentials import Credentials

#: bytes; the largest tokens seen in the wild have some 16 KiB
MAX_TOKEN_RESPONSE = 256 << 10
#: seconds; what the specification says when the server says nothing
DEFAULT_LIFETIME = 60.0
#: seconds; what a server says may be too large for a float
LONGEST_LIFETIME = 365 * 86400
CLIENT_ID = "spack-oci"
#: the user name that goes with an identity token where a token server knows only Basic
_TOKEN_USER = "<token>"
_OUT_OF_DATE = "the password or token is wrong, or has expired: "

Scopes = FrozenSet[str]


@dataclass(frozen=True)
class Token:
    """``expires``: on the monotonic clock, a margin already taken off. ``scope``: what the server says it granted."""

    value: str = field(repr=False)
    expires: float
    scope: str = ""

    @property
    def header(self) -> str:
        return "Bearer " + self.value

    def good(self) -> bool:
        return time.monotonic() < self.expires


@dataclass(frozen=True)
class TokenRequest:
    """What a token is asked for. Equal requests share a token."""

    host: str
    realm: str
    service: str
    scopes: Scopes
    credentials: Optional[Credentials] = field(repr=False)


class TokenCache:
    """Tokens by request. However many threads need the same one, only one asks for it."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        self._tokens: Dict[TokenRequest, Token] = {}
        self._locks: Dict[Hashable, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, request: TokenRequest, fetch: Callable[[TokenRequest], Token], refused: str = "") -> Token:
        """A good token for ``request``, from ``fetch`` if need be. ``refused``: a token value that was not accepted."""
        found = self._usable(request, refused)
        if found:
            return found
        with self._guard:
            lock = self._locks.setdefault(request, threading.Lock())
        with lock:
            found = self._usable(request, refused)
            if not found:
                found = self._tokens[request] = fetch(request)
            return found

    def _usable(self, request: TokenRequest, refused: str) -> Optional[Token]:
        token = self._tokens.get(request)
        return token if token and token.good() and token.value != refused else None


def https_realm(realm: str, registry_url: str) -> str:
    """A registry behind a proxy that ends TLS may name itself with http; that is taken as its https address.

    Harbor, Artifactory (https://github.com/moby/moby/issues/38662, https://github.com/Finsys/dockhand/issues/1428).
    """
    parts, own = split_url(realm), urllib.parse.urlsplit(registry_url)
    names_itself = parts.scheme == "http" and parts.hostname == own.hostname and parts.port in (None, 80)
    if own.scheme != "https" or not names_itself or "@" in parts.netloc:
        return realm
    return urllib.parse.urlunsplit(("https", own.netloc, parts.path, parts.query, ""))


def check_realm(realm: str, registry_url: str, allow_http: bool) -> None:
    """Refuse a token server that credentials must not go to: https, or http that the user allowed.

    Plain http counts as allowed for the registry's own host name if the registry itself is spoken to over plain http.
    """
    parts = split_url(realm)
    shown = without_query(realm)
    # an address is in messages, and in a command to be pasted: nothing that a terminal obeys
    is_address = bool(parts.hostname) and "@" not in parts.netloc and realm.isprintable()
    if parts.scheme == "https" and is_address:
        return
    registry = urllib.parse.urlsplit(registry_url)
    same_host = registry.scheme == "http" and registry.hostname == parts.hostname
    if parts.scheme == "http" and is_address and (allow_http or same_host):
        return
    if parts.scheme not in ("http", "https") or not is_address:
        raise Unauthorized(
            f"{host_of(registry_url)} sends to the token server {shown!r}, which is no address of one: "
            "nothing was sent there",
            status=401,
            remedy="the registry is not set up correctly (`realm`): tell its owner",
        )
    raise Unauthorized(
        f"{host_of(registry_url)} sends to the token server {shown!r}, which is not https: nothing was sent there",
        status=401,
        remedy=f"if you trust it, allow it: {set_command(host_of(realm) or 'HOST', 'insecure_http:true')}",
    )


class TokenServer:
    """Asks token servers. Its requests go through the same connections and retry policy as all others."""

    def __init__(self, transport: Transport, settings: RegistrySettings, retry: RetryPolicy) -> None:
        self._transport = transport
        self._settings = settings
        self._retry = retry

    def fetch(self, request: TokenRequest) -> Token:
        asked = time.monotonic()
        response = self._ask(request)
        label = f"the response of the token server of {request.host}"
        document = validate(parse_json(decoded(response, MAX_TOKEN_RESPONSE), label), "token", label)
        value = document.get("token") or document.get("access_token")
        if not isinstance(value, str) or not value or not value.isascii() or any(c.isspace() for c in value):
            raise InvalidContent(f"the token server of {request.host}, {without_query(request.realm)}, sent no token")
        scope = document.get("scope")  # RFC 6749, 5.1: required where it is not what was asked for
        expires = asked + usable_seconds(document.get("expires_in"))
        return Token(value, expires, scope if isinstance(scope, str) else "")

    def _ask(self, request: TokenRequest) -> Response:
        credentials = request.credentials
        if credentials and credentials.identity_token:
            response = self._post(request, credentials)
            if response.status not in (404, 405):
                return self._accepted(response, request)
            response.discard()
        return self._accepted(self._get(request, credentials), request)

    def _get(self, request: TokenRequest, credentials: Optional[Credentials]) -> Response:
        query = [("service", request.service)] if request.service else []
        query += [("scope", scope) for scope in sorted(request.scopes)]
        headers = self._headers()
        if credentials:
            if credentials.username:
                query.append(("account", credentials.username))
            headers["Authorization"] = _basic(credentials)
        query.append(("client_id", CLIENT_ID))
        joint = "&" if urllib.parse.urlsplit(request.realm).query else "?"
        url = request.realm + joint + urllib.parse.urlencode(query)
        for _ in range(MAX_REDIRECTS):
            response = self._send("GET", url, headers, None, _secrets(credentials))
            target = redirect_target(response)
            if target is None or not _may_follow(url, target, credentials is not None):
                return response
            response.discard()
            url = target
        return self._send("GET", url, headers, None, _secrets(credentials))

    def _post(self, request: TokenRequest, credentials: Credentials) -> Response:
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "service": request.service,
            "scope": " ".join(sorted(request.scopes)),
            "refresh_token": credentials.identity_token,
        }
        body = urllib.parse.urlencode({k: v for k, v in form.items() if v}).encode("ascii")
        headers = {**self._headers(), "Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", request.realm, headers, body, credentials.secrets())

    def _headers(self) -> Dict[str, str]:
        return {"User-Agent": self._settings.user_agent, "Accept": "application/json"}

    def _send(
        self, method: str, url: str, headers: Dict[str, str], body: Optional[bytes], secrets: Sequence[str]
    ) -> Response:
        return send_with_retry(
            lambda: self._transport.send(method, url, headers, body),
            self._retry,
            lambda refused: error_from_response(refused, f"asking the token server {without_query(url)}", "", secrets),
        )

    def _accepted(self, response: Response, request: TokenRequest) -> Response:
        if response.status == 200:
            return response
        credentials = request.credentials
        who = f"made with the credentials from {credentials.origin}" if credentials else "anonymous"
        action = f"asking the token server of {request.host} for {' '.join(sorted(request.scopes)) or 'a token'}"
        if 300 <= response.status < 400:
            target = redirect_target(response)
            response.discard()
            where = f" to {without_query(target)}" if target else ""
            raise UnexpectedResponse(f"{action}: it redirects{where}, which is not followed", status=response.status)
        error = error_from_response(response, action, who, _secrets(request.credentials))
        if response.status in (400, 404):  # RFC 6749, 5.2: a refresh token that is no longer good is a 400
            error = Unauthorized(f"{error.message}; the request was {who}", status=response.status)
        if isinstance(error, (Unauthorized, Forbidden)) and not credentials:
            # ghcr answers 403 for a repository that is not there (https://github.com/conda/rattler/issues/2726)
            error.remedy = f"it does not exist or is not public: check its name, or {how_to_log_in(request.host)}"
        elif isinstance(error, Unauthorized):
            error.remedy = _OUT_OF_DATE + (credentials or Credentials()).how_to_replace(request.host)
        raise error


def _may_follow(url: str, target: str, has_credentials: bool) -> bool:
    """Credentials go to no other host, and nothing goes over http that began as https."""
    before, after = origin_of(url), origin_of(target)
    if after[0] != "https" and (before[0], after[0]) != ("http", "http"):
        return False
    is_made_https = (before[0], *after) == ("http", "https", before[1], 443)
    return not has_credentials or before == after or is_made_https


def _secrets(credentials: Optional[Credentials]) -> Sequence[str]:
    return credentials.secrets() if credentials else ()


def _basic(credentials: Credentials) -> str:
    if credentials.username or not credentials.identity_token:
        return credentials.basic_header()
    return Credentials(_TOKEN_USER, credentials.identity_token).basic_header()


def usable_seconds(expires_in: object) -> float:
    """How long to use a token: a tenth of its life, at most ten seconds, is left as a margin."""
    lifetime = DEFAULT_LIFETIME
    if isinstance(expires_in, (int, float)) and not isinstance(expires_in, bool) and expires_in > 0:
        lifetime = float(min(expires_in, LONGEST_LIFETIME))
    return lifetime - min(10.0, lifetime / 10)


def repository_scope(name: str, *actions: str) -> str:
    return f"repository:{name}:{','.join(actions)}"


def scope_parts(scope: str) -> Tuple[str, str, str]:
    """``repository:NAME:ACTIONS``; the name may hold colons."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return kind, name, actions
