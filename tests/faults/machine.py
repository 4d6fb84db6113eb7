# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A machine on which system calls fail on demand: the shim, and the process that runs commands below it."""

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from support.spacks.spack_instance import REPOSITORY

HERE = Path(__file__).resolve().parent
#: all that changes a file system
WRITES = "open,write,truncate,sync,name,remove,mkdir,attr"


def compile_shim(directory: Path) -> Optional[Path]:
    """None: there is no compiler, or this is no Linux."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = directory / "shim.so"
    argv = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "shim.c"), "-ldl"]
    subprocess.run(argv, check=True)
    return library


@dataclass(frozen=True)
class Run:
    """What became of a run. ``calls``: how many the shim has counted."""

    code: int
    out: str
    err: str
    in_time: bool
    seconds: float
    memory: int
    calls: int

    @property
    def said(self) -> str:
        return self.out + self.err


class Machine:
    """Runs commands in processes that are forked from one that has imported everything."""

    def __init__(self, shim: Path, directory: Path) -> None:
        self.shim = shim
        self._directory = directory
        self._counter = directory / "counter"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FAULTS_", "SPACK_", "SSL_", "REQUESTS_"))}
        env.update(PYTHONPATH=f"{REPOSITORY / 'lib'}:{REPOSITORY / 'tests'}", LD_PRELOAD=str(shim))
        self._agent = subprocess.Popen(
            [sys.executable, "-m", "faults.agent"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        home: Path,
        *words: object,
        faults: Optional[Mapping[str, object]] = None,
        limits: Optional[Mapping[str, int]] = None,
        timeout: float = 120.0,
    ) -> Run:
        """``faults``: settings of the shim without their prefix, in any case; ``limits``: see ``agent.limit``."""
        home.mkdir(parents=True, exist_ok=True)
        self._counter.write_bytes(bytes(8))
        settings = {f"FAULTS_{name.upper()}": str(value) for name, value in (faults or {}).items()}
        request: Dict[str, Any] = {
            "words": [str(word) for word in words],
            "env": {"HOME": str(home), "SPACK_OCI_CACHE": str(home / "cache")},
            "faults": {**settings, "FAULTS_COUNTER": str(self._counter)},
            "limits": dict(limits or {}),
            "out": str(self._directory / "out"),
            "err": str(self._directory / "err"),
            "timeout": timeout,
        }
        assert self._agent.stdin and self._agent.stdout
        self._agent.stdin.write(json.dumps(request) + "\n")
        self._agent.stdin.flush()
        answer = json.loads(self._agent.stdout.readline())
        out, err = ((self._directory / name).read_text(errors="replace") for name in ("out", "err"))
        (calls,) = struct.unpack("q", self._counter.read_bytes())
        return Run(out=out, err=err, calls=calls, **answer)

    def close(self) -> None:
        assert self._agent.stdin
        self._agent.stdin.close()
        self._agent.wait(10)
