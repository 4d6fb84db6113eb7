#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the installed package costs every start of Spack: `spack help` with it and without, in alternating runs.

    bench_startup.py [--spack-version 1.1.0] [--pairs N]

Printed: milliseconds, the median of the differences between neighbours and of the lower quartiles of both sides, for
wall and processor time. Single runs vary by far more than what is measured; other work only ever adds to them.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from support.spacks import spack_instance  # noqa: E402
from support.spacks.spack_instance import SpackInstance  # noqa: E402

NAMES = ("wall time", "processor time")


def cost_of_help(spack: SpackInstance) -> Tuple[float, float]:
    """Seconds: wall and processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(spack.argv("help"), env=spack.env(), stdout=subprocess.DEVNULL, check=True, stdin=subprocess.PIPE)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def lower_quartile(values: List[float]) -> float:
    return statistics.quantiles(values, n=4)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spack-version", default="1.1.0", choices=sorted(spack_instance.SUPPORTED))
    parser.add_argument("--pairs", type=int, default=60)
    args = parser.parse_args()
    checkout = spack_instance.checkout(args.spack_version)
    with tempfile.TemporaryDirectory() as directory:
        sides = [
            SpackInstance(checkout, spack_instance.python(ours), Path(directory) / name, external=Path(directory))
            for ours, name in ((True, "ours"), (False, "vanilla"))
        ]
        for spack in sides:
            cost_of_help(spack)  # byte code
        costs: Tuple[List[Tuple[float, float]], ...] = ([], [])
        for pair in range(args.pairs):
            for side in (0, 1) if pair % 2 else (1, 0):
                costs[side].append(cost_of_help(sides[side]))
    for number, name in enumerate(NAMES):
        ours, vanilla = ([c[number] * 1000 for c in side] for side in costs)
        middle = statistics.median(a - b for a, b in zip(ours, vanilla))
        quartile = lower_quartile(ours) - lower_quartile(vanilla)
        print(f"{name}: {statistics.median(vanilla):.0f} ms; with the package {middle:+.0f} ms ({quartile:+.0f} ms)")


if __name__ == "__main__":
    main()
