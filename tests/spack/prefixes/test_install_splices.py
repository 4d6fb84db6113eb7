# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spliced packages run: a library that everything was built with is replaced by another build of it."""

import json
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def cache(built, our_python, new_cache, tmp_path_factory):
    """app -> middle -> leaf@2.0, and leaf@1.0, which was built elsewhere."""
    cache = new_cache("layout")
    pusher = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    home = tmp_path_factory.mktemp("other")
    other = built.sibling(home, python=our_python, tree=home / "opt")
    other.run("install", "--no-cache", "oci-leaf@1.0")
    for spack, spec in ((pusher, "oci-app"), (other, "oci-leaf@1.0")):
        spack.use(cache)
        spack.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", spec)
    leaf = json.loads(other.run("find", "--json", "oci-leaf").stdout)[0]
    return cache, f"oci-leaf/{leaf['hash']}"


@pytest.mark.parametrize("command", [["install", "--cache-only"], ["oci", "install"]], ids=["install", "oci install"])
def test_a_package_whose_dependency_was_spliced_itself(command, cache, destination):
    spack = destination()
    store, replacement = cache
    spack.use(store)
    splice = {"target": "oci-leaf", "replacement": replacement, "transitive": False}
    spack.write_config("concretizer", {"reuse": True, "splice": {"explicit": [splice]}})
    done = spack.run(*command, "oci-app", check=False)
    if "cannot register" in done.stdout + done.stderr:  # Spack 1.2.0.dev0, whose database then recurses without end
        assert done.returncode != 0 and not list(spack.tree.glob("*/oci-app-*"))
        assert spack.run("find", "--format", "{name}").stdout.split() == ["oci-external", "oci-leaf", "oci-middle"]
        return
    assert done.returncode == 0, done.stderr
    found = json.loads(spack.run("find", "--json").stdout)
    prefixes = {p["name"]: spack.run("location", "-i", f"/{p['hash']}").stdout.strip() for p in found}
    said = subprocess.run([f"{prefixes['oci-app']}/bin/hello"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "hello from leaf 1.0" in said.stdout
    for package in (p for p in found if p["name"] != "oci-external"):
        nodes = json.loads(Path(prefixes[package["name"]], ".spack", "spec.json").read_text())["spec"]["nodes"]
        assert nodes[0]["hash"] == package["hash"], "what reads the store anew takes it for another package"
        assert ("build_spec" in nodes[0]) == (package["name"] in ("oci-app", "oci-middle"))
    for name in ("app", "middle", "leaf"):
        assert f"{name}: {prefixes[f'oci-{name}']}/" in said.stdout
