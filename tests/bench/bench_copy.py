#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A cache copied from one docker-registry to another: ours beside `skopeo sync`, `crane copy --all-tags` and
`crane copy` of each tag, in the same run, cold and with nothing to do, with the peak memory of each process.

    python tests/bench/bench_copy.py [--layout DIR | --packages 200 --size 1000000] [--rounds 3] [--crane PROGRAM]

``--layout``: a directory that `spack oci push` has filled, with real packages; else so many generated ones, each with
an incompressible layer of so many bytes. Every round copies into registries of its own. Goals: at least twice as
fast as the faster of the others, twenty times with nothing to do, below 150 MiB. Ours is the library as
`spack oci copy` calls it, in a process of its own; `--spack ROOT` runs that command instead, with the start of Spack.
"""

import argparse
import contextlib
import gzip
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_push import PeakMemory, cpu_of  # noqa: E402
from spack_oci.index.update.loop import update_index  # noqa: E402
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy  # noqa: E402
from spack_oci.reference import LayoutDirectory, parse_url  # noqa: E402
from spack_oci.registry import open_repository  # noqa: E402
from support.measuring.soak import open_store  # noqa: E402
from support.packages.cache_builder import QUICK, node, push_package  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402

NAME = "team/cache"
#: as many processes at a time as the others have connections; shown, and no goal
TAG_BY_TAG = "crane copy, each tag"
GOAL_COLD, GOAL_AGAIN, GOAL_MEMORY = 2.0, 20.0, 150

OURS = """
import sys
from spack_oci.content.blob_cache import BlobCache
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.reference import parse_url
from spack_oci.registry.store import open_repository

source, target, cache, jobs = sys.argv[1:]
both = compare(open_repository(parse_url(source)), open_repository(parse_url(target)), cache=BlobCache(cache))
plan = plan_copy(both, Selection())
if not plan.is_empty:
    sys.exit(bool(execute_copy(both.source, both.destination, both.found, plan, jobs=int(jobs)).failed))
"""


class Measured(NamedTuple):
    """Seconds, and MiB (proportional set size) at the peak; ``registries``: seconds of the processor that they took."""

    seconds: float
    memory: float
    registries: float = 0.0


def run(tool: str, command: Sequence[str], **environment: str) -> Measured:
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
        memory = PeakMemory(process.pid)
        process.wait()
        seconds = time.monotonic() - started
        peak = memory.stop()
        if process.returncode and tool == TAG_BY_TAG:  # some of its processes lose against each other
            said.seek(0)
            print(*{line for line in said.read().decode().splitlines() if line.startswith("Error")}, sep="\n")
        elif process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}: {process.returncode}\\n{said.read().decode()[-3000:]}")
    return Measured(seconds, peak)


def fill(url: str, args: argparse.Namespace) -> None:
    store = open_repository(parse_url(url))
    if args.layout:
        layout = open_store(LayoutDirectory(str(args.layout.resolve())).url)
        both = compare(layout, store)
        result = execute_copy(layout, store, both.found, plan_copy(both, Selection()))
        assert not result.failed, result.failed
        return
    chosen = random.Random(1)
    for number in range(args.packages):
        push_package(store, [node(f"p{number}")], layer=gzip.compress(chosen.randbytes(args.size), 0, mtime=0))
    update_index(store, QUICK)


def commands(args: argparse.Namespace, source: str, target: str, directory: Path) -> Dict[str, Tuple[List[str], str]]:
    """Tool -> (command, name of the repository that it fills). ``source``, ``target``: HOST:PORT."""
    ours = [sys.executable, "-c", OURS, f"oci+http://{source}/{NAME}", f"oci+http://{target}/ours"]
    ours += [str(directory / "cache"), str(args.jobs)]
    if args.spack:
        urls = [f"oci+http://{source}/{NAME}", f"oci+http://{target}/ours"]
        ours = [str(args.spack / "bin" / "spack"), "oci", "copy", *urls]
    found = {"spack-oci": (ours, "ours")}
    if shutil.which("skopeo"):
        words = [
            "--all",
            "--preserve-digests",
            "--src",
            "docker",
            "--dest",
            "docker",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ]
        command = ["skopeo", "--insecure-policy", "sync", *words, f"{source}/{NAME}", f"{target}/skopeo"]
        found["skopeo sync"] = (command, f"skopeo/{NAME.rpartition('/')[2]}")
    crane = args.crane or shutil.which("crane")
    if crane:
        words = ["--insecure", "copy", "--all-tags", "--jobs", str(args.jobs)]
        found["crane copy"] = ([str(crane), *words, f"{source}/{NAME}", f"{target}/crane"], "crane")
        tags, each = f"{source}/{NAME}", f"{target}/each"
        one = f"{crane} --insecure copy {tags}:% {each}:%"
        script = f"{crane} --insecure ls {tags} | xargs -P {args.jobs} -I % {one}"
        found[TAG_BY_TAG] = (["sh", "-c", script], "each")
    return found


def tags(host: str, name: str) -> Dict[str, str]:
    store = open_repository(parse_url(f"oci+http://{host}/{name}"))
    return {tag: store.resolve(tag).digest for tag in store.tags()}


def show(cold: Dict[str, List[Measured]], again: Dict[str, List[Measured]]) -> bool:
    def median(found: Dict[str, List[Measured]], tool: str) -> float:
        return statistics.median(m.seconds for m in found[tool])

    for tool in cold:
        memory = max(m.memory for m in (*cold[tool], *again[tool]))
        print(f"{tool:20} cold {median(cold, tool):7.2f} s, again {median(again, tool):7.2f} s, {memory:5.0f} MiB")
    others = [tool for tool in cold if tool not in ("spack-oci", TAG_BY_TAG)]
    peak = max(m.memory for m in (*cold["spack-oci"], *again["spack-oci"]))
    good = peak < GOAL_MEMORY
    for what, found, goal in (("cold", cold, GOAL_COLD), ("again", again, GOAL_AGAIN)):
        if others:
            ratio = min(median(found, tool) for tool in others) / median(found, "spack-oci")
            print(f"{what}: {ratio:.1f} times as fast as the faster of the others (goal {goal:g})")
            good = good and ratio >= goal
        if TAG_BY_TAG in found:
            ratio = median(found, TAG_BY_TAG) / median(found, "spack-oci")
            print(f"{what}: {ratio:.1f} times as fast as a process for each tag")
    return good


def _processor_time(*registries: DockerRegistry) -> float:
    return sum(cpu_of(registry.process.pid) for registry in registries)


def show_limit(cold: Dict[str, List[Measured]]) -> None:
    """What the registries alone take on this machine: no client can be faster than that."""
    least = min(m.registries for found in cold.values() for m in found) / (os.cpu_count() or 1)
    others = [m.seconds for tool in cold if tool not in ("spack-oci", TAG_BY_TAG) for m in cold[tool]]
    ratio = f"; the best possible ratio to the faster of the others: {min(others) / least:.1f}" if others else ""
    print(f"the registries take {least:.2f} s of all processors at least{ratio}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", type=Path)
    parser.add_argument("--packages", type=int, default=200)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--crane", type=Path)
    parser.add_argument("--work", type=Path, help="directory for registries and directories")
    parser.add_argument("--spack", type=Path)
    args = parser.parse_args()
    cold: Dict[str, List[Measured]] = {}
    again: Dict[str, List[Measured]] = {}
    with contextlib.ExitStack() as stack:
        new = partial(tempfile.TemporaryDirectory, dir=args.work, prefix="bench-copy-")
        directory = Path(stack.enter_context(new()))
        source = stack.enter_context(docker_registry(directory=Path(stack.enter_context(new())), fast=True))
        fill(f"oci+http://{source.host}/{NAME}", args)
        wanted = tags(source.host, NAME)
        print(f"{len(wanted)} tags", flush=True)
        for number in range(args.rounds):
            for tool in commands(args, source.host, "HOST", directory):
                # each alone in a new registry, so that none finds blobs of another
                with new() as place, docker_registry(directory=Path(place), fast=True) as target:
                    command, name = commands(args, source.host, target.host, directory / f"{number}")[tool]
                    environment = {"PYTHONPATH": str(ROOT / "lib")}
                    before = _processor_time(source, target)
                    copied = run(tool, command, **environment)
                    copied = copied._replace(registries=_processor_time(source, target) - before)
                    cold.setdefault(tool, []).append(copied)
                    run(tool, command, **environment)
                    again.setdefault(tool, []).append(run(tool, command, **environment))
                    missing = wanted.items() - tags(target.host, name).items()
                    if missing and not number:
                        print(f"{tool} has not copied {sorted(tag for tag, _ in missing)[:5]}", flush=True)
    show_limit(cold)
    return 0 if show(cold, again) else 1


if __name__ == "__main__":
    sys.exit(main())
