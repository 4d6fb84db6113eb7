# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packing alone, without registry and Spack: how near it is to `tar | igzip` and `tar | zstd`, and how it scales.

    python tests/bench/bench_pack.py [STORE] [--work DIR] [--compression gzip zstd]

STORE: an install tree, by default one of small packages that is made for the benchmarks; every prefix below it (a
directory with .spack/spec.json) is packed as a push does it: digest of the tar, digest of the layer, and search for old
prefixes included, which the pipes do not do. Each line is bound to so many cores. `igzip` is of ISA-L (Debian: isal); a
tool that is not there is left out. The layers go to --work (a tmpfs measures best), those of the pipes to nowhere.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.archive.codec import Compression  # noqa: E402
from spack_oci.operations.push.packing import Packing  # noqa: E402
from spack_oci.operations.push.plan import PushSettings  # noqa: E402
from spack_oci.package.record import Package  # noqa: E402
from spack_oci.util.concurrency.processes import available_cores  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402

#: of the same class as our defaults
LIMITS = {"gzip": "igzip -2 -T {cores} -c", "zstd": "zstd -2 -T{cores} -q -c"}


def sizes_of(store: Path) -> Dict[str, int]:
    """Prefix -> bytes of its files."""
    prefixes = {str(path.parent.parent) for path in store.glob("**/.spack/spec.json")}
    return {
        prefix: sum(os.lstat(os.path.join(root, name)).st_size for root, _, names in os.walk(prefix) for name in names)
        for prefix in prefixes
    }


def pack_all(sizes: Dict[str, int], root: str, compression: str, work: str) -> int:
    """Bytes of all layers."""
    settings = PushSettings(compression=Compression.parse(compression))
    with tempfile.TemporaryDirectory(dir=work) as stage:
        packing = Packing(settings, stage, list(sizes.values()), lambda: False)

        def pack(numbered) -> int:
            number, prefix = numbered
            layer, path = packing.pack(package(number, prefix, root), sizes[prefix], lambda count: None)
            os.unlink(path)
            return layer.descriptor.size

        largest_first = enumerate(sorted(sizes, key=lambda prefix: -sizes[prefix]))
        with ThreadPoolExecutor(packing.threads) as pool:
            total = sum(pool.map(pack, largest_first))
        packing.close()
        return total


def package(number: int, prefix: str, root: str) -> Package:
    build_info = {"hash_to_prefix": {"own": prefix}, "sbang_install_path": f"{root}/bin/sbang", "buildpath": root}
    return Package(
        name=os.path.basename(prefix),
        version="1",
        dag_hash=f"{number:032}",
        prefix=prefix,
        spec_document={},
        description="",
        platform=("linux", "amd64"),
        runtime=(),
        build_info=build_info,
        layout_version=2,
    )


def limited(command: List[str], cores: int) -> float:
    """Seconds of a command that may use so many cores."""
    started = time.perf_counter()
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    subprocess.run(command, check=True, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
    return time.perf_counter() - started


def in_parallel(one: float, several: float, cores: int, wanted: int) -> float:
    """Seconds with ``wanted`` cores by Amdahl's law, from those with one and with ``cores``."""
    serial = max(0.0, (several / one - 1 / cores) / (1 - 1 / cores))
    return one * (serial + (1 - serial) / wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("--work", help="directory for layers")
    parser.add_argument("--compression", nargs="+", default=["gzip", "zstd"])
    parser.add_argument("--pack", help=argparse.SUPPRESS)  # in a process of its own: only pack, so compressed
    args = parser.parse_args()
    store = args.store.resolve() if args.store else spack_root(None) / "opt"
    sizes = sizes_of(store)
    if args.pack:
        print(f"  layers: {pack_all(sizes, str(store), args.pack, args.work) / 1e6:.1f} MB")
        return
    total, cores = sum(sizes.values()), available_cores()
    print(f"{len(sizes)} prefixes, {total / 1e6:.0f} MB")
    for compression in args.compression:
        ours = [sys.executable, __file__, str(store), "--pack", compression]
        if args.work:
            ours += ["--work", args.work]
        seconds = {count: limited(ours, count) for count in sorted({1, cores})}
        for count, took in seconds.items():
            limit = seconds_of_pipe(compression, str(store), count)
            beside = f"; {limit[0]}: {limit[1]:.2f} s, {total / limit[1] / 1e6:.0f} MB/s" if limit else ""
            print(f"{compression}, cores: {count}: {took:.2f} s, {total / took / 1e6:.0f} MB/s{beside}")
        if cores > 1:
            projected = in_parallel(seconds[1], seconds[cores], cores, 16)
            print(f"{compression}, 16 cores, projected: {seconds[1] / projected:.1f} times as fast as one")


def seconds_of_pipe(compression: str, store: str, cores: int) -> Optional[tuple]:
    command = LIMITS.get(compression, "").format(cores=cores)
    if not command or not shutil.which(command.split()[0]):
        return None
    pipe = f"tar -C {store} -cf - . | {command} > /dev/null"
    return f"tar | {command}", limited(["sh", "-c", pipe], cores)


if __name__ == "__main__":
    main()
