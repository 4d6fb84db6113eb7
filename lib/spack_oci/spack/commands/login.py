# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci login`` and ``logout`` with Spack's configuration."""

from typing import Optional, Tuple

import spack.llnl.util.tty as tty

from ...configuration.registries import stored_helper
from ...errors import ConfigurationError
from ...reference import Repository
from ...registry.auth.credentials import Credentials
from ...registry.auth.helper import Helper
from ...registry.login import key_of, login, logout, parse_key
from ...registry.settings import RegistrySettings
from ..configuration import mirror_arguments, mirrors, settings


def log_in(registry: str, username: str, secret: str, identity_token: bool = False) -> None:
    """Try user and secret at ``HOST[/PATH]``, store them, and say where."""
    place, registry_settings, helper = _place(registry)
    if identity_token:
        credentials = Credentials(username, identity_token=secret)
    else:
        credentials = Credentials(username, secret)
    result = login(place, credentials, registry_settings, helper=helper)
    for warning in result.warnings:
        tty.warn(warning)
    tty.info(f"Logged in to {result.key}; stored in {result.stored_in}")


def log_out(registry: str) -> int:
    """Forget what :func:`log_in` stored. Exit code 1 if there was nothing."""
    place, registry_settings, helper = _place(registry)
    result = logout(place, registry_settings, helper=helper)
    for source in result.still_known:
        tty.warn(f"there are still credentials for {result.key}: {source}")
    if not result.removed_from:
        tty.warn(f"not logged in to {result.key}")
        return 1
    tty.info(f"Removed the credentials for {result.key} from {', '.join(result.removed_from)}")
    return 0


def _place(registry: str) -> Tuple[Repository, RegistrySettings, Optional[Helper]]:
    """Where to log in: ``HOST[/PATH]``, a mirror URL, or the name of a mirror."""
    if "." not in registry and ":" not in registry and "/" not in registry and registry != "localhost":
        mirror, _ = mirror_arguments.find(registry, mirrors.FETCH)
        registry = mirror.fetch_url
        if registry.startswith("oci+file"):
            raise ConfigurationError(f"the mirror {mirror.name} is a directory: there is nothing to log in to")
    place = parse_key(registry)[1]
    place, registry_settings = mirrors.registry_of(place)
    return place, registry_settings, stored_helper(settings.read().registries, place)


def shown(registry: str) -> str:
    """The registry as it is asked about in a prompt."""
    return key_of(_place(registry)[0])
