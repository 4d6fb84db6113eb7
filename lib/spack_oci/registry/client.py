# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A request and its fortunes: authorization, redirects, retries. The verbs of the protocol are built on ``call``."""

import os
import urllib.parse
import weakref
from typing import Callable, Container, Dict, Iterable, Mapping, Optional, Tuple

from ..errors import ConnectionLost, ResponseError, SpackOciError, TimedOut, Unauthorized, UnexpectedResponse
from ..reference import Repository
from .auth.authorizer import NO_AUTH, AuthHeader, Authorizer
from .auth.tokens import Scopes, TokenCache, repository_scope
from .http.failures import error_from_response
from .http.retry import RetryPolicy
from .http.transport import Answer, Transport, absolute_url, host_of, without_query
from .settings import RegistrySettings

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD_REDIRECTS = frozenset({307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}

#: makes the body anew for every try
BodyFactory = Callable[[], Iterable[bytes]]

_tokens = TokenCache()


class RegistryClient:
    """Requests to one repository. Safe to use from many threads."""

    def __init__(self, repository: Repository, settings: RegistrySettings, transport: Transport) -> None:
        self.repository = repository
        self.settings = settings
        self.transport = transport
        self.authorizer = Authorizer(repository, settings, transport, _tokens)
        self._origin = origin_of(repository.endpoint)
        parts = urllib.parse.urlsplit(repository.endpoint)
        self._home = f"{parts.scheme}://{parts.netloc}/"
        _clients.add(self)

    def scopes(self, *actions: str) -> Scopes:
        return frozenset({repository_scope(self.repository.name, *actions)})

    def call(
        self,
        method: str,
        url: str,
        *,
        doing: str,
        scopes: Scopes,
        accept: Container[int],
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[BodyFactory] = None,
        retry: Optional[RetryPolicy] = None,
        read_timeout: Optional[float] = None,
    ) -> Answer:
        """Send until there is an answer whose status is in ``accept``; every other end is an error of ours.

        ``doing`` begins the error's message. ``retry``: None means the settings' policy.
        """
        answer = send_with_retry(
            lambda: self._authorized(method, url, scopes, headers or {}, body, read_timeout),
            retry or self.settings.retry,
            lambda refused: self._refusal(refused, doing),
            accept,
        )
        if answer.status in accept:
            return answer
        raise self._refusal(answer, doing)

    def read(
        self, url: str, *, doing: str, scopes: Scopes, headers: Mapping[str, str], limit: int
    ) -> Tuple[Answer, bytes]:
        """GET a document whole: one that breaks off is asked for again. InvalidContent beyond ``limit`` bytes."""
        body = b""

        def send() -> Answer:
            nonlocal body
            answer = self._authorized("GET", url, scopes, headers, None, None)
            if answer.status == 200:
                body = answer.read_all(limit)
            return answer

        answer = send_with_retry(send, self.settings.retry, lambda refused: self._refusal(refused, doing), (200,))
        if answer.status != 200:
            raise self._refusal(answer, doing)
        return answer, body

    def _authorized(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: Optional[BodyFactory],
        read_timeout: Optional[float],
    ) -> Answer:
        """One answer; a 401 of the registry itself is answered until there is nothing new to show."""
        grant = self.authorizer.known_grant(scopes) if self.is_registry(url) else NO_AUTH
        for last in (False, False, True):  # nothing; a token that another thread got and that is over; our own
            answer, home = self._redirected(method, url, grant, headers, body, read_timeout)
            if answer.status != 401 or not home or grant.fresh or last:
                break
            challenge = ", ".join(answer.headers.get_all("WWW-Authenticate"))
            renewed = self.authorizer.answer(challenge, scopes, grant)
            if renewed is None:
                break
            answer.discard()
            grant = renewed
        return answer

    def _redirected(
        self,
        method: str,
        url: str,
        grant: AuthHeader,
        headers: Mapping[str, str],
        body: Optional[BodyFactory],
        read_timeout: Optional[float],
    ) -> Tuple[Answer, bool]:
        """The answer at the end of the redirects, and whether it is the registry's own.

        Credentials are not sent to another host, nor is anything over http that began as https.
        """
        for _ in range(MAX_REDIRECTS + 1):
            home = self.is_registry(url)
            sent: Dict[str, str] = {"User-Agent": self.settings.user_agent, **headers}
            if home and grant.header:
                sent["Authorization"] = grant.header
            answer = self.transport.send(method, url, sent, body() if body else None, read_timeout)
            target = _redirect_target(answer)
            if target is None:
                return answer, home
            answer.discard()
            if url.startswith("https:") and not target.startswith("https:"):
                raise UnexpectedResponse(
                    f"{method} {without_query(url)}: it redirects to {without_query(target)}, away from https",
                    status=answer.status,
                )
            url = target
        raise UnexpectedResponse(f"{method} {without_query(url)}: more than {MAX_REDIRECTS} redirects", status=310)

    def is_registry(self, url: str) -> bool:
        # most addresses are made from the repository's own, and need not be taken apart
        return url.startswith(self._home) or origin_of(url) == self._origin

    def location(self, answer: Answer) -> str:
        """The absolute ``Location`` of an answer.

        A registry behind a proxy that ends TLS may name itself with http; that is taken as its https address.
        """
        value = answer.headers.get("Location")
        if not value:
            raise UnexpectedResponse(
                f"{answer.method} {without_query(answer.url)}: {answer.status} without a Location", status=answer.status
            )
        url = absolute_url(answer.url, value)
        parts = urllib.parse.urlsplit(url)
        ours = urllib.parse.urlsplit(self.repository.endpoint)
        if parts.scheme == "http" and ours.scheme == "https":
            if parts.hostname != ours.hostname:
                raise UnexpectedResponse(
                    f"{self.repository} sends an upload to {without_query(url)}, away from https", status=answer.status
                )
            url = urllib.parse.urlunsplit((ours.scheme, ours.netloc, parts.path, parts.query, ""))
        return url

    def _refusal(self, answer: Answer, doing: str) -> SpackOciError:
        identity = self.authorizer.identity() if answer.status in (401, 403, 429) else ""
        if not self.is_registry(answer.url):
            doing += f" (redirected to {host_of(answer.url)})"
        error = error_from_response(answer, doing, identity, self.authorizer.secrets())
        anonymous = identity and self.authorizer.credentials is None
        if anonymous and isinstance(error, ResponseError):
            host = self.repository.host
            error.remedy = (
                f"log in with `spack oci login {host}`, or give the mirror credentials with `spack mirror set`"
            )
        elif isinstance(error, ResponseError) and (error.retry_after or 0) > self.settings.retry.max_retry_after:
            error.remedy = (
                f"try again then, or allow longer waits: oci:registries:{self.repository.host}:max_retry_after"
            )
        elif isinstance(error, Unauthorized):
            error.remedy = "the credentials were not accepted, or do not allow this: check them, or log in again"
        return error


def send_with_retry(
    send: Callable[[], Answer],
    policy: RetryPolicy,
    refuse: Callable[[Answer], SpackOciError],
    accept: Container[int] = (),
) -> Answer:
    """``send`` until the policy has had enough. Statuses that it does not retry are returned; ``refuse`` makes the
    error of those that it does."""
    tries = 0
    while True:
        tries += 1
        error: SpackOciError
        try:
            answer = send()
            if answer.status in accept or answer.status not in policy.statuses:
                return answer
            error = refuse(answer)
        except (ConnectionLost, TimedOut) as e:
            error = e
        wait = policy.wait_before_retry(error, tries)
        if wait is None:
            if tries > 1:
                error.message += f" ({tries} tries)"
            raise error
        policy.sleep(wait)


def _redirect_target(answer: Answer) -> Optional[str]:
    if answer.status not in _REDIRECTS:
        return None
    if answer.method not in ("GET", "HEAD") and answer.status not in _SAME_METHOD_REDIRECTS:
        return None
    location = answer.headers.get("Location")
    return absolute_url(answer.url, location) if location else None


def origin_of(url: str) -> Tuple[str, str, Optional[int]]:
    """Scheme, host name and port: where credentials may go."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(parts.scheme)


_clients: "weakref.WeakSet[RegistryClient]" = weakref.WeakSet()


def _after_fork() -> None:
    _tokens.after_fork()
    for client in list(_clients):
        client.authorizer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
