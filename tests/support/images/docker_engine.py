# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A real Docker engine with a storage of its own, for the time of a ``with`` block.

It is the ``dockerd`` of PATH, so that another version is tested by putting its directory in front of PATH.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator, Optional, Sequence, Tuple

import pytest

#: seconds that a daemon may take to start, and to stop
_PATIENCE = 60
_CONFIGURATION = {
    # containers have no network, and the machine's firewall is not ours to change
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20000, "Soft": 20000}},
}


class Docker:
    """``docker`` for one daemon. Its default registries are those of loopback: plain http is allowed there."""

    def __init__(self, socket: str) -> None:
        self._base = ["docker", "--host", f"unix://{socket}"]

    def __call__(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([*self._base, *arguments], capture_output=True, text=True, timeout=600)
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")
        return done

    @property
    def version(self) -> Tuple[int, int]:
        """Of the daemon, e.g. (20, 10)."""
        match = re.match(r"(\d+)\.(\d+)", self("version", "--format", "{{.Server.Version}}").stdout)
        assert match
        return int(match.group(1)), int(match.group(2))

    def pull(self, image: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self("pull", "--quiet", image, check=check)

    def run(self, image: str, *command: str, check: bool = True, options: Sequence[str] = ()) -> str:
        """What the container prints, standard output and errors."""
        done = self("run", "--rm", "--network=none", *options, image, *command, check=check)
        return done.stdout + done.stderr


@contextlib.contextmanager
def docker_engine(directory: Path) -> Iterator[Docker]:
    """A Docker engine that works here, or a skipped test. ``directory`` is on a disk with room for images."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("docker"):
        pytest.skip("needs root and a Docker engine (Debian: apt-get install docker.io)")
    directory.mkdir(parents=True, exist_ok=True)
    failures = []
    # overlay2 is what everybody has; vfs is slow, but works where overlay file systems cannot be stacked
    for driver in ("overlay2", "vfs"):
        with _daemon(directory / driver, driver) as (docker, log):
            if docker is not None:
                yield docker
                return
            failures.append(f"{driver}: {log.read_text(errors='replace')[-300:]}")
    pytest.skip(f"needs a dockerd that works: {'; '.join(failures)}")


@contextlib.contextmanager
def _daemon(directory: Path, driver: str) -> Iterator[Tuple[Optional[Docker], Path]]:
    directory.mkdir()
    configuration, log = directory / "daemon.json", directory / "log"
    configuration.write_text(json.dumps({**_CONFIGURATION, "storage-driver": driver}))
    # a socket's path has at most 107 characters
    with tempfile.TemporaryDirectory(prefix="docker-") as short, open(log, "wb") as out:
        socket = f"{short}/socket"
        command = ["dockerd", "--config-file", str(configuration), "--data-root", str(directory / "data")]
        command += ["--exec-root", f"{short}/exec", "--pidfile", f"{short}/pid", "--host", f"unix://{socket}"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield (Docker(socket) if _answers(process, socket) else None), log
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen, socket: str) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if os.path.exists(socket) and Docker(socket)("info", check=False).returncode == 0:
            return True
        time.sleep(0.2)
    return False
