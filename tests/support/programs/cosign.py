# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The real cosign, as an independent signer and verifier."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, List

import pytest

PASSWORD = "a password"
_OFFLINE = ["--allow-http-registry", "--allow-insecure-registry"]


def cosign(*arguments: str, check: bool = True, program: str = "cosign") -> "subprocess.CompletedProcess[str]":
    """Run it; the test is skipped where it is not installed."""
    if not shutil.which("cosign"):
        pytest.skip("cosign 2 is not installed (Debian 13: apt-get install cosign)")
    environment = {**os.environ, "COSIGN_PASSWORD": PASSWORD}
    done = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0 or not check, f"cosign {' '.join(arguments)}: {done.stderr}"
    return done


def cosign_key(directory: Path, name: str = "cosign") -> Path:
    """A pair of keys that cosign made; the path without .key and .pub."""
    cosign("generate-key-pair", "--output-key-prefix", str(directory / name))
    return directory / name


def cosign_sign(key: Path, image: str) -> None:
    cosign("sign", "--key", f"{key}.key", "--tlog-upload=false", *_OFFLINE, "-y", image)


def cosign_verify(key: Path, image: str) -> List[Any]:
    """The payloads that it accepted. A cosign 3 beside it, installed as ``cosign3``, has to accept the same."""
    words = ["verify", "--key", f"{key}.pub", "--insecure-ignore-tlog=true", *_OFFLINE, image]
    accepted = json.loads(cosign(*words).stdout)
    if shutil.which("cosign3"):
        assert json.loads(cosign(*words, program="cosign3").stdout) == accepted
    return accepted
