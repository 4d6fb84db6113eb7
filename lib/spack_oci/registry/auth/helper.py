# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Credential helpers, called as Docker calls them: ``docker-credential-NAME get|store|erase``, everything on stdin."""

import json
import os
import shutil
from dataclasses import dataclass, field
from typing import Mapping, Optional

from ...errors import ConfigurationError
from .credentials import HUB_HOSTS, Credentials, matching_key

#: seconds; a helper may ask the user to unlock a key chain
TIMEOUT = 60.0
#: the user name with which helpers mark an identity token
TOKEN_USER = "<token>"
HUB_KEY = "https://index.docker.io/v1/"
#: what a helper prints when it has nothing (docker-credential-helpers, credentials/error.go)
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True)
class Helper:
    """``name``: the part after ``docker-credential-``, or all of it, or a path. ``env``: None means this process's."""

    name: str
    env: Optional[Mapping[str, str]] = field(default=None, repr=False, compare=False)

    @property
    def program(self) -> str:
        whole = os.sep in self.name or self.name.startswith("docker-credential-")
        return self.name if whole else f"docker-credential-{self.name}"

    def get(self, key: str) -> Optional[Credentials]:
        """The credentials for a host, or None if the helper has none for it."""
        status, said = self._run("get", server_url(key))
        if status != 0:
            if _NOT_FOUND in said.lower():
                return None
            raise self._failed("get", status)
        try:
            document = json.loads(said)
            user, secret = document["Username"], document["Secret"]
            if not (isinstance(user, str) and isinstance(secret, str)):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            # the cause would show what the helper said, secret and all
            raise ConfigurationError(f"the credential helper {self.program} gave no credentials for {key}") from None
        if not secret:
            return None
        if user == TOKEN_USER:
            return Credentials(identity_token=secret, origin=self.program)
        return Credentials(user, secret, origin=self.program)

    def store(self, key: str, credentials: Credentials) -> None:
        user = TOKEN_USER if credentials.identity_token else credentials.username
        secret = credentials.identity_token or credentials.password
        document = {"ServerURL": server_url(key), "Username": user, "Secret": secret}
        status, _ = self._run("store", json.dumps(document))
        if status != 0:
            raise self._failed("store", status)

    def erase(self, key: str) -> bool:
        """False: it had none. That is asked before: ``secretservice`` erases nothing with success, ``pass`` fails."""
        try:
            if self.get(key) is None:
                return False
        except ConfigurationError:
            pass  # what it cannot read may be erased all the same
        status, said = self._run("erase", server_url(key))
        if status != 0 and _NOT_FOUND not in said.lower():
            raise self._failed("erase", status)
        return status == 0

    def _run(self, verb: str, text: str) -> "tuple[int, str]":
        import subprocess  # with its modules 3 ms, which those without a helper need not pay

        environment = dict(os.environ if self.env is None else self.env)
        program = shutil.which(self.program, path=environment.get("PATH"))
        if program is None:
            raise ConfigurationError(
                f"the credential helper {self.program} is not on PATH",
                remedy="install it, or remove it from the configuration",
            )
        try:
            done = subprocess.run(
                [program, verb],
                input=text.encode("utf-8"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"the credential helper {self.program} took longer than {TIMEOUT:.0f} s") from None
        except OSError as e:
            raise ConfigurationError(f"cannot run the credential helper {program}: {e.strerror}") from e
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _failed(self, verb: str, status: int) -> ConfigurationError:
        return ConfigurationError(
            f"the credential helper `{self.program} {verb}` failed with exit code {status}",
            remedy="run it by hand to see what it says",  # its output may hold a secret, so it is not shown here
        )


@dataclass(frozen=True)
class HelperCredentials:
    """The helper that the configuration names for ``scope`` (``HOST[/PATH]``)."""

    scope: str
    helper: Helper
    origin: str = "configuration"

    def find(self, host: str, repository: str) -> Optional[Credentials]:
        if matching_key([self.scope], host, repository) is None:
            return None
        return self.helper.get(self.scope.partition("/")[0])

    def describe(self) -> str:
        return f"{self.origin} ({self.helper.program})"


def server_url(key: str) -> str:
    """What the helper knows a registry by: the host, but Docker Hub by the address of its first API."""
    return HUB_KEY if key in HUB_HOSTS else key
