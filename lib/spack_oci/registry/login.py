# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci login`` and ``logout``: credentials are tried before they are stored, and stored where all tools look."""

import os
from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

from ..errors import ConfigurationError, NotFound, Unauthorized
from ..reference import Repository, parse_repository
from .auth.credentials import Credentials, CredentialSource, StaticCredentials, find_credentials
from .auth.docker_config import DockerConfig, default_sources, docker_config_file
from .auth.helper import Helper
from .auth.tokens import repository_scope
from .client import RegistryClient
from .settings import RegistrySettings
from .store import transport_for


@dataclass(frozen=True)
class LoginResult:
    """``stored_in``: a helper or a file. ``warnings``: lines that the user should see."""

    key: str
    stored_in: str
    warnings: Tuple[str, ...] = ()


@dataclass(frozen=True)
class LogoutResult:
    """``removed_from``: where there was something; ``still_known``: what has credentials nevertheless, also
    for what is below ``key``."""

    key: str
    removed_from: Tuple[str, ...]
    still_known: Tuple[str, ...]


def parse_key(text: str) -> Tuple[str, Repository]:
    """``HOST[/PATH]``, also as a mirror URL: the key of credentials, and a repository to try them at."""
    scheme, separator, rest = text.rstrip("/").partition("://")
    if not separator:
        scheme, rest = "oci", scheme
    if scheme not in ("oci", "oci+http", "https", "http"):
        raise ConfigurationError(f"not a registry: {text!r}", remedy="write HOST, HOST/PATH, or an oci:// URL")
    if not rest:
        raise ConfigurationError("no registry is named", remedy="write HOST, HOST:PORT or HOST/PATH")
    if "@" in rest:
        raise ConfigurationError("a registry is given without user and password", remedy="use --username")
    host, _, path = rest.partition("/")
    repository = parse_repository(f"{host}/{path or 'x'}", "http" if scheme.endswith("http") else "https", rest)
    if repository.host != host:  # a name without a dot: it was taken for a repository of Docker Hub
        raise ConfigurationError(f"not a registry: {text!r}", remedy="write HOST, HOST:PORT or HOST/PATH")
    return (f"{host}/{repository.name}" if path else host), repository._replace(name=repository.name if path else "")


def login(
    repository: Repository,
    credentials: Credentials,
    settings: RegistrySettings,
    *,
    helper: Optional[Helper] = None,
    env: Optional[Mapping[str, str]] = None,
) -> LoginResult:
    """Try ``credentials`` at a registry, then store them.

    ``repository``: of parse_key. ``helper``: the one that the configuration names for it; else the one that the user's
    file names (``credHelpers``, ``credsStore``), else the file itself, mode 0600. ``settings``: how to reach the
    registry; its sources are only asked whether one of them hides what was stored. Raises Unauthorized, and stores
    nothing, when the registry does not take the credentials.
    """
    key = key_of(repository)
    warnings = []
    if not verify(repository, credentials, settings):
        warnings.append(f"{repository.host} did not ask for credentials, so these could not be tried")
    file = login_file(env)
    helper = helper or file.helper_for(key)
    if helper is not None:
        helper.store(key, credentials)
        file.refer_to(helper, key)
        stored_in = helper.program
    else:
        file.store(key, credentials)
        stored_in = file.path
        warnings.append(
            f"the secret is stored unencrypted (base64) in {file.path}; configure a credential helper to avoid this"
        )
    hidden_by = _hidden_by(repository, credentials, settings.credentials)
    if hidden_by:
        warnings.append(f"{hidden_by} has other credentials for {key}, which are used before these")
    return LoginResult(key, stored_in, tuple(warnings))


def verify(repository: Repository, credentials: Credentials, settings: RegistrySettings) -> bool:
    """Show ``credentials`` to the registry. False: it did not want to see any. Raises Unauthorized."""
    key = key_of(repository)
    only_these = settings._replace(credentials=[StaticCredentials(key, credentials, "your input")], mirrors=())
    client = RegistryClient(repository, only_these, transport_for(only_these))
    assert client.authorizer.credentials == credentials  # known from the start, so that no error shows them
    # without a repository the base of the API is all there is to ask for
    urls = [f"{repository.api_root}/"] + ([f"{repository.endpoint}/tags/list?n=1"] if repository.name else [])
    scopes = frozenset({repository_scope(repository.name, "pull")} if repository.name else ())
    for url in urls:
        try:
            response = client.call("GET", url, action=f"logging in to {key}", scopes=scopes, accept=(200,))
        except NotFound:
            continue  # a registry without this page, or a repository that does not exist yet
        except Unauthorized as e:
            e.remedy = "check the user name and the password or token; many registries want a token with a scope"
            raise
        response.abort()
        if client.authorizer.was_asked:
            return True
    return client.authorizer.was_asked


def logout(
    repository: Repository,
    settings: RegistrySettings,
    *,
    helper: Optional[Helper] = None,
    env: Optional[Mapping[str, str]] = None,
) -> LogoutResult:
    """Forget what :func:`login` stored. Nothing to forget is no error: ``removed_from`` is empty then."""
    key = key_of(repository)
    file = login_file(env)
    removed: List[str] = []
    used = helper or file.helper_for(key)
    if used is not None and used.erase(key):
        removed.append(used.program)
    if file.erase(key, helper):
        removed.append(file.path)
    known = find_credentials(settings.credentials, repository.host, repository.name)
    below = [f"{other} in {file.path}" for other in file.keys_below(key)]
    return LogoutResult(key, tuple(removed), (*([known.origin] if known else []), *below))


def login_file(env: Optional[Mapping[str, str]] = None) -> DockerConfig:
    """The file that login writes: the one the user named, else Docker's, which all container tools read."""
    env = os.environ if env is None else env
    if env.get("REGISTRY_AUTH_FILE"):
        return default_sources(env)[0]
    return docker_config_file(env)


def key_of(repository: Repository) -> str:
    return f"{repository.host}/{repository.name}" if repository.name else repository.host


def _hidden_by(repository: Repository, stored: Credentials, sources: Sequence[CredentialSource]) -> str:
    """The source whose answer is not what was just stored."""
    try:
        found = find_credentials(sources, repository.host, repository.name)
    except ConfigurationError as e:
        return f"a source that fails ({e.message})"
    return "" if found is None or found == stored else found.origin
