#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` with a registry that allows so many requests a second: how long it takes, and how many are refused.

    python tests/bench/bench_throttled.py [--rate 10] [--burst 10] [--packages 60] [--retry-after SECONDS]

Goal: done in 1.3 times what the registry allows for the requests that it served (its burst is for free), and a tenth
refused, as far as there are a hundred. Push and install: the test packages; update-index, list and copy: so many small
ones beside them, which are in the registry already. The registry is the tests' own, with a token bucket.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, List

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.reference import Repository  # noqa: E402
from spack_oci.registry import RegistrySettings, open_repository  # noqa: E402
from support.packages.cache_builder import node, push_package  # noqa: E402
from support.registries.fault_registry import FaultRegistry, fault_registry  # noqa: E402
from support.spacks.client import Client, build_store  # noqa: E402

GOAL_TIME, GOAL_REFUSED = 1.3, 0.1
NAME = "team/cache"


def measure(title: str, client: Client, registry: FaultRegistry, rate: float, *words: Any) -> bool:
    """Run a command with the limit; whether the goals are met."""
    registry.log.clear()
    registry.bucket = (-1.0, 0.0)
    registry.behaviour.rate = rate
    started = time.monotonic()
    client.run(*words, timeout=1800)
    took = time.monotonic() - started
    registry.behaviour.rate = 0.0
    refused = sum(line.endswith(" 429") for line in registry.methods())
    served = len(registry.methods()) - refused
    allowed = max(0.0, served - registry.behaviour.burst) / rate
    share = refused / max(1, served + refused)
    # starting takes what it takes, and a limit is found by being refused
    good = took <= GOAL_TIME * allowed + 2 and (share <= GOAL_REFUSED or refused <= 10)
    counts = f"{served:4} requests served, {refused:3} refused ({share:4.0%})"
    times = f"{took:5.1f} s, the registry allows them in {allowed:5.1f} s"
    print(f"{title:14} {counts}; {times}{'' if good else '  <- not the goal'}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--burst", type=int, default=10)
    parser.add_argument("--packages", type=int, default=60)
    parser.add_argument("--retry-after", default="")
    args = parser.parse_args()
    good: List[bool] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        built = build_store(directory / "built")
        with fault_registry(burst=args.burst, retry_after=args.retry_after) as registry:
            url = f"oci+http://{registry.host}/{NAME}"

            def client(number: List[int] = [0]) -> Client:  # noqa: B006
                number[0] += 1
                return Client(directory / f"home{number[0]}")

            def one(title: str, *words: Any) -> None:
                good.append(measure(title, client(), registry, args.rate, *words))

            one("push", "push", "--update-index", built, url)
            one("install", "install", url, "oci-stack", "oci-leaf@1.0", "--store", directory / "sw")
            one("copy (pack)", "pack", url, directory / "packed", "oci-stack", "oci-leaf@1.0")
            store = open_repository(Repository(registry.host, NAME, "http"), RegistrySettings())
            for each in range(args.packages):
                push_package(store, [node(f"p{each}")])
            one("update-index", "update-index", url)
            one("the same again", "update-index", url)
            one("list", "list", "--allarch", url)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
