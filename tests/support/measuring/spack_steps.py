# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Commands of a real Spack, with this package and without it, measured: processor seconds and peak memory."""

import json
from pathlib import Path
from typing import Any, Dict, Mapping

from support.spacks import spack_instance
from support.spacks.spack_instance import SpackInstance

#: runs in `spack python`
_COMMAND = """
import json, time
from spack.main import SpackCommand
began = time.process_time()
{statement}
cpu = time.process_time() - began
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"cpu": cpu, "peak": peak, "downloaded": 0}}))
"""

#: what the concretizer has done with its mirrors before it begins
READ_INDEXES = "import spack.binary_distribution as bd; assert bd.update_cache_and_get_specs()"


def command(name: str, *words: str) -> str:
    """The statement that runs a command of Spack."""
    return f"SpackCommand({name!r})(*{words!r})"


class MeasuredSpack:
    """The Spack of the tests with one mirror. ``ours``: with this package; ``home``: what it writes is below it."""

    def __init__(self, ours: bool, home: Path, url: str, environment: Mapping[str, str]) -> None:
        home.mkdir(parents=True)
        checkout, python = spack_instance.checkout(spack_instance.RELEASE), spack_instance.python(ours)
        # else the memory would be that of the process that this one is forked from
        cold = {"PYTHONNOUSERSITE": "1", **environment}
        self._spack = SpackInstance(checkout, python, home, external=home, environment=cold)
        self._spack.mirrors(cache=url)

    def run(self, statement: str) -> Dict[str, Any]:
        said = self._spack.script(_COMMAND.format(statement=statement), timeout=3600)
        return {**json.loads(said.splitlines()[-1]), "requests": 0}
