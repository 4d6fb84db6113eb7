#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""This checkout against another commit of this project: same commands, packages and registry, in alternating runs.

    bench_commits.py REVISION [--spack SPACK_ROOT] [--work DIR] [--rounds N] [--registry COMMAND] [--tls]
        [--only NAME ...]

``SPACK_ROOT``: see ``bench_push.py``; default: 300 small packages. ``REVISION`` is cloned and gets a Python of its own
in the tests' cache. Printed for each command: median seconds (whole command) and CPU seconds of both sides, ratio of
this checkout to the other commit (below 1: this one is faster) and the spread of the ratios of single rounds.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Sequence

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_install import INSTALL, NEW  # noqa: E402
from bench_install import Bench as InstallBench  # noqa: E402
from bench_push import Bench, Measured  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402
from support.registries.docker_registry import docker_registry  # noqa: E402
from support.registries.other_registry import other_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402

THIS, OTHER = "this checkout", "the other commit"


def python_of(revision: str) -> Path:
    """An interpreter with that commit of this package installed."""
    target = spack_instance.cache_directory() / f"commit-{revision[:12]}"
    if not (target / "done").exists():
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
        subprocess.run(["git", "-C", str(target), "checkout", "-q", revision], check=True)
        subprocess.run([sys.executable, "-m", "venv", str(target / "venv")], check=True)
        pip = [str(target / "venv" / "bin" / "python"), "-m", "pip", "install", "-q", "clingo>=5.6", "-e", str(target)]
        subprocess.run(pip, check=True)
        (target / "done").touch()
    return target / "venv" / "bin" / "python"


class Sides:
    """The same commands with both versions of this package."""

    def __init__(self, bench: Bench, installs: InstallBench, other: Path) -> None:
        self.bench, self.installs = bench, installs
        self.pythons = {THIS: spack_instance.python(True), OTHER: other}

    def push(self, side: str, url: str, specs: Sequence[str], *options: str) -> Measured:
        self.bench.pythons[True] = str(self.pythons[side])
        return self.bench.ours(url, specs, *options)

    def update_index(self, side: str, url: str, specs: Sequence[str]) -> Measured:
        self.bench.pythons[True] = str(self.pythons[side])
        return self.bench.run(True, "oci", "update-index", "--full", url)

    def install(self, side: str, installer: str, command: Sequence[str], specs: Sequence[str]) -> Measured:
        bench = self.installs
        bench.pythons[True] = self.pythons[side]
        for directory in (bench.tree, bench.work / "sources", bench.work / "oci" / "blobs", bench.work / "stage"):
            shutil.rmtree(directory, ignore_errors=True)
        before = os.times()
        bench.run(True, installer, *command, *specs, tree=bench.tree)
        after = os.times()
        cpu = bench.usage.ru_utime + bench.usage.ru_stime
        return Measured(after.elapsed - before.elapsed, cpu, bench.usage.ru_maxrss / 1024, 0, 0.0)


def measure(sides: Sides, specs: Sequence[str], rounds: int, only: Sequence[str]) -> None:
    bench = sides.bench
    repositories: Dict[str, str] = {}

    def cold(side: str) -> Measured:
        bench.clear_cache()
        repositories[side] = bench.new_repository()
        return sides.push(side, repositories[side], specs)

    ways: Dict[str, Callable[[str], Measured]] = {
        "cold push": cold,
        "nothing to push": lambda side: sides.push(side, repositories[side], specs),
        "push --force": lambda side: sides.push(side, repositories[side], specs, "--force"),
        "update-index --full": lambda side: sides.update_index(side, repositories[side], specs),
        "install, classic": lambda side: sides.install(side, "old", INSTALL, specs),
        "install, new": lambda side: sides.install(side, "new", NEW, specs),
        "oci install": lambda side: sides.install(side, "old", ("oci", "install"), specs),
    }
    runs: Dict[str, Dict[str, List[Measured]]] = {name: {THIS: [], OTHER: []} for name in ways}
    for number in range(rounds + 1):  # the first round warms up
        for name, way in ways.items():
            if only and name not in only and name != "cold push":
                continue
            order = (THIS, OTHER) if number % 2 else (OTHER, THIS)
            for side in order:
                measured = way(side)
                if number:
                    runs[name][side].append(measured)
    print(f"{'':22}{'other':>9}{'this':>9}{'ratio':>8}{'spread':>14}{'cpu other':>12}{'this':>9}{'ratio':>8}")
    for name, both in runs.items():
        if not both[THIS]:
            continue
        wall = {side: statistics.median(m.wall for m in both[side]) for side in both}
        cpu = {side: statistics.median(m.cpu for m in both[side]) for side in both}
        single = [mine.wall / theirs.wall for mine, theirs in zip(both[THIS], both[OTHER])]
        print(
            f"{name:22}{wall[OTHER]:8.2f}s{wall[THIS]:8.2f}s{wall[THIS] / wall[OTHER]:8.2f}"
            f"{min(single):8.2f}-{max(single):.2f}{cpu[OTHER]:12.2f}{cpu[THIS]:9.2f}{cpu[THIS] / cpu[OTHER]:8.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--spack", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--registry", help="command of another registry, see bench_push.py")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    revision = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", args.revision], text=True).strip()
    other = python_of(revision)
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-commits-") as directory:
        work = Path(directory)
        (work / "registry").mkdir()
        with (
            other_registry(args.registry, work / "registry")
            if args.registry
            else docker_registry(tls=args.tls, directory=work / "registry", fast=True)
        ) as registry:
            spack = spack_root(args.spack)
            bench = Bench(spack, work, registry, 0)
            specs = bench.roots()[0]
            installs = InstallBench(spack, work, registry.mirror_url("bench/installs"), registry)
            installs.warm_up(False, "old", specs)
            installs.fill(specs)
            measure(Sides(bench, installs, other), specs, args.rounds, args.only)


if __name__ == "__main__":
    main()
