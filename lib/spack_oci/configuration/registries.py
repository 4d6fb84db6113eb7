# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How each registry is talked to: ``oci:registries``, and what holds for all of them."""

import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import ConfigurationError
from ..reference import Repository, parse_url
from ..registry.auth.credentials import CredentialSource, VariableCredentials, lookup_keys, matching_key
from ..registry.auth.docker_config import DockerConfig, default_sources
from ..registry.auth.helper import Helper, HelperCredentials
from ..registry.http.retry import RetryPolicy
from ..registry.settings import Mirror, RegistrySettings
from .settings import Settings


class Network(NamedTuple):
    """What holds for all registries. ``ca_bundle``: instead of the system's; ``connect_timeout``: seconds."""

    options: Settings
    #: makes the value of a path an absolute one
    path: Callable[[str], str]
    verify_tls: bool = True
    ca_bundle: Optional[str] = None
    connect_timeout: float = 10.0

    def registry_of(
        self,
        repository: Repository,
        credentials: Sequence[CredentialSource] = (),
        with_mirrors: bool = True,
        further_credentials: Sequence[CredentialSource] = (),
    ) -> Tuple[Repository, RegistrySettings]:
        """The repository (on plain http if the user allows it for that host) and all that is set for its registry.

        ``credentials`` are asked before those of the section, ``further_credentials`` after these and before the user's
        files.
        """
        registries = self.options.registries
        own = for_registry(registries, repository.host, repository.name)
        if own.get("insecure_http"):
            repository = Repository(repository.host, repository.name, "http")
        return repository, RegistrySettings(
            credentials=(
                *credentials,
                *self.section_credentials(),
                *further_credentials,
                *default_sources(os.environ),
            ),
            verify_tls=self.verify_tls,
            ca_bundle=self._path(own.get("ca_bundle")) or self.ca_bundle,
            client_cert=self._path(own.get("client_cert")),
            client_key=self._path(own.get("client_key")),
            connect_timeout=self.connect_timeout,
            connections=self.options.transfer_jobs,
            parallel_ranges=self.options.ranges,
            retry=_retry_policy(own),
            http_hosts=[key.partition("/")[0] for key, value in registries.items() if value.get("insecure_http")],
            mirrors=self._pull_mirrors(repository) if with_mirrors else (),
        )

    def _pull_mirrors(self, repository: Repository) -> List[Mirror]:
        """``mirrors`` of the longest key that matches and has some; what follows the key is looked for below the
        mirror."""
        known = {key.rstrip("/"): value for key, value in self.options.registries.items() if value.get("mirrors")}
        key = matching_key(known, repository.host, repository.name)
        if key is None:
            return []
        rest = repository.name.split("/")[key.count("/") :]
        result = []
        for url in known[key]["mirrors"]:
            place = parse_url("/".join([url.rstrip("/"), *rest]))
            if not isinstance(place, Repository):
                raise ConfigurationError(
                    f"oci:registries:{key}:mirrors: {url} is no registry", remedy="write oci://HOST"
                )
            result.append(Mirror(*self.registry_of(place, with_mirrors=False)))
        return result

    def _path(self, value: Optional[str]) -> Optional[str]:
        return self.path(value) if value else None

    def section_credentials(self) -> List[CredentialSource]:
        """The ``credentials`` of ``oci:registries``, the longest keys first."""
        registries = self.options.registries
        result: List[CredentialSource] = []
        for scope in sorted(registries, key=len, reverse=True):
            given = registries[scope].get("credentials") or {}
            if given:
                result.append(self._credentials_of(scope.rstrip("/"), given))
        return result

    def _credentials_of(self, scope: str, given: Mapping[str, str]) -> CredentialSource:
        origin = f"oci:registries:{scope}:credentials"
        if "token_variable" in given:
            return VariableCredentials(scope, token_variable=given["token_variable"], origin=origin)
        if "secret_variable" in given:
            if "id" not in given and "id_variable" not in given:
                raise ConfigurationError(f"{origin} has a secret but no user", remedy="add id or id_variable")
            return VariableCredentials(
                scope,
                username=given.get("id", ""),
                username_variable=given.get("id_variable", ""),
                password_variable=given["secret_variable"],
                origin=origin,
            )
        if "docker_config" in given:
            return DockerConfig(self.path(given["docker_config"]), scope=scope, label=origin)
        if "helper" in given:
            return HelperCredentials(scope, Helper(given["helper"]), origin)
        raise ConfigurationError(
            f"{origin} names no secret", remedy="give secret_variable, token_variable, docker_config or helper"
        )


def _retry_policy(own: Mapping[str, Any]) -> RetryPolicy:
    times = {key: float(own[key]) for key in ("max_retry_after", "patience") if key in own}
    return RetryPolicy(outage=OUTAGE)._replace(**times)  # type: ignore[arg-type]


#: seconds that a registry may take to restart
OUTAGE = 60.0


def for_registry(registries: Mapping[str, Mapping[str, Any]], host: str, repository: str) -> Dict[str, Any]:
    """The settings of ``registries`` for a repository: keys HOST or HOST/NAMESPACE, a longer match overrides."""
    known = {key.rstrip("/"): value for key, value in registries.items()}
    result: Dict[str, Any] = {}
    for key in reversed(lookup_keys(host, repository)):
        result.update(known.get(key, {}))
    return result


def stored_helper(registries: Mapping[str, Mapping[str, Any]], place: Repository) -> Optional[Helper]:
    """The credential helper that a login to this registry is kept with, if one is set."""
    own = for_registry(registries, place.host, place.name)
    name = (own.get("credentials") or {}).get("helper")
    return Helper(name) if name else None
