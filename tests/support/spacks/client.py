# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci` as a user runs it: a process of its own, a home of its own, no Spack."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, Optional, Union

from support.spacks.spack_instance import REPOSITORY


class ClientFailed(AssertionError):
    """A command that should have succeeded did not; the message has all of its output."""


class Client:
    """Everything it writes is below ``home``, or in the store that a command names."""

    def __init__(self, home: Path, python: Union[str, Path] = sys.executable) -> None:
        self.home = home
        self.python = str(python)
        home.mkdir(parents=True, exist_ok=True)

    def env(self, **more: str) -> Mapping[str, str]:
        keep = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
        return {
            **{k: os.environ[k] for k in keep if k in os.environ},
            "HOME": str(self.home),
            "PYTHONPATH": str(REPOSITORY / "lib"),
            **more,
        }

    def popen(self, *arguments: Any, env: Optional[Mapping[str, str]] = None, **more: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.python, "-m", "spack_oci", *map(str, arguments)],
            env={**self.env(), **(env or {})},
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )

    def run(
        self,
        *arguments: Any,
        check: bool = True,
        input: str = "",
        env: Optional[Mapping[str, str]] = None,
        timeout: float = 120,
        **more: Any,
    ) -> "subprocess.CompletedProcess[str]":
        """``check``: raise ClientFailed when it fails."""
        with self.popen(*arguments, env=env, **more) as process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        if check and done.returncode != 0:
            words = " ".join(map(str, arguments))
            raise ClientFailed(f"spack-oci {words}: exit code {done.returncode}\n--- stdout\n{out}\n--- stderr\n{err}")
        return done

    def json(self, *arguments: Any, **more: Any) -> Any:
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def packages(self, *arguments: Any, **more: Any) -> Any:
        """What `list` has for these arguments."""
        return self.json("list", *arguments, **more)["packages"]

    def names(self, store: Path) -> "set[str]":
        """NAME@VERSION of what is installed in a store."""
        return {f"{p['name']}@{p['version']}" for p in self.packages("--store", store)}


def build_store(path: Path, *packages: str) -> Path:
    """A store with the test packages, see ``build_store.py``."""
    program = Path(__file__).with_name("build_store.py")
    done = subprocess.run([sys.executable, str(program), str(path), *packages], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return path
