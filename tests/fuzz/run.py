#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`make fuzz MINUTES=60`: every target, or those that are named, for so many minutes of the processor each.

    run.py [--minutes N] [--seed N] [TARGET...]

Findings are printed and kept in ``corpus/``; exit code 1 if there are any.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from fuzz.harness import fuzz, target_names  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(target_names())}")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    found = 0
    for name in args.targets or target_names():
        outcome = fuzz(name, args.seed, seconds=args.minutes * 60)
        print(outcome, flush=True)
        for finding in outcome.findings:
            print(f"  {finding}", file=sys.stderr)
        found += len(outcome.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
