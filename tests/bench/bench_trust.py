#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What trust costs: pushes with and without a key, installs with and without a policy, in turns in the same run.

    python tests/bench/bench_trust.py [--spack SPACK_ROOT] [--work DIR] [--rounds N] [--only push|install]
                                       [--registry COMMAND] [/HASH ...]

``SPACK_ROOT`` as in ``bench_install.py``; without it, 300 small packages. Each round does both of a pair, in the other
order than the round before. Printed for each pair: medians of the seconds of whole commands, the ratio of each round
as median and range, the same of CPU seconds of the command and of the registry meanwhile (which a busy machine changes
less), and requests, where the registry has a log. Last, the bytes of the layer of signatures for 20,000 packages.
``COMMAND`` as in ``bench_push.py``.

Targets: a push that signs takes at most 1.25 of one that does not, an install under ``require`` at most 1.05, and makes
not one request more. The exit code says whether they are met.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_install import Bench, Way  # noqa: E402
from bench_push import cpu_of  # noqa: E402
from spack_oci.trust.signers import generate, write_pair  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.registries.other_registry import other_registry  # noqa: E402

PASSWORD = "of the bench"
INSTALLS = (
    Way("spack oci install", True, "old", "", ("oci", "install")),
    Way("spack install, classic", True, "old", "", ("install", "--cache-only")),
    Way("spack-oci install", True, "none", "", ("install",)),
)


class TrustBench(Bench):
    """With the section ``oci:trust``, a directory of its own, and a key in it."""

    def __init__(
        self, spack: Path, work: Path, url: str, registry: DockerRegistry, trust: Optional[Dict[str, Any]] = None
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        super().__init__(spack, work, url, registry)
        self.section: Dict[str, Any] = {"trust": trust} if trust else {}
        (work / "config.json").write_text(json.dumps(self.section))
        self.environment.update(COSIGN_PASSWORD=PASSWORD, SPACK_OCI_CONFIG=str(work / "config.json"))

    def scope(self, installer: str, tree: Optional[Path]) -> Path:
        directory = super().scope(installer, tree)
        found = json.loads((directory / "oci.yaml").read_text())
        found["oci"].update(self.section)
        (directory / "oci.yaml").write_text(json.dumps(found))
        return directory


@dataclass
class Side:
    """With or without: one of a pair."""

    wall: List[float] = field(default_factory=list)
    cpu: List[float] = field(default_factory=list)
    #: CPU seconds of the registry
    registry: List[float] = field(default_factory=list)
    requests: List[int] = field(default_factory=list)


@dataclass
class Pair:
    """``at_most``: the target of the ratio of seconds; ``more_requests``: how many more there may be."""

    name: str
    at_most: float
    more_requests: Optional[int]
    without: Side = field(default_factory=Side)
    with_it: Side = field(default_factory=Side)

    def ratios(self, what: str) -> List[float]:
        return [b / a for a, b in zip(getattr(self.without, what), getattr(self.with_it, what))]

    def report(self) -> bool:
        """Whether the targets are met."""
        print(f"\n{self.name}")
        for what in ("wall", "cpu", "registry"):
            ratios = self.ratios(what)
            a, b = (statistics.median(getattr(side, what)) for side in (self.without, self.with_it))
            print(
                f"  {what:8} without {a:7.2f} s  with {b:7.2f} s  ratio {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)} rounds)"
            )
        asked = (max(self.without.requests), max(self.with_it.requests))
        print(f"  requests without {asked[0]}, with {asked[1]}")
        enough = statistics.median(self.ratios("wall")) <= self.at_most
        few = self.more_requests is None or asked[1] - asked[0] <= self.more_requests
        print(f"  target: ratio {self.at_most:.2f}: {'met' if enough else 'MISSED'}", end="")
        print("" if self.more_requests is None else f", requests: {'met' if few else 'MISSED'}")
        return enough and few


def measured(side: Side, bench: Bench, work: Callable[[], None]) -> None:
    before, cpu_before = len(bench.registry.requests()), cpu_of(bench.registry.process.pid)
    started = time.perf_counter()
    work()
    side.wall.append(time.perf_counter() - started)
    side.cpu.append(bench.usage.ru_utime + bench.usage.ru_stime)
    side.registry.append(cpu_of(bench.registry.process.pid) - cpu_before)
    side.requests.append(len(bench.registry.requests()) - before)


def both(pair: Pair, number: int, run: Callable[[bool, Side], None]) -> None:
    """One round."""
    for is_with in (False, True) if number % 2 else (True, False):
        run(is_with, pair.with_it if is_with else pair.without)
        side = pair.with_it if is_with else pair.without
        print(f"{pair.name}, {'with' if is_with else 'without'}: {side.wall[-1]:.2f} s", file=sys.stderr, flush=True)


class Measurement:
    def __init__(self, spack: Path, work: Path, registry: DockerRegistry, specs: Sequence[str]) -> None:
        self.spack, self.work, self.registry = spack, work, registry
        signer, private = generate(PASSWORD.encode(), "bench")
        self.key = write_pair(str(work / "bench"), private, signer.public.pem)[0]
        self.trust = {
            "keys": {"bench": signer.public.pem.decode()},
            "policies": {"*": {"mode": "require", "max_age": "30d"}},
        }
        self.specs = list(specs) or self.bench("roots").roots()
        self.bench("roots").warm_up(True, "old", self.specs)
        self.number = 0

    def bench(self, name: str, trust: Optional[Dict[str, Any]] = None, cache: str = "cache") -> TrustBench:
        url = self.registry.mirror_url(f"bench/{cache}")
        return TrustBench(self.spack, self.work / name, url, self.registry, trust)

    def pushes(self, rounds: int) -> Pair:
        """Cold, with an update of the index."""
        pair = Pair("push", 1.25, None)

        def push(is_with: bool, side: Side) -> None:
            self.number += 1
            bench = self.bench("push", cache=f"push{self.number}")
            shutil.rmtree(bench.work / "oci", ignore_errors=True)
            options = ("--sign", self.key) if is_with else ()
            measured(side, bench, lambda: bench.fill(self.specs, *options))

        push(False, Side())  # byte code
        for number in range(rounds):
            both(pair, number, push)
        return pair

    def installs(self, rounds: int) -> List[Pair]:
        sides = (self.bench("without"), self.bench("with", self.trust))
        sides[0].fill(self.specs, "--sign", self.key)
        for bench in sides:
            bench.run(True, "old", "buildcache", "list", tree=bench.tree)
            bench.warm_up(True, "old", self.specs, bench.tree)
            bench.run_without_spack("list", bench.url)
        pairs = []
        for way in INSTALLS:
            pair = Pair(way.name, 1.05, 0)
            for number in range(-1, rounds):  # the first one is to warm up

                def install(is_with: bool, side: Side, way: Way = way) -> None:
                    bench = sides[is_with]
                    measured(side, bench, lambda: bench.measure(way, self.specs))

                both(pair if number >= 0 else Pair(way.name, 0, None), number, install)
            pairs.append(pair)
        return pairs


def signature_bytes(packages: int) -> Tuple[int, int]:
    """(bytes of the layer, of which each package) with signatures by one key, which do not compress."""
    from spack_oci.descriptor import sha256_digest
    from spack_oci.index.signature_table import IndexedSignature, SignedPackage, compress_table

    key = "a" * 64
    table = {
        f"{n:032}": SignedPackage((IndexedSignature(key, os.urandom(71)),), config=sha256_digest(b"%d" % n))
        for n in range(packages)
    }
    size = len(compress_table(table))
    return size, size // packages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--spack", type=Path, help="default: one with 300 small packages")
    parser.add_argument("--work", type=Path, help="directory for registry, caches and trees")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--registry", help="command of another registry: {address}, and for TLS {cert} and {key}")
    parser.add_argument("--only", choices=("push", "install"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-trust-") as temporary:
        work = Path(temporary)
        directory = work / "registry"
        directory.mkdir()
        with (
            other_registry(args.registry, directory)
            if args.registry
            else docker_registry(tls=True, directory=directory, fast=True)
        ) as registry:
            measurement = Measurement(spack_root(args.spack), work, registry, args.specs)
            pairs = []
            if args.only != "install":
                pairs.append(measurement.pushes(args.rounds))
            if args.only != "push":
                pairs += measurement.installs(args.rounds)
    results = [pair.report() for pair in pairs]
    size, each = signature_bytes(20_000)
    print(f"\nsignatures of 20,000 packages: {size} bytes, {each} for each")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
