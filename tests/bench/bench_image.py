# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push --base-image --tag` against `spack buildcache push --base-image --tag` of the same Spack.

    python tests/bench/bench_image.py [--spack SPACK_ROOT] [--base LAYOUT:TAG] [--work DIR] [--rounds N] [SPEC ...]

``SPACK_ROOT`` has the packages installed; nothing is written to its install tree. Without it, 300 small packages are
made. SPEC: roots of the image; default: everything that is installed. The base image (default: a shell) is copied into
the registry first, so that it lives where the packages go. Times are medians, straight to the registry (TLS, loopback);
bytes are those of one more run through a proxy that counts them. What a client pulls after an update is measured by
``bench_image_update.py``.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.reference import parse_url  # noqa: E402
from spack_oci.registry.settings import RegistrySettings  # noqa: E402
from spack_oci.registry.store import open_repository  # noqa: E402
from support.images.containers import push_base, shell_root_file_system  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402

#: prints the installed packages that no other one needs
ROOTS = (
    "import spack.store; found = spack.store.STORE.db.query(); "
    "used = {d.dag_hash() for s in found for d in s.dependencies()}; "
    "print(*('/' + s.dag_hash() for s in found if s.dag_hash() not in used))"
)


class CountingProxy:
    """Passes TCP on to ``target`` and counts: ``sent`` to it, ``received`` from it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.sent = self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client = self._server.accept()[0]
            server = socket.create_connection(self._target)
            for source, sink, name in ((client, server, "sent"), (server, client, "received")):
                threading.Thread(target=self._pump, args=(source, sink, name), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        try:
            for data in iter(lambda: source.recv(1 << 18), b""):
                setattr(self, name, getattr(self, name) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()


class Run(NamedTuple):
    seconds: float
    sent: int = 0
    received: int = 0


class Bench:
    def __init__(self, args: argparse.Namespace, work: Path, registry: DockerRegistry) -> None:
        self.spack = spack_root(args.spack)
        self.pythons = {ours: str(spack_instance.python(ours)) for ours in (False, True)}
        self.work = work
        self.registry = registry
        self.proxy = CountingProxy(registry.host)
        self.number = 0
        self.environment = dict(os.environ, SPACK_USER_CACHE_PATH=str(work / "cache"), SSL_CERT_FILE=str(registry.ca))
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.specs: List[str] = args.specs or self.output(False, "python", "-c", ROOTS).split()

    def run(self, ours: bool, *arguments: str) -> float:
        started = time.perf_counter()
        self.output(ours, *arguments)
        return time.perf_counter() - started

    def output(self, ours: bool, *arguments: str) -> str:
        command = [str(self.spack / "bin" / "spack")]
        for name in ("misc_cache", "source_cache", "build_stage"):
            command += ["-c", f"config:{name}:{self.work / name}"]
        environment = {**self.environment, "SPACK_PYTHON": self.pythons[ours]}
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments[:4])} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def push(self, ours: bool, repository: str, host: str, *options: str) -> float:
        words = ["oci", "push"] if ours else ["buildcache", "push", "--unsigned"]
        base = f"{host}/library/base:1"
        options = (*options, "--without-build-dependencies", "--base-image", base, "--tag", "env")
        return self.run(ours, *words, *options, f"oci://{host}/{repository}", *self.specs)

    def new_repository(self) -> str:
        self.number += 1
        return f"bench/image{self.number}"

    def forget(self) -> None:
        """What either keeps of blobs between runs."""
        subprocess.run(["rm", "-rf", self.work / "cache" / "oci", self.work / "source_cache"], check=True)

    def counted(self, ours: bool, repository: str, *options: str) -> Run:
        before = self.proxy.sent, self.proxy.received
        self.push(ours, repository, self.proxy.host, *options)
        return Run(0, self.proxy.sent - before[0], self.proxy.received - before[1])

    def measure(self, ours: bool, rounds: int) -> Dict[str, Run]:
        """cold: nothing is there; again: everything is; new base: --force, as after an update of the base image."""
        times: Dict[str, List[float]] = {"cold": [], "again": [], "new base": []}
        for _ in range(rounds):
            self.forget()
            repository = self.new_repository()
            for name, options in (("cold", ()), ("again", ()), ("new base", ("--force",))):
                times[name].append(self.push(ours, repository, self.registry.host, *options))
        self.forget()
        repository = self.new_repository()
        bytes_ = {name: self.counted(ours, repository, *o) for name, o in (("cold", ()), ("again", ()))}
        bytes_["new base"] = self.counted(ours, repository, "--force")
        self.last = repository
        return {name: bytes_[name]._replace(seconds=statistics.median(times[name])) for name in times}

    def image(self) -> Tuple[int, int]:
        """(layers, compressed bytes) of the tagged image."""
        url = f"docker://{self.registry.host}/{self.last}:env"
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", f"--cert-dir={Path(str(self.registry.ca)).parent}", url],
            capture_output=True,
            check=True,
        ).stdout
        entries = json.loads(raw)["layers"]
        return len(entries), sum(entry["size"] for entry in entries)


def compare(bench: Bench, rounds: int) -> None:
    results = {ours: bench.measure(ours, rounds) for ours in (False, True)}
    print(f"{'':10}{'spack':>9}{'ours':>9}{'ratio':>7}   to registry, MB       from registry, MB")
    for name, theirs in results[False].items():
        ours = results[True][name]
        print(
            f"{name:10}{theirs.seconds:8.2f}s{ours.seconds:8.2f}s{theirs.seconds / ours.seconds:6.1f}x"
            f"   {theirs.sent / 1e6:8.1f} {ours.sent / 1e6:8.1f}  "
            f"   {theirs.received / 1e6:8.1f} {ours.received / 1e6:8.1f}"
        )
    count, size = bench.image()
    print(f"our image: {count} layers, {size / 1e6:.1f} MB")


def put_base(registry: DockerRegistry, base: Optional[str]) -> None:
    """``base`` (of a layout, DIR:TAG), or a small image, as library/base:1."""
    if base:
        target = f"docker://{registry.host}/library/base:1"
        flags = ["-q", f"--dest-cert-dir={Path(str(registry.ca)).parent}"]
        subprocess.run(["skopeo", "copy", *flags, f"oci:{base}", target], check=True)
        return
    settings = RegistrySettings(ca_bundle=registry.ca)
    with open_repository(parse_url(registry.mirror_url("library/base")), settings) as store:
        push_base(store, "1", shell_root_file_system())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spack", type=Path, help="root of the Spack whose packages are pushed; default: small ones")
    parser.add_argument("--base", help="base image in an OCI layout, DIR:TAG; default: a shell")
    parser.add_argument("--work", type=Path, help="directory for registry, caches and stages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("specs", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-image-") as directory:
        work = Path(directory)
        (work / "registry").mkdir()
        with docker_registry(tls=True, directory=work / "registry", fast=True) as registry:
            certificates = work / "certificates"
            certificates.mkdir()
            (certificates / "ca.crt").write_bytes(Path(str(registry.ca)).read_bytes())
            registry.ca = str(certificates / "ca.crt")
            put_base(registry, args.base)
            compare(Bench(args, work, registry), args.rounds)


if __name__ == "__main__":
    main()
