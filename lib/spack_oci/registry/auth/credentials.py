# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Who we are to a registry: values that do not show their secrets, and where they come from.

Sources are asked in order, and the first that knows the repository wins. A source looks for
the longest prefix of ``HOST/REPOSITORY`` that it has something for.
"""

import base64
import os
from dataclasses import dataclass, field, replace
from typing import Iterable, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple

from ...errors import ConfigurationError, CredentialsNotSet, CredentialsUnavailable

#: the names under which Docker Hub is known; credentials for one are credentials for all
HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credentials:
    """What is shown to a registry: user and password, an identity token, or a ready registry token.

    ``identity_token`` buys access tokens from the token server (OAuth2 refresh token); ``registry_token`` goes to the
    registry as it is. ``origin`` says where the credentials were found; only it and the user name are ever shown.
    ``is_configured``: they are those of a mirror or of the configuration, which go before what a login has stored.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    origin: str = field(default="", compare=False)
    is_configured: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        return f"<Credentials from {self.origin or 'nowhere in particular'}>"

    def basic_header(self) -> str:
        pair = f"{self.username}:{self.password or self.identity_token}"
        return "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")

    def how_to_replace(self, host: str) -> str:
        """What to do about credentials that a registry does not take."""
        if self.is_configured:
            return "correct them where they come from (a `spack oci login` counts only where none are configured)"
        return f"correct them where they come from, or store others with `spack oci login {host}`"

    def secrets(self) -> Tuple[str, ...]:
        """Every text that must not be shown."""
        texts = [self.password, self.identity_token, self.registry_token]
        pair = [self.basic_header().partition(" ")[2]] if self.password or self.identity_token else []
        return tuple(t for t in texts + pair if t)


class CredentialSource(Protocol):
    def find(self, host: str, repository: str) -> Optional[Credentials]:
        """The credentials for ``HOST[:PORT]`` and a repository name (may be empty), or None if this source has none.

        Raises ConfigurationError when it should have some and cannot give them: a variable that is not set, a helper
        that fails, a file that cannot be read; CredentialsUnavailable if nobody named this source for this registry.
        """

    def describe(self) -> str:
        """Where the answers come from, for the user."""


def lookup_keys(host: str, repository: str) -> List[str]:
    """``HOST/a/b/c``, ``HOST/a/b``, ``HOST/a``, ``HOST``: the order in which a source looks; all names of Docker Hub.

    >>> lookup_keys("ghcr.io", "org/app")
    ['ghcr.io/org/app', 'ghcr.io/org', 'ghcr.io']
    """
    parts = repository.split("/") if repository else []
    hosts: Iterable[str] = HUB_HOSTS if host in HUB_HOSTS else (host,)
    return ["/".join([h, *parts[:n]]) for n in range(len(parts), -1, -1) for h in hosts]


def matching_key(keys: Iterable[str], host: str, repository: str) -> Optional[str]:
    """The key among ``keys`` (``HOST[/PATH]``) that matches longest."""
    known = set(keys)
    return next((key for key in lookup_keys(host, repository) if key in known), None)


class StaticCredentials(NamedTuple):
    """Credentials that are known already, for ``scope``: ``HOST`` or ``HOST/PATH``, and for nobody else."""

    scope: str
    credentials: Credentials
    origin: str = "configuration"

    def find(self, host: str, repository: str) -> Optional[Credentials]:
        if matching_key([self.scope], host, repository) is None:
            return None
        return replace(self.credentials, origin=self.credentials.origin or self.origin, is_configured=True)

    def describe(self) -> str:
        return self.origin


@dataclass(frozen=True)
class VariableCredentials:
    """Credentials whose parts are in environment variables, read when they are needed.

    ``username`` may be given instead of ``username_variable``. ``env``: None means this process's environment.
    """

    scope: str
    username: str = ""
    username_variable: str = ""
    password_variable: str = ""
    token_variable: str = ""
    origin: str = "configuration"
    env: Optional[Mapping[str, str]] = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what is no name of a variable, without showing it: it may be the secret.

        `spack mirror add --oci-password SECRET` is such a trap of Spack 1.1: argparse takes the option for
        `--oci-password-variable`.
        """
        for name in (self.username_variable, self.password_variable, self.token_variable):
            if name and not (name.isascii() and name.isidentifier()):
                raise ConfigurationError(
                    f"the {self.origin} should name environment variables, and has something else in that place",
                    remedy="name variables that hold user and secret; if you wrote `--oci-password SECRET`, Spack took "
                    "it for --oci-password-variable: remove the secret from mirrors.yaml and run `spack oci login`",
                )

    def find(self, host: str, repository: str) -> Optional[Credentials]:
        if matching_key([self.scope], host, repository) is None:
            return None
        if self.token_variable:
            token = self._read(self.token_variable)
            origin = f"{self.origin} (${self.token_variable})"
            return Credentials(registry_token=token, origin=origin, is_configured=True)
        user = self._read(self.username_variable) if self.username_variable else self.username
        secret = self._read(self.password_variable)
        return Credentials(user, secret, origin=f"{self.origin} (${self.password_variable})", is_configured=True)

    def _read(self, name: str) -> str:
        value = (os.environ if self.env is None else self.env).get(name)
        if not value:
            raise CredentialsNotSet(
                f"the credentials of {self.scope} ({self.origin}) are in the environment variable {name}, "
                f"which is {'empty' if value == '' else 'not set'}",
                remedy=f"export {name}, or remove it from the configuration",
            )
        return value

    def describe(self) -> str:
        return self.origin


def find_credentials(
    sources: Sequence[CredentialSource],
    host: str,
    repository: str,
    problems: Optional[List[CredentialsUnavailable]] = None,
) -> Optional[Credentials]:
    """The first answer of ``sources``.

    ``problems``: is given what stands in the user's files and cannot be had, and the next source is asked; None: that
    is raised.
    """
    for source in sources:
        try:
            found = source.find(host, repository)
        except CredentialsUnavailable as e:
            if problems is None:
                raise
            problems.append(e)
            continue
        if found is not None:
            return found if found.origin else replace(found, origin=source.describe())
    return None
