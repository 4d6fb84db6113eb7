# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the configuration of Spack's mirrors says of credentials; ``oci:registries`` is the library's business."""

import itertools
from typing import Any, List, Mapping

import spack.mirrors.mirror

from ...errors import SpackOciError
from ...reference import Repository, is_oci_url, parse_url
from ...registry.auth.credentials import Credentials, CredentialSource, StaticCredentials, VariableCredentials

#: what Spack calls a mirror that was made of a URL
_ANONYMOUS = "<unnamed>"


def mirror_credentials(mirror: "spack.mirrors.mirror.Mirror", direction: str) -> List[CredentialSource]:
    """What the mirror's own configuration says: ``access_pair`` (pair or variables), ``access_token[_variable]``.

    A mirror that is only a URL has what a configured mirror with that URL has; one that is only an entry of a
    `spack.yaml` (`spack ci rebuild-index` makes such) may have its own.
    """
    location = parse_url(mirror.get_url(direction))
    if not isinstance(location, Repository):
        return []
    scope = f"{location.host}/{location.name}"
    if mirror.name != _ANONYMOUS:
        return _credentials(mirror, direction, scope)
    return _credentials(mirror, direction, scope) + [
        source
        for other in spack.mirrors.mirror.MirrorCollection().values()
        if _same_url(other, location, direction)
        for source in _credentials(other, direction, scope)
    ]


def host_credentials(mirror: "spack.mirrors.mirror.Mirror", direction: str) -> List[CredentialSource]:
    """For a mirror that is only a URL: what configured mirrors on the same host have, as Spack itself takes it; first
    of those whose path has most in common with it.

    `spack buildcache push URL` and `spack ci rebuild` make such mirrors. What a mirror with https has is not sent over
    plain http.
    """
    location = parse_url(mirror.get_url(direction))
    if not isinstance(location, Repository) or mirror.name != _ANONYMOUS:
        return []
    found = [
        (_common_parts(place.name, location.name), other)
        for other in spack.mirrors.mirror.MirrorCollection().values()
        for place in [_parsed(other, direction)]
        if isinstance(place, Repository) and (place.host, place.scheme) == (location.host, location.scheme)
    ]
    ranked = sorted(found, key=lambda item: -item[0])  # stable: equals stay in the order of the configuration
    return [source for _, other in ranked for source in _credentials(other, direction, location.host)]


def _common_parts(name: str, other: str) -> int:
    """Of two repositories, how many components of their names are the same from the start.

    >>> _common_parts("org/team/cache", "org/team/other")
    2
    """
    pairs = zip(name.split("/"), other.split("/"))
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _same_url(mirror: "spack.mirrors.mirror.Mirror", location: Repository, direction: str) -> bool:
    return _parsed(mirror, direction) == location


def _parsed(mirror: "spack.mirrors.mirror.Mirror", direction: str) -> Any:
    """The location of a mirror that may be of any kind, or wrong; None if it is not ours."""
    try:
        url = mirror.get_url(direction)
        return parse_url(url) if is_oci_url(url) else None
    except (ValueError, SpackOciError):
        return None


def _credentials(mirror: "spack.mirrors.mirror.Mirror", direction: str, scope: str) -> List[CredentialSource]:
    """``scope``: for what they are good, HOST or HOST/NAME."""
    pair = mirror._get_value("access_pair", direction)
    token_variable = mirror._get_value("access_token_variable", direction)
    token = mirror._get_value("access_token", direction)
    origin = f"access_pair of mirror {mirror.name}"
    if isinstance(pair, Mapping):
        return [
            VariableCredentials(
                scope,
                username=pair.get("id", ""),
                username_variable=pair.get("id_variable", ""),
                password_variable=pair["secret_variable"],
                origin=origin,
            )
        ]
    if pair and all(pair):
        return [StaticCredentials(scope, Credentials(str(pair[0]), str(pair[1])), origin)]
    if token_variable:
        origin = f"access_token_variable of mirror {mirror.name}"
        return [VariableCredentials(scope, token_variable=token_variable, origin=origin)]
    if token:
        return [
            StaticCredentials(scope, Credentials(registry_token=str(token)), f"access_token of mirror {mirror.name}")
        ]
    return []
