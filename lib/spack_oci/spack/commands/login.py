# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci login`` and ``logout`` with Spack's configuration."""

from typing import Optional, Tuple

import spack.llnl.util.tty as tty

from ...configuration.registries import stored_helper
from ...errors import ConfigurationError
from ...maintenance.logins import tell_of_login, tell_of_logout
from ...reference import Repository
from ...registry.auth.credentials import Credentials
from ...registry.auth.helper import Helper
from ...registry.login import key_of, login, logout, parse_key
from ...registry.settings import RegistrySettings
from ..configuration import mirror_arguments, mirrors, settings


def log_in(registry: str, username: str, secret: str, identity_token: bool = False, as_json: bool = False) -> int:
    """Try user and secret at ``HOST[/PATH]``, store them, and say where. Exit code."""
    place, registry_settings, helper = _place(registry)
    if identity_token:
        credentials = Credentials(username, identity_token=secret)
    else:
        credentials = Credentials(username, secret)
    return tell_of_login(tty, login(place, credentials, registry_settings, helper=helper), as_json)


def log_out(registry: str, as_json: bool = False) -> int:
    """Forget what :func:`log_in` stored. Exit code 1 if there was nothing."""
    place, registry_settings, helper = _place(registry)
    return tell_of_logout(tty, logout(place, registry_settings, helper=helper), as_json)


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
