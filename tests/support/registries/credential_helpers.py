# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Credential helpers of docker/docker-credential-helpers, as distributions package them, with key chains of their own.

Each context yields the environment in which ``docker-credential-NAME`` works; it holds nothing of the user's.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator

import pytest

#: seconds for a service to come up
STARTED = 60

#: Without a directory of services: a request that comes before the key chain is up must not start a second, locked one.
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@contextlib.contextmanager
def pass_helper() -> Iterator[Dict[str, str]]:
    """``docker-credential-pass``: a password store, encrypted with a key that was just made."""
    _need("docker-credential-pass", "pass", "gpg", "gpgconf")
    with _home() as home:
        gnupg = home / "gnupg"
        gnupg.mkdir(mode=0o700)
        env = _environment(home, GNUPGHOME=str(gnupg), PASSWORD_STORE_DIR=str(home / "store"))
        key = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "helper@test.example"]
        try:
            _run(env, *key, "default", "default", "never")
            _run(env, "pass", "init", "helper@test.example")
            yield env
        finally:
            _run(env, "gpgconf", "--kill", "all")


@contextlib.contextmanager
def secretservice_helper() -> Iterator[Dict[str, str]]:
    """``docker-credential-secretservice``: GNOME's key chain, unlocked, on a message bus of its own."""
    _need("docker-credential-secretservice", "dbus-daemon", "gnome-keyring-daemon")
    with _home() as home, contextlib.ExitStack() as stack:
        env = _environment(home, XDG_RUNTIME_DIR=str(home))
        configuration = home / "bus.conf"
        configuration.write_text(BUS.format(path=home / "bus"))
        bus = ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile"]
        stack.enter_context(_service(env, home, *bus))
        env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={home}/bus"
        _wait_for(lambda: (home / "bus").exists())
        keyring = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        stack.enter_context(_service(env, home, *keyring, input="a-password\n"))
        # it answers before the key chain is unlocked
        secret = '{"ServerURL": "https://127.0.0.1:1", "Username": "nobody", "Secret": "nothing"}'
        _wait_for(lambda: _works(env, "docker-credential-secretservice", "store", input=secret))
        _wait_for(lambda: _works(env, "docker-credential-secretservice", "erase", input="https://127.0.0.1:1"))
        yield env


HELPERS = {"pass": pass_helper, "secretservice": secretservice_helper}


def _need(*programs: str) -> None:
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: golang-docker-credential-helpers, pass, gnome-keyring)")


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    # agents listen in sockets below it, whose paths have 107 characters at most
    directory = tempfile.mkdtemp(prefix="helper-", dir="/tmp")
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # they may remove their sockets at the same time


def _environment(home: Path, **more: str) -> Dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **more}


def _run(env: Dict[str, str], *command: str) -> None:
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _works(env: Dict[str, str], *command: str, input: str) -> bool:
    return subprocess.run(command, env=env, input=input, capture_output=True, text=True).returncode == 0


@contextlib.contextmanager
def _service(env: Dict[str, str], home: Path, *command: str, input: str = "") -> Iterator[None]:
    with (home / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
    try:
        process.stdin.write(input)
        process.stdin.close()
        yield
    finally:
        process.terminate()
        process.wait(STARTED)


def _wait_for(condition) -> None:
    deadline = time.monotonic() + STARTED
    while not condition():
        assert time.monotonic() < deadline, "a service of the key chain did not start"
        time.sleep(0.05)
