# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A recipe that is gone, fails, or says what is no text: its package is named, and the others are pushed."""

import json
import shutil

import pytest

PACKAGE = """
import os
from spack.package import license, version
from spack_repo.ocitest.build_systems.native import NativePackage, write


class {name}(NativePackage):
    version("1.0")
    {values}

    def install(self, spec, prefix):
        write(prefix.bin.odd, "#!/bin/sh", 0o755)

    def setup_run_environment(self, env):
        {environment}
"""
PACKAGES = {
    "odd-gone": ("", "pass"),
    "odd-raises": ("", "env.set('ODD', os.environ['IS_INSTALLING'])"),
    "odd-text": ("", r"env.set('ODD', 'a\ud800b')"),
    "odd-url": (r'homepage = url = "https://example.org/\ud800"; license("MIT\ud800")', "pass"),
    "plain": ("", "pass"),
}


@pytest.fixture
def repository(tmp_path):
    repository = tmp_path / "repository" / "spack_repo" / "odd"
    for name, (values, environment) in PACKAGES.items():
        directory = repository / "packages" / name.replace("-", "_")
        directory.mkdir(parents=True)
        class_name = "".join(part.capitalize() for part in name.split("-"))
        text = PACKAGE.format(name=class_name, values=values, environment=environment)
        (directory / "package.py").write_text(text)
    (repository / "repo.yaml").write_text("repo: {namespace: odd, api: v2.1}\n")
    return repository


def test_an_odd_recipe_fails_its_own_package_alone(source, new_cache, repository, tmp_path):
    spack, cache = source(tree=tmp_path / "opt", padded_length=0), new_cache("layout")
    spack.use(cache)
    before = json.loads((spack.base_scope / "repos.yaml").read_text())["repos:"]
    spack.write_config("repos:", {"odd": str(repository), **before}, spack.base_scope)
    spack.run("install", *PACKAGES, env={"IS_INSTALLING": "yes"})
    shutil.rmtree(repository / "packages" / "odd_gone")

    planned = spack.run("oci", "push", "--dry-run", "cache", *PACKAGES).stdout
    assert any(line.startswith("fail") and "odd-gone" in line for line in planned.splitlines()), planned
    done = spack.run("oci", "push", "--json", "--sbom", "cache", *PACKAGES, check=False)
    outcomes = {one["name"]: one for one in json.loads(done.stdout)["packages"]}
    assert done.returncode == 1
    assert {name for name, one in outcomes.items() if one["status"] == "pushed"} == {"odd-url", "plain"}
    assert "not found" in outcomes["odd-gone"]["error"] and "spack repo add" in outcomes["odd-gone"]["error"]
    assert "KeyError: 'IS_INSTALLING'" in outcomes["odd-raises"]["error"]
    assert r"a\ud800b" in outcomes["odd-text"]["error"] and "correct" in outcomes["odd-text"]["error"]
    for name, one in outcomes.items():
        assert f"{name}@1.0/" in one.get("error", f"{name}@1.0/")
