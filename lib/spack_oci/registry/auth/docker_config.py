# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The credential files of Docker, Podman, Skopeo and Buildah: read, and written by ``spack oci login``.

``auths``: ``HOST[/PATH]`` to ``{"auth": base64("user:password"), "identitytoken": ..., "registrytoken": ...}``;
``credHelpers``: ``HOST[/PATH]`` to a helper's name; ``credsStore``: the helper for all other hosts.
(docker/cli, config/configfile; containers-auth.json(5).)
"""

import base64
import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ...errors import ConfigurationError, CredentialsUnavailable, InvalidContent
from ...util.concurrency.locks import locked_if_possible
from ...util.files import atomic_write, storage_errors, sync_directory
from ...util.schemas import validate
from .credentials import Credentials, lookup_keys, matching_key
from .helper import HUB_KEY, Helper, server_url

#: bytes; these files have some hundred
_MAX_SIZE = 1 << 20
#: the variable that holds such a document
AUTH_VARIABLE = "DOCKER_AUTH_CONFIG"


@dataclass(frozen=True)
class DockerConfig:
    """One such file. ``scope``: answer only for this ``HOST[/PATH]``; ``label``: how the file came into play."""

    path: str
    scope: str = ""
    label: str = ""
    env: Optional[Mapping[str, str]] = field(default=None, repr=False, compare=False)

    def find(self, host: str, repository: str) -> Optional[Credentials]:
        if self.scope and matching_key([self.scope], host, repository) is None:
            return None
        try:
            return self._find(host, repository)
        except ConfigurationError as e:
            if self.scope:
                raise
            raise CredentialsUnavailable(e.message, remedy=e.remedy) from None

    def _find(self, host: str, repository: str) -> Optional[Credentials]:
        document = self.load()
        auths = {normalized(key): entry for key, entry in _section(document, "auths").items()}
        helpers = {normalized(key): name for key, name in _section(document, "credHelpers").items()}
        for key in lookup_keys(host, repository):
            found = self._find_key(key, auths, helpers, document.get("credsStore"))
            if found is not None:
                return found
        return None

    def _find_key(
        self, key: str, auths: Mapping[str, Any], helpers: Mapping[str, Any], store: Any
    ) -> Optional[Credentials]:
        helper = _helper_of(key, auths, helpers, store)
        if isinstance(helper, str) and helper:
            try:
                found = Helper(helper, self.env).get(key)
            except ConfigurationError as e:
                e.message += f" (it is named in {self.describe()})"
                raise
            if found is not None:
                return replace(found, origin=f"{helper_name(helper)}, named in {self.describe()}")
        if key in auths:
            return self._from_entry(key, auths[key])
        return None

    def _from_entry(self, key: str, entry: Any) -> Optional[Credentials]:
        entry = entry or {}
        user, password = entry.get("username") or "", entry.get("password") or ""
        if entry.get("auth"):
            try:
                decoded = base64.b64decode("".join(entry["auth"].split()), validate=True).decode("utf-8")
            except ValueError:  # also of the decoder and of base64
                decoded = ""
            user, colon, password = decoded.partition(":")
            if not colon:
                raise ConfigurationError(
                    f"{self.path}: the entry for {key} is not user and password in base64",
                    remedy=f"log in again with `spack oci login {key}`, or remove the entry",
                )
        found = Credentials(
            user,
            password.rstrip("\0"),  # Docker's own decoder accepts padding with NUL
            entry.get("identitytoken") or "",
            entry.get("registrytoken") or "",
            self.describe(),
        )
        return found if found.secrets() else None

    def describe(self) -> str:
        return f"{self.path} ({self.label})" if self.label else self.path

    def load(self) -> Dict[str, Any]:
        """The file's document; empty if there is no file."""
        data = self._read()
        if not data.strip():
            return {}
        try:
            document = json.loads(data) if len(data) <= _MAX_SIZE else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            # the cause would quote the file
            raise ConfigurationError(f"{self.path} is not a JSON object, or too large", remedy="repair it") from None
        try:
            return validate(document, "docker-config", self.path)
        except InvalidContent as e:
            raise ConfigurationError(e.message, remedy="repair it") from None

    def _read(self) -> bytes:
        """The beginning of the file, more than a document may have; nothing if there is no file."""
        try:
            with open(self.path, "rb") as f:
                return f.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            return b""
        except (NotADirectoryError, IsADirectoryError, PermissionError) as e:
            raise ConfigurationError(f"cannot read the credentials in {self.path}: {e.strerror}") from e

    def helper_for(self, key: str) -> Optional[Helper]:
        """The helper in which credentials for ``HOST[/PATH]`` belong, if one is configured."""
        document = self.load()
        helpers = {normalized(k): name for k, name in _section(document, "credHelpers").items()}
        host, _, path = key.partition("/")
        found = next((helpers[k] for k in lookup_keys(host, path) if k in helpers), document.get("credsStore"))
        return Helper(found, self.env) if isinstance(found, str) and found else None

    def store(self, key: str, credentials: Credentials) -> None:
        """Write an entry, mode 0600, keeping all else that is in the file."""
        pair = f"{credentials.username}:{credentials.password}".encode()
        entry = {"auth": base64.b64encode(pair).decode("ascii")}
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        with storage_errors(f"writing credentials to {self.path}"):
            os.makedirs(os.path.dirname(self._target()), exist_ok=True, mode=0o700)
        with self._locked():
            document = self.load()
            document["auths"] = {**_section(document, "auths"), file_key(key): entry}
            self._write(document)

    def refer_to(self, helper: Helper, key: str) -> None:
        """Write down, as Docker does, that the credentials for ``key`` are in a helper, in place of any secret here.

        Helpers are asked for a host anyway, but for a ``HOST/PATH`` only where a file says that they have it.
        """
        with self._locked():
            self._refer_to(helper, key)

    def _refer_to(self, helper: Helper, key: str) -> None:
        document = self.load()
        auths = _section(document, "auths")
        if "/" not in key and not _matching(auths, key):
            return
        for k in _matching(auths, key):
            del auths[k]
        document["auths"] = {**auths, file_key(key): {}}
        if self.helper_for(key) != helper:
            document["credHelpers"] = {**_section(document, "credHelpers"), key: helper.name}
        self._write(document)

    def keys_below(self, key: str) -> List[str]:
        """Keys of paths below ``key``, which have credentials of their own. Raises what :meth:`load` raises."""
        known = map(normalized, _section(self.load(), "auths"))
        return sorted(other for other in known if other.startswith(f"{normalized(key)}/"))

    def erase(self, key: str, helper: Optional[Helper] = None) -> bool:
        """False: there was no secret. ``helper``: what :meth:`refer_to` wrote about this one goes as well."""
        with self._locked():
            return self._erase(key, helper)

    def _erase(self, key: str, helper: Optional[Helper]) -> bool:
        document = self.load()
        auths, helpers = _section(document, "auths"), _section(document, "credHelpers")
        matching = _matching(auths, key)
        secrets = [auths.pop(k) for k in matching]
        references = [k for k in _matching(helpers, key) if helper is not None and helpers[k] == helper.name]
        for k in references:
            del helpers[k]
        if matching or references:
            self._write(document)
        return any(secrets)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Logins at the same time write one after the other. The directory is what is locked: no file is left behind.
        On file systems without locks, this is as good as what other tools do, which have none."""
        try:
            descriptor = os.open(os.path.dirname(self._target()), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # no directory: nothing in it can be lost
            yield
            return
        with locked_if_possible(descriptor):
            yield

    def _target(self) -> str:
        """The file may be a link into a user's dot files."""
        return os.path.realpath(self.path)

    def _write(self, document: Mapping[str, Any]) -> None:
        target = self._target()
        with storage_errors(f"writing credentials to {self.path}"):
            os.makedirs(os.path.dirname(target), exist_ok=True, mode=0o700)
            with atomic_write(target, mode=0o600, exact=True, sync=True) as file:
                file.write(json.dumps(document, indent="\t").encode() + b"\n")
            sync_directory(os.path.dirname(target))


@dataclass(frozen=True)
class DockerConfigVariable(DockerConfig):
    """Such a document in an environment variable, whose name is ``path``: only to be read."""

    def _read(self) -> bytes:
        return (os.environ if self.env is None else self.env).get(self.path, "").encode("utf-8", "surrogateescape")


def default_sources(env: Optional[Mapping[str, str]] = None) -> List[DockerConfig]:
    """The files that other tools use, in their order. Files that do not exist have no answers.

    ``DOCKER_AUTH_CONFIG`` holds such a document: GitLab's jobs have it for the images that they run in, so what
    somebody has logged in to counts for more (docker/cli #6156).
    """
    env = os.environ if env is None else env
    found = []
    if env.get("REGISTRY_AUTH_FILE"):
        found.append(DockerConfig(env["REGISTRY_AUTH_FILE"], label="REGISTRY_AUTH_FILE", env=env))
    # containers-auth.json(5): without XDG_RUNTIME_DIR, /run/containers/UID
    runtime = env.get("XDG_RUNTIME_DIR")
    containers = os.path.join(runtime, "containers") if runtime else f"/run/containers/{os.getuid()}"
    found.append(DockerConfig(os.path.join(containers, "auth.json"), env=env))
    # where Podman on macOS writes, and where a login is put that is to outlive a reboot (podman #7563)
    settings = env.get("XDG_CONFIG_HOME") or os.path.join(_home(env), ".config")
    found.append(DockerConfig(os.path.join(settings, "containers", "auth.json"), env=env))
    found.append(docker_config_file(env))
    if env.get(AUTH_VARIABLE):
        found.append(DockerConfigVariable(AUTH_VARIABLE, env=env))
    return found


def docker_config_file(env: Optional[Mapping[str, str]] = None) -> DockerConfig:
    """``$DOCKER_CONFIG/config.json``, or ``~/.docker/config.json``."""
    env = os.environ if env is None else env
    directory = env.get("DOCKER_CONFIG")
    path = os.path.join(directory or os.path.join(_home(env), ".docker"), "config.json")
    return DockerConfig(path, label="DOCKER_CONFIG" if directory else "", env=env)


def _home(env: Mapping[str, str]) -> str:
    return env.get("HOME") or os.path.expanduser("~")


def normalized(key: str) -> str:
    """``HOST[/PATH]`` of a key as old and new tools write it.

    >>> normalized("https://index.docker.io/v1/"), normalized("ghcr.io/org/"), normalized("https://a.example/v2/")
    ('index.docker.io', 'ghcr.io/org', 'a.example')
    """
    scheme, separator, rest = key.partition("://")
    rest = (rest if separator else key).rstrip("/")
    host, _, path = rest.partition("/")
    return host if path in ("", "v1", "v2") else f"{host}/{path}"


def file_key(key: str) -> str:
    """Under which key Docker looks for a host."""
    return HUB_KEY if server_url(key) == HUB_KEY else key


def helper_name(name: str) -> str:
    return Helper(name).program


def _helper_of(key: str, auths: Mapping[str, Any], helpers: Mapping[str, Any], store: Any) -> Any:
    """Which helper to ask for a key. About a path only where the file names it: many helpers know hosts only."""
    if key in helpers:
        return helpers[key]
    if "/" in key and key not in auths:
        return None
    host, _, path = key.partition("/")
    nearest = matching_key(helpers, host, path) if auths.get(key) == {} else None
    return helpers[nearest] if nearest else store


def _matching(section: Mapping[str, Any], key: str) -> List[str]:
    """The keys of ``section`` that mean the same place as ``key``, however they are written."""
    return [k for k in section if normalized(k) == normalized(file_key(key))]


def _section(document: Mapping[str, Any], name: str) -> Dict[str, Any]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}
