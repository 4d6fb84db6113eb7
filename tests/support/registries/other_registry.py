# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A registry that somebody else wrote, started by a command line: for benchmarks that docker-registry would bound."""

import contextlib
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator

from support.network.private_ca import make_ca
from support.registries.docker_registry import DockerRegistry, free_port


@contextlib.contextmanager
def other_registry(command: str, directory: Path) -> Iterator[DockerRegistry]:
    """In ``command``, ``{address}`` stands for HOST:PORT; with ``{cert}`` and ``{key}`` in it, it is to speak TLS.

    It has no access log that we could read: ``requests()`` is empty.
    """
    address, tls = f"127.0.0.1:{free_port()}", "{cert}" in command
    ca = make_ca(directory) if tls else None
    words = [word.format(address=address, cert=ca and ca.cert, key=ca and ca.key) for word in shlex.split(command)]
    log = directory / "access.log"
    log.touch()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    registry = DockerRegistry(address, "https" if tls else "http", directory, ca and ca.ca, log, process, has_log=False)
    try:
        _wait_until_it_listens(address)
        yield registry
    finally:
        registry.stop()


def _wait_until_it_listens(address: str) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {address}")
