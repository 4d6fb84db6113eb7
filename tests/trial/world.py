# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the tutorial tells of: a registry with passwords and tokens, and machines whose home directories are empty.

Its commands are typed as they stand there. ``registry.example.org`` is reached through an HTTPS proxy in the machines'
environment, which connects that name to a docker-registry of this machine; its certificate has the name, and is that of
an authority which the machines trust. So nothing in the commands is replaced. In what they print, only directories are:
the home of a machine is ``/home/NAME`` in the document.

The packages are those which the tests of Spack build once a version; ``spack install`` on the machine ``build`` finds
them installed.
"""

import contextlib
import os
import shlex
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest
from spack_oci.reference import parse_url
from spack_oci.registry.store import open_repository
from support.images.containers import podman, push_base, shell_root_file_system
from support.network.private_ca import make_ca
from support.registries.docker_registry import DockerRegistry, docker_registry
from support.registries.token_server import token_server
from support.spacks.spack_instance import SpackInstance

REGISTRY, TOKENS = "registry.example.org", "auth.example.org"

#: machine -> who works there
PEOPLE = {"build": "alice", "laptop": "bob", "runner": "ci", "desktop": "carol"}

#: name: (password, what the token server lets them do)
USERS = {
    "alice": ("alice-token", "pull,push,delete"),
    "bob": ("bob-token", "pull"),
    "carol": ("carol-token", "pull"),
    "ci": ("ci-token", "pull,push"),
}


class Machine:
    """A shell with a home directory, variables and a working directory that stay from command to command."""

    def __init__(self, name: str, directory: Path, environment: Dict[str, str], names: Dict[str, str]) -> None:
        """``names``: what stands in the document for a directory here."""
        self._state = directory / "state"
        self._working = directory / "working"
        self.home = Path(environment["HOME"])
        self.programs = Path(environment["PATH"].partition(":")[0])
        self._environment = environment
        self._names = {**names, str(self.home): f"/home/{PEOPLE[name]}"}
        self._state.write_text("")
        self._working.write_text(f"{self.home}\n")

    def run(self, command: str, timeout: float = 120) -> Tuple[int, List[str]]:
        """Exit code and lines, standard output and errors together."""
        state, working = shlex.quote(str(self._state)), shlex.quote(str(self._working))
        script = (
            f'. {state}; cd "$(cat {working})"\n{{\n{command}\n}} 2>&1\n'
            f"code=$?; export -p > {state}; pwd > {working}; exit $code\n"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            input="",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            timeout=timeout,
        )
        text = done.stdout
        for path, name in sorted(self._names.items(), key=lambda item: -len(item[0])):
            text = text.replace(path, name)
        return done.returncode, [line.rstrip() for line in text.splitlines()]

    def write(self, path: str, content: str) -> None:
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


@contextlib.contextmanager
def world(directory: Path, built: SpackInstance, python: Path) -> Iterator[Dict[str, Machine]]:
    """``built``: the Spack whose packages are there; ``python``: with this package. Yields name -> machine."""
    with contextlib.ExitStack() as stack:
        authority = make_ca(directory, (REGISTRY, TOKENS))
        tokens = stack.enter_context(token_server(directory, users=USERS))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority.cert, authority.key)
        behind_tls = stack.enter_context(_tls_before(tokens.url.rpartition("/")[2], tls))
        options = {**tokens.registry_options(), "realm": f"https://{TOKENS}/token"}
        with docker_registry(directory=directory) as registry:  # before it asks for tokens
            _push_a_base_image(registry)
        registry = stack.enter_context(docker_registry(auth="token", token=options, tls=True, directory=directory))
        proxy = stack.enter_context(_proxy({f"{REGISTRY}:443": registry.host, f"{TOKENS}:443": behind_tls}))
        environment = {
            "https_proxy": f"http://{proxy}",
            "HTTPS_PROXY": f"http://{proxy}",
            "no_proxy": "127.0.0.1,localhost",
            "SSL_CERT_FILE": authority.ca,
            "REQUESTS_CA_BUNDLE": authority.ca,
            "PYTHONUNBUFFERED": "1",  # standard output and errors in the order in which they were written
            "LC_ALL": "C.UTF-8",
        }
        machines = {name: _machine(name, directory / name, built, python, environment) for name in PEOPLE}
        with contextlib.suppress(pytest.skip.Exception):  # commands of a podman that is missing are not executed
            stack.enter_context(podman(directory / "podman")).write_program(directory / "build" / "bin" / "podman")
        yield machines


def _machine(name: str, directory: Path, built: SpackInstance, python: Path, environment: Dict[str, str]) -> Machine:
    spack_of_built = name == "build"
    home = directory / "home"
    instance = built.sibling(
        directory,
        python=python,
        environment=environment,
        **({} if spack_of_built else {"tree": directory / "opt", "padded_length": 0}),
    )
    programs = directory / "bin"
    programs.mkdir()
    if name != "desktop":
        _program(programs / "spack", instance.argv())
    _program(programs / "spack-oci", [str(python.parent / "spack-oci")])
    (programs / "scp").write_text(f'#!/bin/sh\nexec cp "{directory.parent}/${{1%%:*}}/home/${{1#*:}}" "$2"\n')
    (programs / "scp").chmod(0o755)
    variables = {**instance.env(), "HOME": str(home), "XDG_RUNTIME_DIR": str(directory), "USER": PEOPLE[name]}
    variables.update({f"{user.upper()}_TOKEN": token for user, (token, _) in USERS.items()})
    variables["ALICES_KEY_PASSWORD"] = "a password of a key"
    variables["PATH"] = f"{programs}:{variables['PATH']}"
    spack = f"/home/{PEOPLE[name]}/spack"
    names = {
        str(instance.external): "/usr",
        str(python): "/usr/bin/python3",
        f"@{socket.gethostname()}": f"@{name}",
        f"{instance.tree}/[padded-to-{instance.padded_length}-chars]": f"{spack}/opt/spack",
        _padded(instance): f"{spack}/opt/spack",
        str(instance.user_cache): f"/home/{PEOPLE[name]}/.spack",
        str(instance.scope): f"/home/{PEOPLE[name]}/.spack",
        str(instance.home / "environments"): f"{spack}/var/spack/environments",
        str(instance.checkout): spack,
    }
    return Machine(name, directory, variables, names)


def _padded(instance: SpackInstance) -> str:
    """The install tree as paths of packages have it."""
    if not instance.padded_length:
        return str(instance.tree)
    found = [str(path) for path in instance.tree.glob("__spack*")]
    root = found[0] if found else str(instance.tree)
    while inner := [entry for entry in os.listdir(root) if entry.startswith("__spack")]:
        root = f"{root}/{inner[0]}"
    return root


def _program(path: Path, argv: List[str]) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    path.chmod(0o755)


def _push_a_base_image(registry: DockerRegistry) -> None:
    """``library/debian:12``: this machine's shell and C library stand for it."""
    with open_repository(parse_url(registry.mirror_url("library/debian"))) as store:
        push_base(store, "12", shell_root_file_system())


# -- the network ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _listening(serve) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_quietly, args=(serve, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _quietly(serve, client: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        serve(client)


def _proxy(targets: Dict[str, str]):
    """An HTTPS proxy that knows these ``HOST:PORT`` -> ``HOST:PORT``."""

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return
            head += data
        target = targets.get(head.split()[1].decode())
        if not target:
            client.sendall(b"HTTP/1.1 502 no such host\r\nContent-Length: 0\r\n\r\n")
            return
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        _join(client, _connect(target))

    return _listening(serve)


def _tls_before(target: str, context: ssl.SSLContext):
    """TLS for a server that speaks plain http."""
    return _listening(lambda client: _join(context.wrap_socket(client, server_side=True), _connect(target)))


def _connect(target: str) -> socket.socket:
    host, _, port = target.partition(":")
    return socket.create_connection((host, int(port)))


def _join(client: socket.socket, server: socket.socket) -> None:
    def forward(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    with client, server:
        back = threading.Thread(target=forward, args=(server, client), daemon=True)
        back.start()
        forward(client, server)
        back.join()
