# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci login` and `logout`"""

import argparse
from typing import Optional, Tuple

from ..configuration.registries import stored_helper
from ..configuration.secrets import read_secret
from ..reference import Repository
from ..registry import login as logins
from ..registry.auth.credentials import Credentials
from ..registry.auth.helper import Helper
from ..registry.settings import RegistrySettings
from . import settings
from .output import info, warn


def login(args: argparse.Namespace) -> int:
    """Try user and secret, then store them."""
    place, registry_settings, helper = _place(args.registry)
    username, secret = read_secret(args, logins.key_of(place))
    token = {"identity_token": secret} if args.identity_token else {}
    credentials = Credentials(username, **token) if token else Credentials(username, secret)
    result = logins.login(place, credentials, registry_settings, helper=helper)
    for warning in result.warnings:
        warn(warning)
    info(f"Logged in to {result.key}; stored in {result.stored_in}")
    return 0


def logout(args: argparse.Namespace) -> int:
    """Forget what :func:`login` stored. Exit code 1 if there was nothing."""
    place, registry_settings, helper = _place(args.registry)
    result = logins.logout(place, registry_settings, helper=helper)
    for source in result.still_known:
        warn(f"there are still credentials for {result.key}: {source}")
    if not result.removed_from:
        warn(f"not logged in to {result.key}")
        return 1
    info(f"Removed the credentials for {result.key} from {', '.join(result.removed_from)}")
    return 0


def _place(registry: str) -> Tuple[Repository, RegistrySettings, Optional[Helper]]:
    network = settings.network()
    place, registry_settings = network.registry_of(logins.parse_key(registry)[1])
    return place, registry_settings, stored_helper(network.options.registries, place)
