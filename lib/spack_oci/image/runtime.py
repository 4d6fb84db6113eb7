# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How an image is run: entrypoint, command, environment, user, ports, labels; and what it says about itself.

The same settings come from the command line (``--entrypoint``, ...), from ``oci:image`` in the configuration and so
from a ``spack.yaml``; what is more specific wins, lists of variables, labels, ports and volumes add up.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import ConfigurationError, ImageError
from .manifest import Base, environment_entries, inherited_settings, parse_environment

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?\Z")
#: names of variables that an image must not carry (DESIGN, "Secrets stay secret")
_SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL)S?\Z", re.IGNORECASE)

Words = Optional[Tuple[str, ...]]


@dataclass(frozen=True)
class RuntimeSettings:
    """What a user sets; None or empty: as the base image has it. Build it with :meth:`create`, which checks."""

    entrypoint: Words = None
    cmd: Words = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    user: Optional[str] = None
    workdir: Optional[str] = None
    ports: Tuple[str, ...] = ()
    volumes: Tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        *,
        entrypoint: Union[str, Sequence[str], None] = None,
        cmd: Union[str, Sequence[str], None] = None,
        env: Union[Sequence[str], Mapping[str, Any], None] = None,
        labels: Union[Sequence[str], Mapping[str, Any], None] = None,
        user: Union[str, int, None] = None,
        workdir: Optional[str] = None,
        ports: Sequence[Union[str, int]] = (),
        volumes: Sequence[str] = (),
    ) -> "RuntimeSettings":
        """From words of the command line or values of the configuration.

        ``entrypoint``, ``cmd``: a list, a JSON list, or words as a shell splits them. ``env``, ``labels``:
        ``["NAME=VALUE"]`` or ``{name: value}``. Raises :class:`ConfigurationError` that names the wrong value.
        """
        return cls(
            _words("entrypoint", entrypoint),
            _words("cmd", cmd),
            _variables(env or {}),
            _pairs("label", labels or {}),
            _user(user),
            _absolute("working directory", workdir) if workdir else None,
            tuple(_port(port) for port in ports),
            tuple(_absolute("volume", volume) for volume in volumes),
        )

    def over(self, other: "RuntimeSettings") -> "RuntimeSettings":
        """These settings, and those of ``other`` (less specific) where these say nothing."""
        return RuntimeSettings(
            other.entrypoint if self.entrypoint is None else self.entrypoint,
            # a command belongs to the entrypoint that it was written for
            other.cmd if self.cmd is None and self.entrypoint is None else self.cmd,
            {**other.env, **self.env},
            {**other.labels, **self.labels},
            other.user if self.user is None else self.user,
            other.workdir if self.workdir is None else self.workdir,
            tuple(dict.fromkeys(other.ports + self.ports)),
            tuple(dict.fromkeys(other.volumes + self.volumes)),
        )


def _words(label: str, value: Union[str, Sequence[str], None]) -> Words:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else shlex.split(value)
        except ValueError as e:
            raise ConfigurationError(
                f"cannot read the {label} {value!r}: {e}",
                remedy='write words, or a JSON list such as ["/bin/sh", "-c"]',
            ) from e
    words = tuple(value)
    if not all(isinstance(word, str) for word in words):
        raise ConfigurationError(f"the {label} {value!r} is not a list of strings")
    return words


def _pairs(label: str, value: Union[Sequence[str], Mapping[str, Any]]) -> Dict[str, str]:
    if isinstance(value, Mapping):
        return {str(key): _text(item) for key, item in value.items()}
    result = {}
    for entry in value:
        name, equals, text = entry.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"not a {label}: {entry!r}", remedy="write NAME=VALUE")
        result[name] = text
    return result


def _text(value: Any) -> str:
    """YAML reads ``yes`` and ``1`` as what they look like."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variables(value: Union[Sequence[str], Mapping[str, Any]]) -> Dict[str, str]:
    pairs = _pairs("variable", value)
    for name in pairs:
        if not _VARIABLE.match(name):
            raise ConfigurationError(f"not the name of an environment variable: {name!r}")
        if _SECRET.search(name):
            raise ConfigurationError(
                f"{name} looks like a secret, and whoever has the image can read its environment",
                remedy="give it to the container when it is run, with `podman run --env` or a secret",
            )
    return pairs


def _user(value: Union[str, int, None]) -> Optional[str]:
    if value is None:
        return None
    user = str(value)
    if not re.match(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?\Z", user):
        raise ConfigurationError(f"not a user: {user!r}", remedy="write USER, UID, USER:GROUP or UID:GID")
    return user


def _absolute(label: str, path: str) -> str:
    if not path.startswith("/"):
        raise ConfigurationError(f"the {label} {path!r} is not absolute", remedy="it is a path in the container")
    return path


def _port(value: Union[str, int]) -> str:
    match = _PORT.match(str(value))
    if not match or not 0 < int(match.group(1)) < 65536:
        raise ConfigurationError(f"not a port: {value!r}", remedy="write NUMBER, NUMBER/tcp or NUMBER/udp")
    return f"{int(match.group(1))}/{match.group(2) or 'tcp'}"


def image_settings(
    base: Base,
    environment: Callable[[Dict[str, str]], Dict[str, str]],
    runtime: RuntimeSettings,
    *,
    path_first: Sequence[str] = (),
    labels: Optional[Mapping[str, str]] = None,
) -> Dict[str, Any]:
    """The ``config`` of an image's config: the base's, with the packages' environment and the user's settings.

    ``path_first``: directories that go in front of PATH (a view's). ``labels``: what the image says about itself, below
    the user's own labels.
    """
    settings = inherited_settings(base)
    start = parse_environment(base.settings.get("Env") or ())
    variables = environment(dict(start))
    # Spack puts the roots in front twice; with hundreds of packages, PATH nears what the kernel takes (128 KiB)
    variables["PATH"] = ":".join(dict.fromkeys((*path_first, *variables["PATH"].split(":"))))
    settings["Env"] = environment_entries({**variables, **runtime.env}, start)
    settings["Labels"] = dict(sorted({**settings["Labels"], **(labels or {}), **runtime.labels}.items()))
    if runtime.entrypoint is not None:
        settings["Entrypoint"] = list(runtime.entrypoint)
        # the base's command is not meant for another entrypoint (as with Docker's --entrypoint)
        settings.pop("Cmd", None)
    if runtime.cmd is not None:
        settings["Cmd"] = list(runtime.cmd)
    if runtime.user is not None:
        settings["User"] = runtime.user
    if runtime.workdir is not None:
        settings["WorkingDir"] = runtime.workdir
    for key, names in (("ExposedPorts", runtime.ports), ("Volumes", runtime.volumes)):
        if names:
            settings[key] = {**(settings.get(key) or {}), **{name: {} for name in names}}
    return settings


@dataclass(frozen=True)
class Conflict:
    """Two specs of an image that set one variable to different things."""

    variable: str
    #: (label of the spec, its value)
    values: Sequence[Tuple[str, str]]

    def __str__(self) -> str:
        return f"{self.variable} ({', '.join(f'{label}: {value}' for label, value in self.values)})"


def check_conflicts(
    start: Mapping[str, str],
    separate: Mapping[str, Mapping[str, str]],
    together: Mapping[str, str],
    settled: Mapping[str, str],
) -> None:
    """Raise :class:`ImageError` if a spec of an image does not get a variable as it sets it.

    ``start``: the base's environment; ``separate``: spec's label -> its environment alone; ``together``: that of all;
    ``settled``: variables that the user sets. Lists of paths add up, and are no conflict as long as no entry is lost.
    """
    conflicts: List[Conflict] = []
    names = sorted({name for environment in separate.values() for name in environment} - settled.keys())
    for name in names:
        wanted = [
            (label, environment[name])
            for label, environment in sorted(separate.items())
            if name in environment and environment[name] != start.get(name)
        ]
        there = set(together.get(name, "").split(":"))
        if any(not set(value.split(":")) <= there for _, value in wanted):
            conflicts.append(Conflict(name, wanted))
    if conflicts:
        first = conflicts[0].variable
        raise ImageError(
            f"the specs set environment variables to different values: {'; '.join(map(str, conflicts))}",
            remedy=f"decide with --env, e.g. --env {first}={conflicts[0].values[0][1]}, or make an image of each",
        )
