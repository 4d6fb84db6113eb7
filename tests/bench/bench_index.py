# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The index: ours against Spack's own code (`_oci_update_index`, `OCIIndexFetcher`), same registry, same run.

    PYTHON tests/bench/bench_index.py [--spack SPACK_ROOT] [--work DIR] [--packages 2000] [--large 20000]

``SPACK_ROOT``: a Spack 1.1 or newer, which is only read; default: the 1.1.0 of the tests. ``--work`` on a tmpfs
measures best. Each measured step is a process of its own, Spack's in a Python without this package; what is timed is
the function alone, without the start of Python or Spack. ``--large 0`` leaves the second part away.

Part one, ``--packages``: rebuild from nothing, and ten new packages. Part two, ``--large``: rebuild, its memory, ten
new packages, the sizes of the documents, and how long a client takes from nothing to Spack's database in memory.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / "lib"), str(ROOT / "tests")]
sys.path[:0] = PATHS

from spack_oci.content import put_bytes  # noqa: E402
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json, sha256_digest  # noqa: E402
from spack_oci.reference import parse_url  # noqa: E402
from spack_oci.registry import open_repository  # noqa: E402
from support.packages.cache_builder import tag_of  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.spacks import spack_instance  # noqa: E402
from support.specs.spec_universe import Universe  # noqa: E402

#: runs in a fresh Python: argv is the URL and "full", "new-only" (no digests are compared) or "incremental"
OURS = """
import json, resource, sys, time
sys.path[:0] = {paths!r}
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.reference import parse_url
from spack_oci.registry import open_repository
store = open_repository(parse_url(sys.argv[1]))
began = time.perf_counter()
mode = sys.argv[2]
result = update_index(store, UpdateSettings(jobs={jobs}), full=mode == "full", compare_digests=mode != "new-only")
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": seconds, "peak": peak, "cpu": time.process_time(), **result.to_dict()}}))
"""

#: runs in `spack python`: Spack's own update-index for an OCI mirror, as its command calls it
VANILLA = """
import json, resource, tempfile, time
import spack.binary_distribution, spack.oci.image, spack.util.parallel
ref = spack.oci.image.ImageReference.from_url({url!r})
with tempfile.TemporaryDirectory() as tmpdir, spack.util.parallel.make_concurrent_executor() as executor:
    began = time.perf_counter()
    spack.binary_distribution._oci_update_index(ref, tmpdir, executor)
    seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": seconds, "peak": peak}}))
"""

#: runs in `spack python`: from nothing to the specs of the index in memory
LOAD = """
import io, json, sys, tempfile, time
sys.path[:0] = {paths!r}
import pathlib
import spack.binary_distribution as bd
import spack.oci.image
if {ours!r}:
    from spack_oci.index.read import fetch_index
    from spack_oci.reference import parse_url
    from spack_oci.registry import open_repository
    import zstandard
    began = time.perf_counter()
    index = fetch_index(open_repository(parse_url({url!r})))
    text = index.data.decode()
else:
    handler = getattr(bd, "OCIIndexFetcher", None) or bd.OCIIndexHandler
    fetcher = handler.__new__(handler)
    fetcher.local_hash = None
    fetcher.ref = spack.oci.image.ImageReference.from_url({url!r})
    import spack.oci.opener
    fetcher.urlopen = spack.oci.opener.urlopen
    began = time.perf_counter()
    text = fetcher.conditional_fetch().data
fetched = time.perf_counter()
with tempfile.TemporaryDirectory() as tmpdir:
    db = bd.BuildCacheDatabase(tmpdir)
    path = pathlib.Path(tmpdir, "index.json")
    path.write_text(text, encoding="utf-8")
    if hasattr(db, "_read_from_stream"):
        with path.open(encoding="utf-8") as f:
            db._read_from_stream(f)
    else:
        db._read_from_file(path)
    specs = [r.spec for r in db._data.values() if r.in_buildcache]
ended = time.perf_counter()
print(json.dumps({{"fetch": fetched - began, "database": ended - fetched, "specs": len(specs)}}))
"""


class Bench:
    def __init__(self, spack: Path, work: Path, registry: DockerRegistry, jobs: int) -> None:
        self.spack = spack
        self.work = work
        self.registry = registry
        self.jobs = jobs
        self.environment = {
            **os.environ,
            "SPACK_DISABLE_LOCAL_CONFIG": "1",
            "SPACK_USER_CACHE_PATH": str(work / "cache"),
            "PYTHONPATH": "",
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def push(self, url: str, universe: Universe, start: int, stop: int) -> None:
        """Put images of one small layer, the same for all: an index has nothing to do with layers."""
        store = open_repository(parse_url(url))
        layer = put_bytes(store, b"layer", OCI_LAYER_GZIP)

        def put(nodes: List[Dict[str, Any]]) -> None:
            config = {
                "spec": {"_meta": {"version": 5}, "nodes": nodes},
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [sha256_digest(b"layer")]},
                "config": {"Env": ["PATH=/bin:/usr/bin"]},
                "buildcache_layout_version": 2,
                "binary_cache_checksum": {"hash_algorithm": "sha256", "hash": layer.digest.partition(":")[2]},
            }
            manifest = {
                "mediaType": OCI_MANIFEST,
                "schemaVersion": 2,
                "config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(),
                "layers": [layer.to_dict()],
                "annotations": {"org.spack-oci.relocation.prefix-length": "73"},
            }
            store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag_of(nodes[0]))

        documents = universe.documents(start, stop)
        with ThreadPoolExecutor(4) as pool:
            while True:
                batch = list(itertools.islice(documents, 200))
                if not batch:
                    break
                list(pool.map(put, batch))
        store.close()

    def ours(self, url: str, mode: str) -> Dict[str, Any]:
        before = len(self.registry.requests())
        script = OURS.format(paths=PATHS, jobs=self.jobs)
        result = self._json([sys.executable, "-c", script, url, mode])
        return {**result, "requests": len(self.registry.requests()) - before}

    def vanilla(self, url: str) -> Dict[str, Any]:
        before = len(self.registry.requests())
        result = self._spack(VANILLA.format(url=url))
        return {**result, "requests": len(self.registry.requests()) - before}

    def load(self, url: str, ours: bool) -> Dict[str, Any]:
        return self._spack(LOAD.format(url=url, ours=ours, paths=PATHS if ours else []), ours)

    def _spack(self, script: str, ours: bool = False) -> Dict[str, Any]:
        path = self.work / "script.py"
        path.write_text(script)
        # configs that Spack has fetched once stay in its source cache: a new one for each run
        with tempfile.TemporaryDirectory(dir=self.work, prefix="sources-") as sources:
            settings = ["-c", f"config:source_cache:{sources}", "-c", f"config:build_stage:[{sources}/stage]"]
            argv = [str(self.spack / "bin" / "spack"), *settings, "python", str(path)]
            return self._json(argv, {"SPACK_PYTHON": str(spack_instance.python(ours))})

    def _json(self, argv: List[str], environment: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
        done = subprocess.run(argv, env={**self.environment, **(environment or {})}, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{argv[:2]} failed:\n{done.stderr.decode()}")
        return json.loads(done.stdout.decode().strip().splitlines()[-1])


def show(name: str, result: Dict[str, Any]) -> None:
    peak = f", {result['peak']:.0f} MiB" if "peak" in result else ""
    print(f"  {name:34} {result['seconds']:8.2f} s, {result['requests']:6} requests{peak}", flush=True)


def check(what: str, holds: bool) -> bool:
    print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {what}", flush=True)
    return holds


def part_one(bench: Bench, packages: int, new: int, rounds: int) -> bool:
    print(f"{packages} packages, then {new} new ones (best of {rounds})")
    url = bench.registry.mirror_url("bench/small")
    universe = Universe(packages + new * rounds)
    bench.push(url, universe, 0, packages)
    vanilla, full, incremental = [], [], []
    for number in range(rounds):
        vanilla.append(bench.vanilla(url))
        show("Spack, rebuild", vanilla[-1])
        full.append(bench.ours(url, "full"))
        show("ours, rebuild", full[-1])
        bench.push(url, universe, packages + number * new, packages + (number + 1) * new)
        incremental.append(bench.ours(url, "new-only"))
        show(f"ours, {new} new", incremental[-1])
        show("ours, digests compared", bench.ours(url, "incremental"))
        assert incremental[-1]["added"] == new and not incremental[-1]["unreadable"]
    theirs, rebuilt, added = (min(r["seconds"] for r in runs) for runs in (vanilla, full, incremental))
    requests = max(r["requests"] for r in incremental)
    return all(
        [
            check(f"rebuild {theirs / rebuilt:.1f} times as fast (5)", theirs >= 5 * rebuilt),
            check(f"{new} new {theirs / added:.0f} times as fast (50)", theirs >= 50 * added),
            check(f"{new} new with {requests} requests (40)", requests <= 40),
        ]
    )


def part_two(bench: Bench, packages: int, new: int, with_vanilla: bool) -> bool:
    print(f"{packages} packages")
    url = bench.registry.mirror_url("bench/large")
    universe = Universe(packages + new)
    sizes = sorted(len(nodes) for nodes in universe.documents())
    print(f"  closures of {sizes[0]} to {sizes[-1]} nodes, median {sizes[len(sizes) // 2]}")
    began = time.perf_counter()
    bench.push(url, universe, 0, packages)
    print(f"  pushed in {time.perf_counter() - began:.0f} s", flush=True)
    if with_vanilla:
        show("Spack, rebuild", bench.vanilla(url))
    full = bench.ours(url, "full")
    show("ours, rebuild", full)
    bench.push(url, universe, packages, packages + new)
    incremental = bench.ours(url, "new-only")
    show(f"ours, {new} new", incremental)
    show("ours, digests compared", bench.ours(url, "incremental"))
    print(f"  index.spack {full['database_size'] / 1e6:.1f} MB, ours {full['document_size'] / 1e6:.1f} MB")
    loads: Dict[str, List[Dict[str, Any]]] = {"Spack": [], "ours": []}
    for _ in range(2):
        for name, runs in loads.items():
            runs.append(bench.load(url, name == "ours"))
            assert runs[-1]["specs"] == packages + new
            print(
                f"  {name + ', load':34} {total(runs[-1]):8.2f} s: fetch {runs[-1]['fetch']:.2f}, then Spack's database"
            )
    theirs, ours = (min(map(total, loads[name])) for name in ("Spack", "ours"))
    return all(
        [
            check(f"rebuild with {full['peak']:.0f} MiB (700)", full["peak"] < 700),
            check(f"{new} new in {incremental['seconds']:.1f} s (15)", incremental["seconds"] < 15),
            # on loopback, where the size of what is fetched costs nothing; two per cent: what two runs differ by
            check(f"loading takes {ours:.2f} s, Spack's way {theirs:.2f} s", ours <= 1.02 * theirs),
        ]
    )


def total(load: Dict[str, Any]) -> float:
    return load["fetch"] + load["database"]


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spack", type=Path, help="default: the Spack 1.1.0 of the tests")
    parser.add_argument("--work", type=Path, help="scratch directory (default: a new temporary one)")
    parser.add_argument("--packages", type=int, default=2000)
    parser.add_argument("--new", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", type=int, default=20000)
    parser.add_argument("--vanilla-large", action="store_true", help="also let Spack rebuild the large one")
    parser.add_argument("--jobs", type=int, default=16)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-index-") as work:
        tempfile.tempdir = work
        with docker_registry() as registry:
            spack = args.spack or spack_instance.checkout("1.1.0")
            bench = Bench(spack.resolve(), Path(work), registry, args.jobs)
            held = True
            if args.packages:
                held &= part_one(bench, args.packages, args.new, args.rounds)
            if args.large:
                held &= part_two(bench, args.large, args.new, args.vanilla_large)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
