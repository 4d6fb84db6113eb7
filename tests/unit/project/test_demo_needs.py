# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`make demo` where something is missing: two lines, exit code 2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo" / "demo.py"


@pytest.fixture
def demo(tmp_path):
    """``demo("gcc", "git", VARIABLE="value")``: run it with these programs and nothing else on PATH."""

    def run(*programs, arguments=(), **environment):
        path = tmp_path / "bin"
        path.mkdir()
        for program in programs:
            found = shutil.which(program)
            if not found:
                pytest.skip(f"{program} is not installed")
            (path / program).symlink_to(found)
        place = {"SPACK_OCI_DEMO_DIRECTORY": str(tmp_path / "demo"), "HOME": str(tmp_path), "PATH": str(path)}
        return subprocess.run(
            [sys.executable, str(DEMO), *arguments],
            env={**place, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


def two_lines(done):
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    return lines


def test_no_spack_is_no_reason_to_stop(demo):
    """Not set, not on PATH, and no git that could get it: the next thing is asked for."""
    said = two_lines(demo("gcc", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull))
    assert "pip cannot install" in said[0] and "package index" in said[1]


def test_spack_root_that_is_none(demo, tmp_path):
    said = two_lines(demo("gcc", SPACK_ROOT=str(tmp_path)))
    assert str(tmp_path) in said[0] and "SPACK_ROOT" in said[1]


def test_no_compiler(demo):
    assert "gcc" in two_lines(demo())[1]


def test_no_registry(demo):
    said = two_lines(demo("gcc", arguments=["--registry"]))
    assert "docker-registry" in said[0] and "make demo" in said[1]


def test_the_code_of_a_spack_is_copied_without_its_configuration(tmp_path):
    """A user's site configuration has no say in the demo, and nothing is written into his Spack."""
    root = tmp_path / "theirs"
    for directory in ("bin", "lib/spack", "share/spack", "var/spack/test_repos/spack_repo/builtin_mock"):
        (root / directory).mkdir(parents=True)
    (root / "etc" / "spack" / "defaults").mkdir(parents=True)
    (root / "etc" / "spack" / "config.yaml").write_text("config: {build_jobs: 1}\n")
    (root / "bin" / "spack").write_text("#!/bin/sh\n")
    before = sorted(os.listdir(root))
    sys.path.insert(0, str(DEMO.parent))
    try:
        import demo
    finally:
        sys.path.remove(str(DEMO.parent))
    copy = demo.copy_of_spack(root, tmp_path / "copy")
    assert (copy / "bin" / "spack").is_file() and (copy / "etc" / "spack" / "defaults").is_dir()
    assert not (copy / "etc" / "spack" / "config.yaml").exists()
    assert sorted(os.listdir(root)) == before
