# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Requests to one repository, with authorization, redirects and retries. The verbs of the protocol are built on it."""

import os
import urllib.parse
import weakref
from typing import Callable, Container, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from ..errors import Forbidden, ResponseError, SpackOciError, Unauthorized, UnexpectedResponse, how_to_log_in
from ..reference import Repository
from .auth.authorizer import NO_AUTH, AuthHeader, Authorizer
from .auth.credentials import Credentials
from .auth.refusals import remedy_of_refusal
from .auth.tokens import Scopes, TokenCache, repository_scope
from .http.response import MAX_REDIRECTS, Response, decoded, redirect_target
from .http.response_errors import NO_ROOM, a_page_came, error_from_response, is_page
from .http.retry import RetryPolicy, send_with_retry
from .http.throttled import ThrottledTransport
from .http.transport import Transport
from .http.urls import absolute_url, host_of, origin_of, set_command, without_query
from .settings import RegistrySettings

_NOT_ACCEPTED = "the credentials were not accepted, or do not allow this: "
_NOT_TOLD = (
    "it refuses credentials that it has not seen, and does not tell how it wants to see them (WWW-Authenticate): check "
    "the address; a proxy may answer in its place"
)
_NOT_ASKED = (
    "it wants no credentials, so others would not help: it may be forbidden to everybody, or from this network; "
    "ask the registry's owner"
)

#: makes the body anew for every try
BodyFactory = Callable[[], Iterable[bytes]]

_tokens = TokenCache()


class RegistryClient:
    """Requests to one repository. Safe to use from many threads."""

    def __init__(self, repository: Repository, settings: RegistrySettings, transport: Transport) -> None:
        self.repository = repository
        self.settings = settings
        self.transport = ThrottledTransport(transport, settings.retry)
        self.authorizer = Authorizer(repository, settings, self.transport, _tokens)
        self._origin = origin_of(repository.endpoint)
        parts = urllib.parse.urlsplit(repository.endpoint)
        self._home = f"{parts.scheme}://{parts.netloc}/"
        #: methods for which the registry has accepted the credentials
        self._accepted: Set[str] = set()
        #: not even ``/v2/`` says how it wants credentials
        self._asks_nobody = False
        _clients.add(self)

    def scopes(self, *actions: str) -> Scopes:
        return frozenset({repository_scope(self.repository.name, *actions)})

    def call(
        self,
        method: str,
        url: str,
        *,
        action: str,
        scopes: Scopes,
        accept: Container[int],
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[BodyFactory] = None,
        retry: Optional[RetryPolicy] = None,
        read_timeout: Optional[float] = None,
    ) -> Response:
        """Send until there is a response whose status is in ``accept``; every other end is an error of ours.

        ``action`` begins the error's message, e.g. ``"looking for sha256:..."``. ``retry``: None means the settings'
        policy.
        """
        response = send_with_retry(
            lambda: self._authorized(method, url, scopes, headers or {}, body, read_timeout),
            retry or self.settings.retry,
            lambda refused: self._error(refused, action),
            accept,
        )
        if response.status in accept:
            return response
        raise self._error(response, action)

    def read(
        self, url: str, *, action: str, scopes: Scopes, headers: Mapping[str, str], limit: int
    ) -> Tuple[Response, bytes]:
        """GET a whole document: one that breaks off is asked for again. InvalidContent beyond ``limit`` bytes;
        UnexpectedResponse for a page that is for people."""
        body = b""

        def send() -> Response:
            nonlocal body
            response = self._authorized("GET", url, scopes, headers, None, None)
            if response.status == 200:
                body = decoded(response, limit)
            return response

        response = send_with_retry(send, self.settings.retry, lambda refused: self._error(refused, action), (200,))
        if response.status != 200:
            raise self._error(response, action)
        if is_page(body):
            raise a_page_came(response, body, action)
        return response, body

    def _authorized(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: Optional[BodyFactory],
        read_timeout: Optional[float],
    ) -> Response:
        """One response; after a 401 of the registry itself, one to a request with other credentials, if there are."""
        auth = self.authorizer.known_auth(scopes) if self.is_registry(url) else NO_AUTH
        # at most three: without credentials; with another thread's token, which may have expired; with one of our own
        for is_last in (False, False, True):
            response, is_own = self._redirected(method, url, auth, headers, body, read_timeout)
            if response.status not in (401, 403) or not is_own or auth.fresh or is_last:
                break
            renewed = self.authorizer.respond_to(", ".join(self._challenges(response, auth)), scopes, auth)
            if renewed is None:
                break
            response.discard()
            auth = renewed
        if response.status not in (401, 403) and response.status < 500:
            self._accepted.add(method)
        return response

    def _challenges(self, refused: Response, auth: AuthHeader) -> List[str]:
        """How the registry wants to be shown credentials. Some refuse who is anonymous with 403, or 401, and do not
        tell (prefix-dev/pixi #6318); what they answer to ``/v2/`` does, where other clients begin."""
        told = refused.fields("WWW-Authenticate") if refused.status == 401 else []
        if told or self._asks_nobody:
            return told
        is_asked_again = refused.method == "HEAD"  # with GET
        if refused.status == 403 and (is_asked_again or auth.header or self.authorizer.credentials is None):
            return []
        response = self.transport.send("GET", f"{self._home}v2/", {"User-Agent": self.settings.user_agent})
        response.discard()
        told = response.fields("WWW-Authenticate") if response.status == 401 else []
        self._asks_nobody = not told
        return told

    def _redirected(
        self,
        method: str,
        url: str,
        auth: AuthHeader,
        headers: Mapping[str, str],
        body: Optional[BodyFactory],
        read_timeout: Optional[float],
    ) -> Tuple[Response, bool]:
        """The response at the end of the redirects, and whether it is the registry's own.

        Credentials are not sent to another host, nor is anything over http that began as https.
        """
        for _ in range(MAX_REDIRECTS + 1):
            is_own = self.is_registry(url)
            sent: Dict[str, str] = {"User-Agent": self.settings.user_agent, **headers}
            if is_own and auth.header:
                sent["Authorization"] = auth.header
            response = self.transport.send(method, url, sent, body() if body else None, read_timeout)
            target = redirect_target(response)
            if target is None:
                return response, is_own
            response.discard()
            if url.startswith("https:") and not target.startswith("https:"):
                raise UnexpectedResponse(
                    f"{method} {without_query(url)}: it redirects to {without_query(target)}, away from https",
                    status=response.status,
                )
            url = target
        raise UnexpectedResponse(f"{method} {without_query(url)}: more than {MAX_REDIRECTS} redirects", status=310)

    def is_registry(self, url: str) -> bool:
        """Whether a URL is on the repository's own host."""
        # most are made from the repository's own, and need not be parsed
        return url.startswith(self._home) or origin_of(url) == self._origin

    def location(self, response: Response) -> str:
        """The absolute ``Location`` of a response.

        A registry behind a proxy that ends TLS may name itself with http; that is taken as its https address.
        """
        value = response.field("Location")
        if not value:
            raise UnexpectedResponse(
                f"{response.method} {without_query(response.url)}: {response.status} without a Location",
                status=response.status,
            )
        url = absolute_url(response.url, value)
        parts = urllib.parse.urlsplit(url)
        own = urllib.parse.urlsplit(self.repository.endpoint)
        if parts.scheme == "https" and own.scheme == "http" and parts.netloc == own.netloc:
            raise UnexpectedResponse(
                f"{self.repository} is spoken to over http, and sends uploads to {without_query(url)}",
                status=response.status,
                remedy="use https (oci://) if that is how it is reached; else it does not know its own address: what "
                "stands before it has to send X-Forwarded-Proto, or the address has to be set in its configuration",
            )
        if parts.scheme == "http" and own.scheme == "https":
            if parts.hostname != own.hostname:
                raise UnexpectedResponse(
                    f"{self.repository} sends an upload to {without_query(url)}, away from https",
                    status=response.status,
                )
            url = urllib.parse.urlunsplit((own.scheme, own.netloc, parts.path, parts.query, ""))
        return url

    def _error(self, response: Response, action: str) -> SpackOciError:
        is_own = self.is_registry(response.url)
        identity = self.authorizer.identity() if is_own and response.status in (401, 403, 429) else ""
        if not is_own:
            action += f" (redirected to {host_of(response.url)})"
        error = error_from_response(response, action, identity, self.authorizer.secrets())
        if not is_own and isinstance(error, (Unauthorized, Forbidden)):
            error.remedy = (
                f"credentials for {self.repository.host} are not sent to another host: if {host_of(response.url)} is "
                "the registry, give its own address"
            )
            return error
        if error.remedy == NO_ROOM:
            return error
        is_anonymous = identity and self.authorizer.credentials is None
        if is_anonymous and isinstance(error, ResponseError):
            problem = next((p for p in self.authorizer.problems if p.remedy), None)
            error.remedy = (problem and problem.remedy) or how_to_log_in(self.repository.host)
        elif isinstance(error, ResponseError) and (error.retry_after or 0) > self.settings.retry.max_retry_after:
            error.remedy = "try again then, or allow longer waits: " + set_command(
                self.repository.host, f"max_retry_after:{error.retry_after:.0f}"
            )
        elif isinstance(error, Forbidden) and not self.authorizer.was_asked:
            error.remedy = _NOT_ASKED
        elif isinstance(error, Unauthorized) and not self.authorizer.was_asked:
            error.remedy = _NOT_TOLD
        elif isinstance(error, (Unauthorized, Forbidden)):
            challenges = response.fields("WWW-Authenticate")
            known = remedy_of_refusal(error.status, error.message, challenges, response.method in self._accepted)
            if known or isinstance(error, Unauthorized):
                shown = self.authorizer.credentials or Credentials()
                error.remedy = known or _NOT_ACCEPTED + shown.how_to_replace(self.repository.host)
        return error


_clients: "weakref.WeakSet[RegistryClient]" = weakref.WeakSet()


def _after_fork() -> None:
    _tokens.after_fork()
    for client in list(_clients):
        client.authorizer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
