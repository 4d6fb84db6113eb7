# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci login` and `logout`"""

import argparse
from typing import Optional, Tuple

from ..configuration.registries import stored_helper
from ..configuration.secrets import read_secret
from ..maintenance.logins import tell_of_login, tell_of_logout
from ..reference import Repository
from ..registry import login as logins
from ..registry.auth.credentials import Credentials
from ..registry.auth.helper import Helper
from ..registry.settings import RegistrySettings
from . import output, settings


def login(args: argparse.Namespace) -> int:
    """Try user and secret, then store them."""
    place, registry_settings, helper = _place(args.registry)
    username, secret = read_secret(args, logins.key_of(place))
    if args.identity_token:
        credentials = Credentials(username, identity_token=secret)
    else:
        credentials = Credentials(username, secret)
    result = logins.login(place, credentials, registry_settings, helper=helper)
    return tell_of_login(output, result, args.json)


def logout(args: argparse.Namespace) -> int:
    """Forget what :func:`login` stored. Exit code 1 if there was nothing."""
    place, registry_settings, helper = _place(args.registry)
    return tell_of_logout(output, logins.logout(place, registry_settings, helper=helper), args.json)


def _place(registry: str) -> Tuple[Repository, RegistrySettings, Optional[Helper]]:
    network = settings.network()
    place, registry_settings = network.registry_of(logins.parse_key(registry)[1])
    return place, registry_settings, stored_helper(network.options.registries, place)
