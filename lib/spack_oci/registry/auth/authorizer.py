# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Authorization of requests to one repository: which header to send, and what to do about a 401."""

import threading
from typing import Iterable, List, NamedTuple, Optional, Sequence, Set

from ...errors import ConfigurationError, CredentialsUnavailable
from ...reference import Repository
from ...util.notices import notice
from ..http.transport import Transport
from ..http.urls import host_of
from ..settings import RegistrySettings
from .challenge import Challenge, choose, parse_challenges
from .credentials import Credentials, find_credentials
from .tokens import Scopes, Token, TokenCache, TokenRequest, TokenServer, check_realm, https_realm


class AuthHeader(NamedTuple):
    """What is sent along with a request. ``header`` and ``token`` are secrets.

    ``scope``: what the token server said that it granted, if it did. ``fresh``: it cannot be had any newer, so that a
    401 is final: the password, or a token that was just made.
    """

    header: Optional[str]
    token: str = ""
    scope: str = ""
    fresh: bool = False

    def __repr__(self) -> str:
        return "<AuthHeader>" if self.header else "<no AuthHeader>"


NO_AUTH = AuthHeader(None)


class Authorizer:
    """Remembers how a registry wants to be shown credentials, so that only the first request runs into a 401.

    Credentials are looked up once, when the registry first asks for them; for anonymous pulls never.
    """

    def __init__(
        self, repository: Repository, settings: RegistrySettings, transport: Transport, tokens: TokenCache
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._tokens = tokens
        self._server = TokenServer(transport, settings, settings.retry)
        self._challenge: Optional[Challenge] = None
        self._looked_up = False
        self._found: Optional[Credentials] = None
        self._shown: Set[str] = set()
        #: credentials that stand in the user's files and cannot be had
        self.problems: Sequence[CredentialsUnavailable] = ()
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def credentials(self) -> Optional[Credentials]:
        with self._lock:
            if not self._looked_up:
                host = self._repository.host
                problems: List[CredentialsUnavailable] = []
                self._found = find_credentials(self._settings.credentials, host, self._repository.name, problems)
                self.problems = problems
                self._looked_up = True
                for problem in problems if self._found is None else ():
                    notice(f"{problem.message}; {host} is asked anonymously")
        return self._found

    @property
    def was_asked(self) -> bool:
        """Whether the registry has wanted to see credentials so far."""
        return self._challenge is not None

    def identity(self) -> str:
        """For errors: who asked."""
        credentials = self.credentials
        if credentials is None and self.problems:
            return f"anonymous: {'; '.join(problem.message for problem in self.problems)}"
        if credentials is None:
            return f"anonymous: no credentials for {self._repository.host} were found"
        if not self.was_asked:
            return f"anonymous: the registry did not ask for the credentials from {credentials.origin}"
        return f"made with the credentials from {credentials.origin}"

    def secrets(self) -> Sequence[str]:
        """All that was shown to the registry and must not be shown to anybody else."""
        return [*(self._found.secrets() if self._found else ()), *self._shown]

    def known_auth(self, scopes: Scopes) -> AuthHeader:
        """What to send before being asked: nothing until the registry has shown its challenge."""
        if self._challenge is None:
            return NO_AUTH
        return self._auth_for(self._challenge, scopes, refused="")

    def respond_to(self, header: str, scopes: Scopes, tried: AuthHeader) -> Optional[AuthHeader]:
        """What to send after a 401 with this ``WWW-Authenticate``; None if there is nothing else to try."""
        challenges = parse_challenges(header)
        bearer, basic = choose(challenges, "bearer"), choose(challenges, "basic")
        for challenge in (bearer, basic):
            if challenge is None or (challenge is basic and self.credentials is None):
                continue
            auth = self._auth_for(challenge, scopes, tried.token)
            if auth.header is not None and auth.header != tried.header:
                self._challenge = about_all(challenge)
                return auth
        return None

    def _auth_for(self, challenge: Challenge, scopes: Scopes, refused: str) -> AuthHeader:
        credentials = self.credentials
        if credentials and credentials.registry_token:
            return AuthHeader("Bearer " + credentials.registry_token, credentials.registry_token, fresh=True)
        if challenge.scheme == "basic":
            return self._basic_auth(credentials)
        allowed = self._settings.allow_http_realm or host_of(challenge.realm) in self._settings.http_hosts
        realm = challenge.realm if allowed else https_realm(challenge.realm, self._repository.endpoint)
        check_realm(realm, self._repository.endpoint, allowed)
        request = TokenRequest(
            self._repository.host,
            realm,
            challenge.service,
            merge_scopes(scopes, challenge.scopes),
            credentials,
        )
        made = []

        def make(request: TokenRequest) -> Token:
            made.append(self._server.fetch(request))
            return made[0]

        token = self._tokens.get(request, make, refused)
        self._shown.add(token.value)
        return AuthHeader(token.header, token.value, token.scope, fresh=bool(made))

    def _basic_auth(self, credentials: Optional[Credentials]) -> AuthHeader:
        if credentials is None:
            return NO_AUTH
        if not credentials.password:
            raise ConfigurationError(
                f"{self._repository.host} wants a user and password, but {credentials.origin} has only a token"
            )
        return AuthHeader(credentials.basic_header(), fresh=True)


def about_all(challenge: Challenge) -> Challenge:
    """A challenge without what it said about the repository of one request, to be reused for others."""
    scopes = (scope for scope in challenge.scopes if not scope.startswith("repository:"))
    return Challenge(challenge.scheme, {**challenge.parameters, "scope": " ".join(scopes)})


def merge_scopes(ours: Iterable[str], asked: Iterable[str]) -> Scopes:
    """``ours``, which say what we are about to do, and what the registry asks for beyond them.

    >>> sorted(merge_scopes(["repository:a:pull,push"], ["repository:a:pull", "registry:catalog:*"]))
    ['registry:catalog:*', 'repository:a:pull,push']
    """
    wanted = frozenset(ours)
    actions = {scope.rpartition(":")[0]: set(scope.rpartition(":")[2].split(",")) for scope in wanted}

    def covered(scope: str) -> bool:
        name, _, asked_actions = scope.rpartition(":")
        return set(asked_actions.split(",")) <= actions.get(name, set())

    return wanted | {scope for scope in asked if not covered(scope)}
