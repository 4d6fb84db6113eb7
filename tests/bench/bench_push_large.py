# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One generated package of some gigabytes, pushed through the library: time, and peak memory of all processes.

    python tests/bench/bench_push_large.py [--gigabytes 4] [--compression gzip] [--jobs N] [--ahead MIB] [--work DIR]
        [--registry COMMAND] [--limit MIB]

Needs three times the size in ``--work``. Exits with 1 if the peak (proportional set size) is above ``--limit``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_push import PeakMemory  # noqa: E402
from support.packages.prefixes import make_package  # noqa: E402
from support.registries.docker_registry import docker_registry  # noqa: E402
from support.registries.other_registry import other_registry  # noqa: E402

_FILE = 1 << 30

CHILD = """
import sys
from pathlib import Path
from support.packages.prefixes import make_package
from spack_oci.archive.codec import Compression
from spack_oci.util.progress import PlainLines
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.reference import parse_url
from spack_oci.registry.store import open_repository

store, stage, url, compression, jobs, ahead = sys.argv[1:]
package = make_package(Path(store), "large")
settings = PushSettings(Compression.parse(compression), int(jobs), stage=stage, ahead_from=int(ahead) << 20)
target = open_repository(parse_url(url))
result = execute_push(plan_push(target, [package], settings=settings), target, settings=settings, reporter=PlainLines())
sys.exit(len(result.failed))
"""


def fill(prefix: Path, size: int) -> None:
    """Files of a gigabyte: real shared libraries, over and over."""
    sources = sorted(Path("/usr/lib").glob("*-linux-gnu*/*.so*"))
    material = b"".join(path.read_bytes() for path in sources if path.is_file() and not path.is_symlink())[: 256 << 20]
    (prefix / "lib").mkdir(exist_ok=True)
    for number in range(-(-size // _FILE)):
        left = min(_FILE, size - number * _FILE)
        with open(prefix / "lib" / f"data{number}", "wb") as file:
            while left:
                left -= file.write(material[: min(left, len(material))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--compression", default="gzip")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument(
        "--ahead", type=int, default=128, help="MiB from which on it is sent while it is packed; 0: never"
    )
    parser.add_argument("--registry", help="command of another registry, see bench_push.py")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--limit", type=int, default=700, help="MiB")
    args = parser.parse_args()
    size = int(args.gigabytes * (1 << 30))
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-large-") as directory:
        work = Path(directory)
        fill(Path(make_package(work / "store", "large").prefix), size)
        (work / "registry").mkdir()
        with (
            other_registry(args.registry, work / "registry")
            if args.registry
            else docker_registry(directory=work / "registry")
        ) as registry:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            command = [sys.executable, "-c", CHILD, str(work / "store"), str(work / "stage")]
            command += [registry.mirror_url("bench/large"), args.compression, str(args.jobs), str(args.ahead)]
            started, before = time.perf_counter(), os.times()
            process = subprocess.Popen(command, env=environment)
            memory = PeakMemory(process.pid)
            code = process.wait()
            peak, wall, after = memory.stop(), time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    rate = size / wall / 1e6
    print(
        f"{size / 1e9:.1f} GB, {args.compression}: {wall:.1f} s, {rate:.0f} MB/s, {cpu:.1f} s CPU, peak {peak:.0f} MiB"
    )
    sys.exit(code or peak > args.limit)


if __name__ == "__main__":
    main()
