# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the garbage collector does in a process of one command."""

import subprocess
import sys
from pathlib import Path

LIB = Path(__file__).resolve().parents[3] / "lib"

SCRIPT = """
import gc, sys
sys.path.insert(0, {lib!r})

class Circle:
    def __init__(self, name):
        self.own, self.name = self, name
    def __del__(self):
        print("collected", self.name, flush=True)

old = Circle("old")
from spack_oci.util.concurrency.collector import relax_collector
if {relaxed}:
    relax_collector()
    relax_collector()
del old
new = Circle("new")
del new
gc.collect()
last = Circle("last")
"""


def collected(relaxed):
    script = SCRIPT.format(lib=str(LIB), relaxed=relaxed)
    result = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    return [line.split()[1] for line in result.stdout.splitlines()]


def test_what_was_there_stays_and_nothing_is_looked_at_in_the_end():
    assert collected(relaxed=False) == ["old", "new", "last"]
    assert collected(relaxed=True) == ["new"]
