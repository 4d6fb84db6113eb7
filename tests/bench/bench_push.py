# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push` against `spack buildcache push` of the same Spack: same packages, same registry, same run.

    python tests/bench/bench_push.py [--spack SPACK_ROOT] [--work DIR] [--rounds N] [SPEC ...]

``SPACK_ROOT`` has the packages installed; its configuration and the environment's SPACK_* variables are used as they
are, except that caches and stages go to ``--work`` (a tmpfs measures best). Nothing is written to its install tree.
Without it, 300 small packages are made (see ``make_small_packages.py``).
SPEC: roots to push with their dependencies; default: everything that is installed. Every figure is beyond start-up,
which is that of `push --help` of the same command.

The limit, where the registry speaks plain http and there is gcc, is ``push_limit.c``: the same layers, configs and
manifests, ready on the disk, are sent to an empty repository in the same requests, and nothing else is done.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from support.measuring.bench_stack import spack_root  # noqa: E402
from support.measuring.push_limit import PushLimit  # noqa: E402
from support.network.slow_link import slow_link  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.registries.other_registry import other_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402


@dataclass
class Measured:
    """One command. ``wall``, ``cpu``: seconds (of the command and its children); ``peak``: MiB of the process tree."""

    wall: float
    cpu: float
    peak: float
    requests: int
    #: CPU seconds of the registry meanwhile
    registry_cpu: float


@dataclass
class Series:
    name: str
    runs: List[Measured] = field(default_factory=list)

    def median(self, attribute: str) -> float:
        return statistics.median(getattr(run, attribute) for run in self.runs)


class Bench:
    def __init__(self, spack: Path, work: Path, registry: DockerRegistry, jobs: int) -> None:
        self.spack = spack
        self.work = work
        self.registry = registry
        self.jobs = jobs
        self.number = 0
        self.pythons = {ours: str(spack_instance.python(ours)) for ours in (False, True)}
        self.environment = dict(os.environ, SPACK_USER_CACHE_PATH=str(work / "cache"))
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if registry.ca:
            self.environment["SSL_CERT_FILE"] = registry.ca

    def _command(self, *arguments: str) -> List[str]:
        settings = {
            "misc_cache": self.work / "misc",
            "source_cache": self.work / "sources",
            "build_stage": self.work / "stage",
        }
        command = [str(self.spack / "bin" / "spack")]
        for name, value in settings.items():
            command += ["-c", f"config:{name}:{value}"]
        return [*command, *arguments]

    def roots(self) -> Tuple[List[str], int]:
        """Installed packages that no other one needs, and how many there are in all: both without externals, which no
        cache has, and which nobody can install elsewhere by their hash.

        Loads every package's class, so that no later run has to fill Spack's caches.
        """
        code = (
            "import spack.store; found = spack.store.STORE.db.query(); classes = [s.package for s in found]; "
            "used = {d.dag_hash() for s in found for d in s.dependencies()}; "
            "roots = ['/' + s.dag_hash() for s in found if s.dag_hash() not in used and not s.external]; "
            "print(sum(not s.external for s in found), *roots)"
        )
        found = subprocess.run(
            self._command("python", "-c", code),
            env={**self.environment, "SPACK_PYTHON": self.pythons[False]},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        count, *roots = found.stdout.split()
        return roots, int(count)

    def new_repository(self) -> str:
        self.number += 1
        return self.registry.mirror_url(f"bench/push{self.number}")

    def clear_cache(self) -> None:
        subprocess.run(["rm", "-rf", str(self.work / "cache" / "oci")], check=True)

    def run(self, ours: bool, *arguments: str) -> Measured:
        before, cpu_before = len(self.registry.requests()), cpu_of(self.registry.process.pid)
        times = os.times()
        started = time.perf_counter()
        process = subprocess.Popen(
            self._command(*arguments),
            env={**self.environment, "SPACK_PYTHON": self.pythons[ours]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        memory = PeakMemory(process.pid)
        output = process.communicate()[0]
        wall = time.perf_counter() - started
        peak = memory.stop()
        if process.returncode:
            raise SystemExit(f"{arguments[0]} {arguments[1]} failed:\n{output[-2000:]}")
        after = os.times()
        cpu = after.children_user + after.children_system - times.children_user - times.children_system
        time.sleep(0.1)  # the registry writes its log after its answer
        return Measured(
            wall,
            cpu,
            peak,
            len(self.registry.requests()) - before,
            cpu_of(self.registry.process.pid) - cpu_before,
        )

    def vanilla(self, url: str, specs: Sequence[str], *options: str) -> Measured:
        return self.run(False, "buildcache", "push", "--unsigned", *options, url, *specs)

    def ours(self, url: str, specs: Sequence[str], *options: str) -> Measured:
        return self.run(True, "oci", "push", *options, url, *specs)


class PeakMemory:
    """Samples the proportional set size of a process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            self._peak = max(self._peak, sum(pss(pid) for pid in tree(self._pid)))

    def stop(self) -> float:
        self._stop.set()
        self._thread.join()
        return self._peak / 1024


def tree(pid: int) -> List[int]:
    found, pending = [], [pid]
    while pending:
        current = pending.pop()
        found.append(current)
        try:
            for task in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{task}/children") as children:
                    pending += map(int, children.read().split())
        except OSError:
            continue
    return found


def pss(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def cpu_of(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def layer_bytes(registry: DockerRegistry, url: str) -> int:
    """Bytes of all layers of all packages of a repository, each counted once."""
    from spack_oci.reference import parse_url
    from spack_oci.registry.settings import RegistrySettings
    from spack_oci.registry.store import open_repository

    settings = RegistrySettings(ca_bundle=registry.ca) if registry.ca else RegistrySettings()
    store = open_repository(parse_url(url), settings)
    sizes: Dict[str, int] = {}
    for tag in store.tags():
        if tag.endswith(".spack"):
            for layer in json.loads(store.get_manifest(tag)[1])["layers"]:
                sizes[layer["digest"]] = layer["size"]
    return sum(sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spack", type=Path, help="root of the Spack whose packages are pushed; default: small ones")
    parser.add_argument("--work", type=Path, help="directory for registry, caches and stages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true", help="registry with TLS")
    parser.add_argument("--registry", help="command of another registry: {address}, and for TLS {cert} and {key}")
    parser.add_argument("--delay", type=float, default=0, help="round trip time in ms of a link to the registry")
    parser.add_argument(
        "--rate", type=float, default=0, help="Mbit/s of that link; then fixed levels are compared, too"
    )
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--skip-vanilla", action="store_true")
    parser.add_argument("specs", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-push-") as directory:
        work = Path(directory)
        (work / "registry").mkdir()
        directory = work / "registry"
        with (
            (
                other_registry(args.registry, directory)
                if args.registry
                else docker_registry(tls=args.tls, directory=directory, fast=True)
            ) as registry,
            link(registry, args.delay, args.rate) as host,
        ):
            compare(Bench(spack_root(args.spack), work, replace(registry, host=host), args.jobs), args)


@contextlib.contextmanager
def link(registry: DockerRegistry, delay: float, rate: float) -> Iterator[str]:
    """The host through which the registry is reached."""
    if not delay and not rate:
        yield registry.host
        return
    with slow_link(registry.host, delay / 1000, rate * 1e6 / 8 if rate else None) as host:
        yield host


def compare(bench: Bench, args: argparse.Namespace) -> None:
    roots, count = bench.roots()
    specs = args.specs or roots
    start = {False: Series("start-up, spack"), True: Series("start-up, ours")}

    def start_up() -> None:
        """Again and again between the others, as the machine's speed may change."""
        for ours, command in ((False, "buildcache"), (True, "oci")):
            start[ours].runs.append(bench.run(ours, command, "push", "--help"))

    start_up()
    for one in start.values():  # the first writes byte code
        one.runs.clear()
    options = {"cold zstd": ["--compression", "zstd"], "cold": []}
    if args.rate:
        options = {f"cold {level}": ["--compression", level] for level in ("gzip:2", "gzip:6")} | options
    names = [*sorted(options), "nothing to push", "force"]
    series = {(name, ours): Series(name) for name in names for ours in (False, True)}
    limit = None
    if bench.registry.scheme == "http" and shutil.which("gcc"):
        limit = PushLimit(bench.work / "limit", bench.registry.host)
    limits: List[float] = []
    sizes: Dict[str, Optional[int]] = {"spack": None}
    for _ in range(args.rounds):
        start_up()
        url = bench.new_repository()
        if not args.skip_vanilla:
            series["cold", False].runs.append(bench.vanilla(url, specs))
            sizes["spack"] = layer_bytes(bench.registry, url)
            series["nothing to push", False].runs.append(bench.vanilla(url, specs))
            series["force", False].runs.append(bench.vanilla(url, specs, "--force"))
        start_up()
        for name, chosen in options.items():
            bench.clear_cache()
            url = bench.new_repository()
            series[name, True].runs.append(bench.ours(url, specs, *chosen))
            sizes[name] = layer_bytes(bench.registry, url)
        if limit is not None:
            limit.prepare(f"bench/push{bench.number}")
            bench.new_repository()
            limits.append(limit.run(f"bench/push{bench.number}")[0])
        series["nothing to push", True].runs.append(bench.ours(url, specs))
        series["force", True].runs.append(bench.ours(url, specs, "--force"))
        start_up()
    for ours in (False, True):
        wall, cpu = start[ours].median("wall"), start[ours].median("cpu")
        print(f"{count} packages; {start[ours].name}: {wall:.2f} s, cpu {cpu:.2f} s")
    report(series, start, sizes, count)
    if limits:
        report_limit(limits, series["cold", True], start[True])


def report_limit(limits: Sequence[float], cold: Series, start: Series) -> None:
    least, ours = statistics.median(limits), cold.median("wall") - start.median("wall")
    spread = f"{min(limits):.2f} to {max(limits):.2f}"
    print(f"limit, cold: {least:.2f} s ({spread}); ours beyond start-up reaches {least / max(0.01, ours):.2f} of it")


def report(series, start, sizes, packages: int) -> None:
    """Wall clock and processor time (of the command and its children) beyond start-up; the latter is the one to look at
    on a machine that others use too."""
    columns = f"{'':16}{'wall: spack':>12}{'ours':>8}{'ratio':>7}{'cpu: spack':>12}{'ours':>8}{'ratio':>7}"
    print(f"{columns}  req/pkg  peak MiB  registry")
    for name in (name for name, is_ours in series if is_ours):
        ours = series[name, True]
        theirs = series["cold" if name.startswith("cold") else name, False]
        line = f"{name:16}"
        for attribute in ("wall", "cpu"):
            beyond = max(0.01, ours.median(attribute) - start[True].median(attribute))
            reference = theirs.median(attribute) - start[False].median(attribute) if theirs.runs else 0.0
            line += f"{reference:11.2f}s{beyond:7.2f}s{reference / beyond:6.1f}x"
        line += f"  {ours.median('requests') / packages:7.2f}  {ours.median('peak'):8.0f}"
        print(f"{line}  {ours.median('registry_cpu'):.2f}s cpu")
    for (name, ours), one in series.items():
        if len(one.runs) > 1:
            runs = " ".join(f"{run.wall:.2f}" for run in one.runs)
            print(f"{name}, {'ours' if ours else 'spack'}, each with its start-up: {runs} s")
    for name, size in sizes.items():
        if size:
            share = f" ({size / sizes['spack'] - 1:+.1%})" if sizes.get("spack") and name != "spack" else ""
            print(f"layers, {name}: {size / 1e6:.1f} MB{share}")


if __name__ == "__main__":
    main()
