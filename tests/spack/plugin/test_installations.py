# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The ways to install the package: a wheel, and a checkout in `config:extensions`."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.spacks.spack_instance import REPOSITORY

EXTENSION = REPOSITORY / "extension" / "spack-oci"


@pytest.fixture(scope="session")
def dependencies(our_python, tmp_path_factory):
    """A directory for PYTHONPATH with everything that this package needs, and not this package."""
    site = subprocess.run(
        [our_python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    directory = tmp_path_factory.mktemp("dependencies")
    for entry in type(directory)(site).iterdir():
        if not entry.name.startswith(("spack_oci", "_spack_oci")) and entry.suffix != ".pth":
            (directory / entry.name).symlink_to(entry)
    return directory


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The unpacked wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(directory), str(REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    (file,) = directory.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(directory / "unpacked")
    return directory / "unpacked"


def test_the_wheel_has_all_that_it_needs(wheel, dependencies, source, new_cache):
    """Entry points, commands and schemas: vanilla Python plus the wheel is ours, without this checkout."""
    spack = source(ours=False)
    spack.environment["PYTHONPATH"] = f"{wheel}:{dependencies}"
    where = spack.script("import spack_oci; print(spack_oci.__file__)")
    assert str(wheel) in where
    cache = new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
    assert "oci-leaf" in spack.run("buildcache", "list", "--allarch").stdout, "the hooks are there"
    assert json.loads(spack.run("config", "get", "--json", "oci").stdout)["oci"]["hooks"] == {"enabled": True}
    for shell in ("bash", "zsh", "fish"):
        assert Path(spack.run("oci", "completion", "--path", shell).stdout.strip()).is_relative_to(wheel)


def test_an_extension_directory(dependencies, source, new_cache):
    """`config:extensions`: the commands work; other commands of Spack do without us."""
    spack = source(ours=False)
    spack.write_config("config", {"extensions": [str(EXTENSION)]})
    spack.environment["PYTHONPATH"] = str(dependencies)
    cache = new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
    assert "oci-leaf" in spack.run("oci", "list", "--allarch", "cache").stdout
    assert "active in `spack oci` only" in spack.run("oci", "doctor", check=False).stdout


@pytest.mark.one_spack
def test_an_extension_directory_without_the_dependencies(source):
    """One line that names the command which installs what is missing into the Python that runs Spack."""
    spack = source(ours=False)
    spack.write_config("config", {"extensions": [str(EXTENSION)]})
    assert "push" in spack.run("oci", "--help").stdout
    done = spack.run("oci", "list", check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    said = " ".join(done.stderr.split())
    assert f"{spack.python} -m pip install" in said
    for package in ("requests", "zstandard", "pyelftools", "jsonschema"):
        assert package in said
