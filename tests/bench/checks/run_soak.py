#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One cache in a real docker-registry with writers, readers, a prune, a copy and a pusher of what was pruned, all at
the same time, for as long as you like; then two more prunes, and what is wrong afterwards.

    python tests/bench/checks/run_soak.py [--kept 400] [--doomed 200] [--each 8] [--seconds 180] [--layout]

Exit code 1, and a line for each package that was lost or came back and for each finding of a verification.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.reference import LayoutDirectory  # noqa: E402
from support.measuring.soak import Extent, fill, run_together, what_is_wrong  # noqa: E402
from support.registries.docker_registry import docker_registry  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=int, default=400)
    parser.add_argument("--doomed", type=int, default=200)
    parser.add_argument("--each", type=int, default=8, help="writers, and as many readers")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--layout", action="store_true", help="a directory instead of a registry")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        url = LayoutDirectory(str(directory / "cache")).url
        if not args.layout:
            url = stack.enter_context(docker_registry()).mirror_url("soak")
        target = LayoutDirectory(str(directory / "copy")).url
        extent = Extent(max(args.kept, 6), args.doomed, args.each, args.seconds)
        started = time.monotonic()
        kept = fill(url, extent)
        print(f"{len(kept)} packages that stay and {args.doomed} that go, made in {time.monotonic() - started:.0f} s")
        done = run_together(url, target, extent)
        print(", ".join(f"{name}: {count}" for name, count in sorted(done.items())), flush=True)
        wrong = list(what_is_wrong(url, target, kept, done["write"]))
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"{len(wrong)} things are wrong after {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
