# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Execute docs/tutorial.md and show what differs; with --write, put what was printed into the document."""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "lib")]

from document import TUTORIAL, read_sections, rewrite  # noqa: E402
from support.spacks import spack_instance  # noqa: E402
from support.spacks.obtain import PADDED_LENGTH  # noqa: E402
from walk import Outcome, Walk  # noqa: E402
from world import world  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spack", default="1.1.0", choices=list(spack_instance.VERSIONS))
    parser.add_argument("--write", action="store_true", help="write the outputs into the document")
    parser.add_argument("--all", action="store_true", help="show every command and what it printed")
    arguments = parser.parse_args()
    built = spack_instance.built(arguments.spack, PADDED_LENGTH)
    outcomes: List[Outcome] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutorial-")))
        machines = stack.enter_context(world(directory, built, spack_instance.python(True)))
        walk = Walk(read_sections(), machines, all_outputs=arguments.spack == "1.1.0")
        for title in walk.titles:
            start = time.monotonic()
            found = walk.section(title)
            print(f"{time.monotonic() - start:6.1f} s  {title}", flush=True)
            for outcome in found:
                if arguments.all:
                    print("\n".join([f"{outcome.command.machine}$ {outcome.command.text}", *outcome.printed]))
                elif outcome.problem:
                    print(outcome.problem)
            outcomes += found
    wrong = [outcome for outcome in outcomes if outcome.problem]
    if arguments.write:
        rewrite(TUTORIAL, [(outcome.command, outcome.printed) for outcome in wrong])
        return 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
