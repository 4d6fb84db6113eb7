# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A real ``docker-registry`` on a free port of the loopback interface, for the time of a ``with`` block."""

import contextlib
import http.client
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import pytest
from support.network.private_ca import make_ca

USER, PASSWORD = "alice", "correct-horse-battery"
#: seconds; a registry that takes longer will never do it
PATIENCE = 120


@dataclass
class DockerRegistry:
    """``host``: ``ADDRESS:PORT``. ``ca``: the CA's file when it speaks TLS. ``access_log``: one line a request."""

    host: str
    scheme: str
    directory: Path
    ca: Optional[str]
    access_log: Path
    process: subprocess.Popen
    has_log: bool = True

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def mirror_url(self, name: str) -> str:
        return f"oci{'+http' if self.scheme == 'http' else ''}://{self.host}/{name}"

    def requests(self) -> List[str]:
        """``METHOD PATH STATUS`` of each request so far, in the order in which they were finished."""
        found = []
        for line in self.log_lines():
            # Apache's combined format: ... "GET /v2/ HTTP/1.1" 200 ...
            before, quote, rest = line.partition('"')
            request, _, after = rest.partition('"')
            if quote and request.count(" ") == 2:
                method, path, _ = request.split(" ")
                found.append(f"{method} {path} {after.split()[0]}")
        return found

    def log_lines(self) -> List[str]:
        """Those of the access log, with all that was answered until now: the registry writes a line after its answer.

        A request of ours is waited for, whose line comes after those; it is not among the lines.
        """
        marker = f"/v2/?marker={secrets.token_hex(8)}"
        lines: List[str] = []
        if self.has_log and self._is_asked(marker):
            deadline = time.monotonic() + PATIENCE
            while not any(marker in line for line in lines) and time.monotonic() < deadline:
                lines = self.access_log.read_text(encoding="utf-8", errors="replace").splitlines()
                time.sleep(0.002)
        lines = self.access_log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if "/v2/?marker=" not in line]

    def _is_asked(self, path: str) -> bool:
        """False: it has been stopped."""
        kind = http.client.HTTPConnection
        context = {}
        if self.scheme == "https":
            kind = http.client.HTTPSConnection
            context = {"context": ssl.create_default_context(cafile=self.ca)}
        connection = kind(self.host, timeout=PATIENCE, **context)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
            return True
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def binary() -> str:
    """The program, or a skipped test, which is a failed one where SPACK_OCI_REQUIRE_REGISTRY=1."""
    found = shutil.which("docker-registry") or shutil.which("registry")
    if found:
        return found
    pytest.skip("needs docker-registry")


def free_port() -> int:
    """One that the system gives to nobody who asks for any port, be it only to connect: it is free until it is used,
    and while a registry that has been stopped is not yet started again."""
    while True:
        port = secrets.choice(range(10_000, _first_ephemeral_port()))
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def _first_ephemeral_port() -> int:
    with contextlib.suppress(OSError, ValueError):
        return max(12_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    return 32_768


def _yaml(value: bool) -> str:
    return str(value).lower()


@contextlib.contextmanager
def docker_registry(
    auth: Optional[str] = None,
    tls: bool = False,
    users: Optional[Dict[str, str]] = None,
    token: Optional[Dict[str, str]] = None,
    port: int = 0,
    directory: Optional[Path] = None,
    fast: bool = False,
    access_log: bool = True,
    delete: bool = True,
    address: str = "127.0.0.1",
) -> Iterator[DockerRegistry]:
    """``auth``: None, ``"htpasswd"`` (``users``: name to password) or ``"token"`` (``token``: realm, service, issuer
    and rootcertbundle, see ``token_server``). Pass ``port`` and ``directory`` to start a stopped one again with its
    content. ``fast``: with a lazy garbage collector, for measurements of clients: this registry allocates 4 MiB for
    each GET of a blob, spends half of its time on collecting them, and would be what is measured. Without an
    ``access_log``, ``requests()`` is empty. ``delete``: whether it deletes manifests.
    ``address``: of the loopback interface, in brackets if it is one of IPv6.
    """
    program = binary()
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="docker-registry-")))
        host = f"{address}:{port or free_port()}"
        ca = make_ca(directory) if tls else None
        config = directory / "config.yml"
        lines = [
            "version: 0.1",
            f"log: {{level: error, accesslog: {{disabled: {_yaml(not access_log)}}}, formatter: text}}",
            f"storage: {{filesystem: {{rootdirectory: {directory / 'data'}}}, delete: {{enabled: {_yaml(delete)}}}}}",
            f"http: {{addr: '{host}'" + (f", tls: {{certificate: {ca.cert}, key: {ca.key}}}" if ca else "") + "}",
        ]
        if auth == "htpasswd":
            lines.append(
                f"auth: {{htpasswd: {{realm: test, path: {_htpasswd(directory, users or {USER: PASSWORD})}}}}}"
            )
        elif auth == "token":
            fields = ", ".join(f"{k}: '{v}'" for k, v in (token or {}).items())
            lines.append(f"auth: {{token: {{{fields}}}}}")
        config.write_text("\n".join(lines) + "\n")
        log = directory / "access.log"
        with log.open("ab") as out, (directory / "error.log").open("ab") as err:
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "OTEL_"))}
            if fast:
                environment["GOGC"] = "1000"
            process = subprocess.Popen([program, "serve", str(config)], stdout=out, stderr=err, env=environment)
        registry = DockerRegistry(host, "https" if tls else "http", directory, ca and ca.ca, log, process, access_log)
        try:
            _wait_until_it_answers(registry)
            yield registry
        finally:
            registry.stop()


def _htpasswd(directory: Path, users: Dict[str, str]) -> Path:
    if not shutil.which("htpasswd"):
        pytest.skip("needs htpasswd (Debian: apache2-utils)")
    path = directory / "htpasswd"
    lines = [
        subprocess.run(
            ["htpasswd", "-inBC", "5", name], input=password, capture_output=True, text=True, check=True
        ).stdout.strip()
        for name, password in users.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _wait_until_it_answers(registry: DockerRegistry) -> None:
    host, port = registry.host.rsplit(":", 1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if registry.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"docker-registry did not start:\n{(registry.directory / 'error.log').read_text()}")
