# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The Spack that benchmarks measure when they are given none: a clone with many small packages in its install tree."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Optional

from support.spacks import spack_instance

COUNT = 300
_SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "make_small_packages.py"


def spack_root(given: Optional[Path], version: str = "1.1.0") -> Path:
    """``given``, used with the environment's configuration; or a Spack with small packages, made once.

    ``version``: a key of ``spack_instance.VERSIONS``. The latter's configuration comes into this process's environment.
    """
    if given:
        return given.resolve()
    home = spack_instance.cache_directory() / ("bench" if version == "1.1.0" else f"bench-{version}")
    (home / "repository").mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(
        SPACK_USER_CONFIG_PATH=str(home / "config"),
        SPACK_SYSTEM_CONFIG_PATH=str(home / "system"),
        SPACK_USER_CACHE_PATH=str(home / "cache"),
    )
    root = home / "spack"
    stamp = home / "made"
    made_by = hashlib.sha256(_SCRIPT.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != made_by:
        _make(home, root, version)
        stamp.write_text(made_by)
    return root


def _make(home: Path, root: Path, version: str) -> None:
    if not root.exists():
        spack_instance.clone(spack_instance.VERSIONS[version], root)
    shutil.rmtree(root / "opt", ignore_errors=True)
    repositories = {
        "small": str(home / "repository" / "spack_repo" / "small"),
        "builtin_mock": "$spack/var/spack/test_repos/spack_repo/builtin_mock",
    }
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "repos.yaml").write_text(json.dumps({"repos:": repositories}))
    shutil.rmtree(home / "repository" / "spack_repo", ignore_errors=True)
    repository = home / "repository" / "spack_repo" / "small"
    (repository / "packages").mkdir(parents=True)
    # Spack reads it when it starts
    (repository / "repo.yaml").write_text("repo:\n  namespace: small\n  api: v2.1\n")
    command = [str(root / "bin" / "spack"), "python", str(_SCRIPT), str(home / "repository"), str(COUNT)]
    environment = {**os.environ, "SPACK_PYTHON": str(spack_instance.python(False))}
    subprocess.run(command, env=environment, check=True)
