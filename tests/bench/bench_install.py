#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Installing from an OCI cache: ours against vanilla Spack of the same version, same packages, same registry, same run.

    bench_install.py [--spack SPACK_ROOT] [--work DIR] [--rounds N] [--delay MS --rate MBIT] [--compression C]
        [--records N] [--beyond] [/HASH]

``SPACK_ROOT`` has the packages installed; its configuration and the environment's SPACK_* variables are used as they
are, except that everything is installed below ``--work`` (a tmpfs measures best; the path of the tree there must not
be longer than the one of the build, or vanilla Spack fails). A registry on loopback is filled once. Every
install starts with an empty tree and empty caches of blobs; the index is there. ``--delay`` and ``--rate`` put a link
with that round trip time and bandwidth in front of the registry. Over a link, bytes count most, and a cache that ours
pushed has the same for all; with ``--compression`` (e.g. zstd:9) there is a second comparison, in which vanilla Spack
installs what vanilla Spack pushed, and ours what ours pushed with that compression.

`spack-oci install` is a whole command without Spack, its start included; it takes the specs by their hashes.

``--records 5000``: the store has so many other packages in its database (no prefixes). ``--beyond``, which that
implies: the same Spack's concretization of the same specs is measured as well, with its start, and what an install
takes beyond.

Printed for each way to install: seconds of the whole command, its CPU seconds (which a busy machine does not change),
fetch + extract + relocate (what Spack's own timers say, summed over packages; classic installer only), peak memory of
the largest process; and ratios to vanilla Spack with the same installer.
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
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_push import layer_bytes, link  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402
from support.measuring.filled_store import filled_database, write_database  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402


@dataclass
class Way:
    """One way to install."""

    name: str
    ours: bool
    installer: str
    #: what it is compared with
    baseline: str
    command: Sequence[str]
    target: float = 0.0
    #: the repository that is installed from
    cache: str = "same"
    wall: List[float] = field(default_factory=list)
    cpu: List[float] = field(default_factory=list)
    part: List[float] = field(default_factory=list)
    peak: List[float] = field(default_factory=list)
    #: seconds of the command without what it takes to start and to concretize
    beyond: List[float] = field(default_factory=list)

    def from_own_cache(self) -> "Way":
        """The same from what the same program has pushed."""
        own = Way(f"{self.name}, own", self.ours, self.installer, f"{self.baseline}, own", self.command, self.target)
        own.cache = "ours" if self.ours else "vanilla"
        return own

    def ratio(self, ways: "Dict[str, Way]", what: str) -> float:
        mine, theirs = statistics.median(getattr(self, what)), statistics.median(getattr(ways[self.baseline], what))
        return theirs / mine if mine else 0.0


INSTALL = ("install", "--cache-only", "--no-check-signature")
#: the new installer of 1.1 has no --cache-only; with everything in the cache it takes the same way
NEW = ("install", "--no-check-signature")
ONE_BY_ONE = ("-c", "oci:install:bulk:false")
NOT_AHEAD = (*ONE_BY_ONE, "-c", "oci:install:ahead:packages:0")
WAYS = (
    Way("vanilla classic", False, "old", "vanilla classic", INSTALL),
    Way("ours classic", True, "old", "vanilla classic", INSTALL, 3.5),
    Way("ours classic, no bulk", True, "old", "vanilla classic", (*ONE_BY_ONE, *INSTALL), 2.0),
    Way("ours classic, not ahead", True, "old", "vanilla classic", (*NOT_AHEAD, *INSTALL)),
    Way("spack oci install", True, "old", "vanilla classic", ("oci", "install"), 3.0),
    Way("spack-oci install", True, "none", "vanilla classic", ("install",), 6.0),
    Way("vanilla new", False, "new", "vanilla new", NEW),
    Way("ours new", True, "new", "vanilla new", NEW, 4.0),
    Way("ours new, no bulk", True, "new", "vanilla new", (*ONE_BY_ONE, *NEW), 1.5),
    Way("ours new, not ahead", True, "new", "vanilla new", (*NOT_AHEAD, *NEW)),
)


class Bench:
    def __init__(self, spack: Path, work: Path, url: str, registry: DockerRegistry) -> None:
        self.spack, self.work, self.url, self.registry = spack, work, url, registry
        self.tree = work / "o"
        self.usage: Any = None
        self.push_seconds = 0.0
        #: index.json of the database that an install finds; "": none
        self.database = ""
        self.beyond = False
        self.pythons = {False: spack_instance.python(False), True: spack_instance.python(True)}
        self.environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        if registry.ca:
            self.environment["SSL_CERT_FILE"] = str(registry.ca)

    def scope(self, installer: str, tree: Optional[Path]) -> Path:
        directory = self.work / "scope"
        directory.mkdir(exist_ok=True)
        config = {
            "installer": installer,
            "misc_cache": str(self.work / "misc"),
            "source_cache": str(self.work / "sources"),
            "build_stage": [str(self.work / "stage")],
        }
        if tree:
            config["install_tree"] = {"root": str(tree)}
        mirrors = {"cache": {"url": self.url, "signed": False}}
        (directory / "config.yaml").write_text(json.dumps({"config": config}))
        (directory / "mirrors.yaml").write_text(json.dumps({"mirrors:": mirrors}))
        oci = {"cache": {"root": str(self.work / "oci")}}
        (directory / "oci.yaml").write_text(json.dumps({"oci": oci}))
        return directory

    def run(self, ours: bool, installer: str, *arguments: str, tree: Optional[Path] = None) -> str:
        environment = {**self.environment, "SPACK_PYTHON": str(self.pythons[ours])}
        command = [str(self.spack / "bin" / "spack"), "-C", str(self.scope(installer, tree)), *arguments]
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        process.stdin.close()
        output = process.stdout.read()
        _, status, self.usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{output[-5000:]}")
        return output

    def run_without_spack(self, *arguments: str) -> str:
        """`spack-oci`, with the same directory for blobs and indexes as ours."""
        environment = {**self.environment, "SPACK_OCI_CACHE": str(self.work / "oci")}
        command = [str(self.pythons[True]), "-m", "spack_oci", *arguments]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = process.stdout.read()
        _, status, self.usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{output[-5000:]}")
        return output

    def roots(self) -> List[str]:
        """Installed packages that no other one needs."""
        code = (
            "import spack.store; found = [s for s in spack.store.STORE.db.query() if not s.external]; "
            "used = {d.dag_hash() for s in found for d in s.dependencies(deptype=('link', 'run'))}; "
            "print(*('/' + s.dag_hash() for s in found if s.dag_hash() not in used))"
        )
        return self.run(False, "old", "python", "-c", code).split()

    def root(self) -> Path:
        """Of the install tree that has the packages."""
        code = "import spack.store; print(spack.store.STORE.root)"
        return Path(self.run(False, "old", "python", "-c", code).split()[-1])

    def warm_up(self, ours: bool, installer: str, specs: Sequence[str], tree: Optional[Path] = None) -> None:
        """Have Spack make what it keeps of package repositories. (`spack spec` of develop solves even for a hash.)"""
        code = (
            f"import spack.cmd; specs = spack.cmd.parse_specs({list(specs)!r}, concretize=True); "
            "[d.package for s in specs for d in s.traverse()]"
        )
        self.run(ours, installer, "python", "-c", code, tree=tree)

    def fill(self, specs: Sequence[str], *options: str, ours: bool = True) -> None:
        command = ("oci", "push") if ours else ("buildcache", "push", "--unsigned")
        options = ("--without-build-dependencies", "--update-index", *options)
        started = time.perf_counter()
        self.run(ours, "old", *command, *options, "cache", *specs)
        self.push_seconds = time.perf_counter() - started

    def measure(self, way: Way, specs: Sequence[str]) -> None:
        for directory in (self.tree, self.work / "sources", self.work / "oci" / "blobs", self.work / "stage"):
            shutil.rmtree(directory, ignore_errors=True)
        if self.database:
            write_database(self.tree, self.database)
        before = self.concretization(way, specs) if self.beyond else 0.0
        started = time.perf_counter()
        if way.installer == "none":
            self.run_without_spack(*way.command, self.url, *specs, "--store", str(self.tree))
        else:
            self.run(way.ours, way.installer, *way.command, *specs, tree=self.tree)
        way.wall.append(time.perf_counter() - started)
        way.beyond.append(way.wall[-1] - before)
        way.cpu.append(self.usage.ru_utime + self.usage.ru_stime)
        way.peak.append(self.usage.ru_maxrss / 1024)
        part = sum(_ours(json.loads(f.read_text())) for f in self.tree.glob("*/*/.spack/install_times.json"))
        way.part.append(part)

    def concretization(self, way: Way, specs: Sequence[str]) -> float:
        """Seconds. `spack-oci` has neither a solver nor a start of Spack."""
        if way.installer == "none":
            return 0.0
        started = time.perf_counter()
        self.warm_up(way.ours, way.installer, specs, self.tree)
        return time.perf_counter() - started

    def installed(self) -> int:
        return len(list(self.tree.glob("*/*/.spack/spec.json")))


def _ours(times: Dict) -> float:
    """Fetch, extract and relocate of one package, in seconds.

    Spack's phase "install" holds the two latter, and the writing of its database; ours of `spack oci install` does not.
    """
    if not times.get("cache"):  # of the build: the new installer writes none for a binary
        return 0.0
    seconds = {phase["name"]: phase["seconds"] for phase in times.get("phases", [])}
    wanted = ("fetch", "extract", "relocate") if "extract" in seconds else ("install",)
    return sum(seconds.get(name, 0.0) for name in wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--spack", type=Path, help="default: one with 300 small packages")
    parser.add_argument(
        "--version", default="1.1.0", choices=spack_instance.VERSIONS, help="of the one with small ones"
    )
    parser.add_argument("--work", type=Path, help="directory for registry, caches and trees")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0, help="round trip time in ms")
    parser.add_argument("--rate", type=float, default=0, help="Mbit/s")
    parser.add_argument("--compression", help="compare caches of their own too, ours pushed with this, e.g. zstd:9")
    parser.add_argument("--records", type=int, default=0, help="packages that the store has already")
    parser.add_argument("--beyond", action="store_true", help="measure concretization apart")
    parser.add_argument("--only", nargs="*", help="names of the ways to install, e.g. 'vanilla classic'")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=work, prefix="registry-")))
        registry = stack.enter_context(docker_registry(tls=True, directory=directory, fast=True, access_log=False))
        spack = spack_root(args.spack, args.version)
        specs = args.specs or Bench(spack, work, registry.mirror_url("bench/same"), registry).roots()
        sizes = fill_caches(spack, work, registry, specs, args.compression)
        host = stack.enter_context(link(registry, args.delay, args.rate))
        benches = {cache: Bench(spack, work, f"oci://{host}/bench/{cache}", registry) for cache in sizes}
        for bench in benches.values():
            bench.beyond = args.beyond or args.records > 0
            if args.records:
                bench.database = filled_database(bench.root(), bench.tree, args.records)
        chosen = [way for way in WAYS if not args.only or way.name in args.only]
        if args.compression:
            chosen += [way.from_own_cache() for way in chosen]
        ways = {way.name: way for way in chosen}
        if not args.spack and "spack-oci install" in ways:  # of small packages, Spack's start is a larger part
            ways["spack-oci install"].target = 10.0
        set_targets(ways, over_link=bool(args.rate))
        for way in chosen:  # indexes, caches of the package repositories and byte code are made once, for all
            bench = benches[way.cache]
            if way.installer == "none":
                bench.run_without_spack("list", bench.url)
                continue
            bench.run(way.ours, way.installer, "buildcache", "list", tree=bench.tree)
            bench.warm_up(way.ours, way.installer, specs, bench.tree)
        for _ in range(args.rounds):
            for way in chosen:
                benches[way.cache].measure(way, specs)
                found = benches[way.cache].installed()
                print(f"{way.name}: {way.wall[-1]:.2f} s, {found} packages", file=sys.stderr, flush=True)
        failed = report(ways)
        if args.rate:
            report_limits(sizes, args.rate, ways)
        return failed


def fill_caches(
    spack: Path, work: Path, registry: DockerRegistry, specs: Sequence[str], compression: Optional[str]
) -> Dict[str, int]:
    """Push to the repositories that are installed from, not over the link; bytes of all layers by name."""
    pushes = {"same": (True, ())}
    if compression:
        pushes.update(vanilla=(False, ()), ours=(True, ("--compression", compression)))
    warm = Bench(spack, work, registry.mirror_url("bench/warm"), registry)
    warm.warm_up(False, "old", specs)
    sizes = {}
    for cache, (ours, options) in pushes.items():
        bench = Bench(spack, work, registry.mirror_url(f"bench/{cache}"), registry)
        bench.fill(specs, *options, ours=ours)
        sizes[cache] = layer_bytes(registry, bench.url)
        by = f"ours{' with ' if options else ''}{' '.join(options)}" if ours else "vanilla Spack"
        print(f"cache '{cache}': pushed by {by} in {bench.push_seconds:.1f} s, {sizes[cache] / 1e6:.1f} MB of layers")
    return sizes


def set_targets(ways: Dict[str, Way], over_link: bool) -> None:
    """Over a link, the issue's 3x is for caches of their own; the same bytes take the same time."""
    if over_link:
        for way in ways.values():
            way.target = 3.0 if way.cache == "ours" else 0.0


def report_limits(sizes: Dict[str, int], rate: float, ways: Dict[str, Way]) -> None:
    """What the link alone takes, which bounds the ratio to vanilla Spack."""
    for cache, size in sizes.items():
        seconds = size * 8 / (rate * 1e6)
        mine = [way for way in ways.values() if way.ours and way.cache == cache]
        walls = {way.baseline: statistics.median(ways[way.baseline].wall) for way in mine if way.baseline in ways}
        best = "; the best possible ratio to " if walls else ""
        best += ", ".join(f"{name}: {wall / seconds:.2f}" for name, wall in walls.items())
        print(f"{size / 1e6:.1f} MB of layers of '{cache}' take {seconds:.1f} s over this link{best}")


def report(ways: Dict[str, Way]) -> int:
    failed = False
    columns = ("wall", "ratio", "target", "beyond", "ratio", "cpu", "ratio", "our part", "ratio", "peak MiB", "spread")
    print(f"{'':24}" + "".join(f"{column:>9}" for column in columns))
    for way in ways.values():
        known = way.baseline in ways
        compared = ("wall", "beyond", "cpu", "part")
        wall, beyond, cpu, part = (way.ratio(ways, what) if known else 0.0 for what in compared)
        failed = failed or wall < way.target
        figures = (
            *(statistics.median(way.wall), wall, way.target, statistics.median(way.beyond), beyond),
            *(statistics.median(way.cpu), cpu),
            *(statistics.median(way.part), part, max(way.peak)),
        )
        spread = f"   {min(way.wall):.2f} to {max(way.wall):.2f}"
        print(f"{way.name:24}" + "".join(f"{figure:9.2f}" for figure in figures) + spread)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
