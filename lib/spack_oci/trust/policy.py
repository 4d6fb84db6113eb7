# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``oci:trust``: which keys may sign what. From the configuration to values, with every typo refused.

::

    keys:     {NAME: path, or PEM as text}
    policies: {HOST[/NAMESPACE] or /DIRECTORY or "*": {mode, keys, threshold, max_age, repositories}}
"""

import difflib
import os
import re
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Collection, Dict, Mapping, Optional, Sequence, Tuple

from ..errors import ConfigurationError
from ..reference import DOCKER_HUB, LayoutDirectory, parse_url
from .keys import PUBLIC_MARK, PublicKey, read_public_key

OFF, WARN, REQUIRE = "off", "warn", "require"
MODES = (OFF, WARN, REQUIRE)
ANYWHERE = "*"

_MEMBERS = ("keys", "policies")
_POLICY_MEMBERS = ("mode", "keys", "threshold", "max_age", "repositories")
_AGE = re.compile(r"([1-9][0-9]{0,8})([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Policy:
    """What is asked of the signatures of the packages of one repository."""

    mode: str = OFF
    keys: Tuple[PublicKey, ...] = ()
    #: different keys that must have signed
    threshold: int = 1
    #: seconds that a signed index may be old
    max_age: Optional[int] = None
    #: further repositories (HOST/NAME) whose signatures count here, as for a copy; ``*``: all
    repositories: Tuple[str, ...] = ()
    #: where it comes from, for people: the scope in ``oci:trust:policies``, or the mirror
    origin: str = field(default="", compare=False)

    @property
    def active(self) -> bool:
        return self.mode != OFF

    @property
    def required(self) -> bool:
        return self.mode == REQUIRE

    def accepts_repository(self, named: str, here: Optional[str]) -> bool:
        """Whether a signature that names one repository counts in another. ``here``: None for a layout directory,
        whose name says nothing: what it holds was signed where it came from."""
        return here is None or named == here or named in self.repositories or ANYWHERE in self.repositories

    def describe(self) -> str:
        """``require 2 of team-2026, team-2025``."""
        if not self.active:
            return self.mode
        names = ", ".join(key.name for key in self.keys) or "no keys"
        count = f"{self.threshold} of " if len(self.keys) > 1 else ""
        return f"{self.mode} {count}{names}"


@dataclass(frozen=True)
class Trust:
    """All policies. :meth:`policy_for` chooses."""

    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)

    def policy_for(self, url: str, signed: bool = False) -> Policy:
        """The policy of the longest scope that matches the store at ``url``.

        ``signed``: the mirror's own configuration says that its packages are signed: then one signature is required,
        by any of the keys where no policy names some.
        """
        place = _place(url)
        matching = [scope for scope in self.policies if _matches(scope, place)]
        policy = self.policies[max(matching, key=lambda s: (s != ANYWHERE, len(s)))] if matching else Policy()
        if signed and not policy.required:
            keys = policy.keys or tuple(self.keys.values())
            if not keys:
                raise ConfigurationError(
                    f"the mirror {url} is to be signed, but no key is known that could have signed it",
                    remedy="add one with `spack oci key add NAME FILE`, or remove `signed: true` from the mirror",
                )
            policy = replace(policy, mode=REQUIRE, keys=keys, origin="signed: true of the mirror")
        return policy


#: the bytes of a key file that the configuration names
ReadFile = Callable[[str], bytes]


def trust_of(section: Any, read_file: ReadFile) -> Trust:
    """The value of ``oci:trust``. Raises ConfigurationError for whatever in it has no meaning."""
    section = _object(section or {}, "oci:trust", _MEMBERS)
    given = _object(section.get("keys") or {}, "oci:trust:keys")
    keys = {name: _key(name, value, read_file) for name, value in given.items()}
    policies = _object(section.get("policies") or {}, "oci:trust:policies")
    found: Dict[str, Policy] = {}
    for scope, value in policies.items():
        if _scope(scope) in found:
            raise ConfigurationError(
                f"oci:trust:policies has {found[_scope(scope)].origin} and {scope}, which are the same",
                remedy="keep the one that is to hold",
            )
        found[_scope(scope)] = _policy(scope, value, keys)
    return Trust(keys, found)


def _key(name: str, value: Any, read_file: ReadFile) -> PublicKey:
    if not isinstance(value, str):
        raise ConfigurationError(f"oci:trust:keys:{name} is neither a path nor a key in PEM format")
    if PUBLIC_MARK.decode() in value:
        return read_public_key(value.encode(), name, f"oci:trust:keys:{name}")
    return read_public_key(read_file(value), name, value)


def _policy(scope: str, value: Any, keys: Dict[str, PublicKey]) -> Policy:
    where = f"oci:trust:policies:{scope}"
    value = _object(value, where, _POLICY_MEMBERS)
    mode = value.get("mode")
    if mode is False:  # YAML 1.1 reads a bare off as false
        mode = OFF
    if mode not in MODES:
        raise ConfigurationError(
            f"{where}:mode is {mode!r}", remedy=f"write {', '.join(MODES)}{_did_you_mean(str(mode), MODES)}"
        )
    names = value.get("keys")
    chosen = tuple(keys.values()) if names is None else tuple(_named(name, keys, where) for name in _list(names, where))
    threshold = value.get("threshold", 1)
    if not isinstance(threshold, int) or isinstance(threshold, bool) or threshold < 1:
        raise ConfigurationError(f"{where}:threshold is {threshold!r}", remedy="write a number, at least 1")
    different = len({key.id for key in chosen})
    if mode == REQUIRE and threshold > different:
        raise ConfigurationError(
            f"{where} asks for {threshold} signatures, but has {different} keys",
            remedy="add keys with `spack oci key add NAME FILE`, or lower the threshold",
        )
    repositories = tuple(str(name) for name in _list(value.get("repositories") or [], where))
    return Policy(mode, chosen, threshold, _age(value.get("max_age"), where), repositories, scope)


def _named(name: Any, keys: Dict[str, PublicKey], where: str) -> PublicKey:
    if name not in keys:
        raise ConfigurationError(
            f"{where} names the key {name}, which oci:trust:keys does not have",
            remedy=f"it has {', '.join(sorted(keys)) or 'none'}{_did_you_mean(str(name), keys)}",
        )
    return keys[name]


def _age(value: Any, where: str) -> Optional[int]:
    if value is None:
        return None
    match = _AGE.match(str(value))
    if not match:
        raise ConfigurationError(f"{where}:max_age is {value!r}", remedy="write a number and s, m, h, d or w: 30d")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def _list(value: Any, where: str) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"{where}: {value!r} is no list", remedy="write [NAME, NAME]")
    return value


def _object(value: Any, where: str, names: Optional[Collection[str]] = None) -> Dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} is not made of names and values: {str(value)[:80]!r}")
    for name in value:
        if not isinstance(name, str) or (names is not None and name not in names):
            raise ConfigurationError(
                f"{where} has {name!r}, which means nothing",
                remedy=f"known: {', '.join(names or ())}{_did_you_mean(str(name), names or ())}",
            )
    return dict(value)


def _did_you_mean(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _scope(scope: str) -> str:
    """As it is compared: without a scheme, a slash at the end, and capitals; Docker Hub as its URLs name it."""
    place = scope.partition("://")[2] if "://" in scope else scope
    place = place.rstrip("/") or "/"
    if place.startswith("/"):
        return os.path.normpath(place)
    host, slash, name = place.lower().partition("/")
    return f"{_host(host, ':443')}{slash}{name}"


def _place(url: str) -> str:
    """``HOST/NAME`` or ``/DIRECTORY`` of a store, however its URL is written; of a snapshot, that of its cache. Raises
    InvalidReference."""
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        return location.path
    return f"{_host(location.host.lower(), ':443' if location.scheme == 'https' else ':80')}/{location.name}"


def _host(host: str, default_port: str) -> str:
    host = host.removesuffix(default_port).removesuffix(".")
    return DOCKER_HUB if host == "docker.io" else host


def _matches(scope: str, place: str) -> bool:
    return scope == ANYWHERE or f"{place}/".startswith(scope if scope == "/" else f"{scope}/")
