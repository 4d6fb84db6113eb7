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
from typing import Any, Callable, Collection, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import ConfigurationError, InvalidReference
from ..reference import DOCKER_HUB, LayoutDirectory, layout_at, parse_namespace, parse_url
from .keys import PUBLIC_MARK, PublicKey, read_public_key
from .payload import NO_REPOSITORY

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
        if here is None or ANYWHERE in self.repositories:
            return True
        named = _repository(named)
        return named == _repository(here) or named in self.repositories

    @property
    def signers(self) -> str:
        """Who has to have signed, for messages: ``team-2026``, ``2 of team-2026, team-2025``."""
        names = ", ".join(key.name for key in self.keys) or "any key"
        return f"{self.threshold} of {names}" if self.threshold > 1 else names

    def describe(self) -> str:
        """``require 2 of team-2026, team-2025``."""
        if not self.active:
            return self.mode
        names = ", ".join(key.name for key in self.keys) or "no keys"
        count = f"{self.threshold} of " if len(self.keys) > 1 else ""
        return f"{self.mode} {count}{names}"


class Trust(NamedTuple):
    """All policies. :meth:`policy_for` chooses."""

    keys: Mapping[str, PublicKey] = {}
    policies: Mapping[str, Policy] = {}

    def policy_for(self, url: str, signed: bool = False) -> Policy:
        """The policy of the longest scope that matches the store at ``url``.

        ``signed``: the mirror's own configuration says that its packages are signed: then one signature is required,
        by any of the keys where no policy names some.
        """
        places = _places(url)
        matching = [scope for scope in self.policies if any(_matches(scope, place) for place in places)]
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
        compared = _scope(scope)
        if compared in found:
            raise ConfigurationError(
                f"oci:trust:policies has {found[compared].origin} and {scope}, which are the same",
                remedy="keep the one that is to hold",
            )
        found[compared] = _policy(scope, value, keys)
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
    repositories = tuple(_known_repository(name, where) for name in _list(value.get("repositories") or [], where))
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


#: schemes that a scope may have, as it is often copied from a mirror's URL or from another tool
_DIRECTORY_SCHEMES, _PLAIN_SCHEMES = ("oci+file", "file"), ("oci+http", "http")
_SCHEMES = (*_DIRECTORY_SCHEMES, *_PLAIN_SCHEMES, "", "oci", "https", "docker")


def _scope(scope: str) -> str:
    """As it is compared: without a scheme, a slash at the end, a default port, and capitals; Docker Hub as its URLs
    name it. Raises ConfigurationError for what is the place of no cache: such a policy would hold nowhere."""
    where = f"oci:trust:policies:{scope}"
    scheme, _, place = scope.partition("://") if "://" in scope else ("", "", scope)
    if scheme not in _SCHEMES or not place or (scheme in _DIRECTORY_SCHEMES and not place.startswith("/")):
        raise ConfigurationError(f"{where} is the place of no cache", remedy=_HOW_TO_WRITE_SCOPES)
    if place.rstrip("/") == ANYWHERE:
        return ANYWHERE
    try:
        if scheme in _DIRECTORY_SCHEMES:
            location = parse_url(f"oci+file://{place}")
            assert isinstance(location, LayoutDirectory)
            return _directory(location.path)
        if place.startswith("/"):
            return _directory(layout_at(place).path)
        host, name = parse_namespace(place.rstrip("/"))
    except InvalidReference as e:
        raise ConfigurationError(f"{where}: {e.message}", remedy=e.remedy or _HOW_TO_WRITE_SCOPES) from None
    return "/".join(filter(None, [_host(host, ":80" if scheme in _PLAIN_SCHEMES else ":443"), name]))


_HOW_TO_WRITE_SCOPES = 'write HOST, HOST/NAMESPACE, the absolute path of a directory, or "*" alone for everything else'


def _directory(path: str) -> str:
    return "/" + os.path.normpath(path).lstrip("/")


def _places(url: str) -> Collection[str]:
    """What :func:`_scope` makes of ``HOST/NAME`` or ``/DIRECTORY`` of a store, however its URL is written; of a
    snapshot, that of its cache. Raises InvalidReference."""
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        # a directory with a colon in its name is held to what holds for a snapshot that would be named so: who may
        # make directories there does not get around it
        paths = {location.path, location.path.rpartition(":")[0] or location.path}
        return {f(path) for path in paths for f in (_directory, os.path.realpath)}
    hosts = {_host(location.host, ":443")}
    if location.scheme == "http":  # a scope may have the port, and tells no scheme
        bare = _host(location.host, ":80")
        hosts |= {bare, f"{bare}:80"}
    return {f"{host}/{location.name}" for host in hosts}


def _host(host: str, default_port: str) -> str:
    host = host.lower().removesuffix(default_port).removesuffix(".")
    return DOCKER_HUB if host in ("docker.io", "registry-1.docker.io") else host


def _repository(named: str) -> str:
    """``HOST/NAME`` as it is compared; whatever else a signature names, as it is."""
    try:
        host, name = parse_namespace(named)
    except InvalidReference:
        return named
    return f"{_host(host, ':443')}/{name}"


def _known_repository(named: Any, where: str) -> str:
    if named in (ANYWHERE, NO_REPOSITORY):
        return str(named)
    try:
        _, name = parse_namespace(str(named))
    except InvalidReference:
        name = ""
    if not name:
        raise ConfigurationError(
            f"{where}:repositories has {named!r}, which is no repository",
            remedy='write HOST/NAME, or "*" alone for any',
        )
    return _repository(str(named))


def _matches(scope: str, place: str) -> bool:
    if scope == ANYWHERE:
        return True
    scopes = {scope, os.path.realpath(scope)} if scope.startswith("/") else {scope}
    return any(f"{place}/".startswith(scope if scope == "/" else f"{scope}/") for scope in scopes)
