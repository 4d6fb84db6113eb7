# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Projections that put one package into the prefix of another."""

import pytest
from support.spacks.stack_checks import prefixes_of

#: the database of an install that was killed when it had put the prefix in its place
FORGET = """
import spack.store
db = spack.store.STORE.db
with db.write_transaction():
    db.remove(db.query_local("oci-leaf")[0])
"""


@pytest.fixture(scope="module")
def cache(built, our_python, new_cache, tmp_path_factory):
    cache = new_cache("layout")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    spack.use(cache)
    spack.run("oci", "push", "--without-build-dependencies", "--update-index", "cache", "oci-middle")
    return cache


@pytest.fixture
def spack(cache, destination):
    """oci-middle, which depends on oci-leaf, goes into its prefix."""
    spack = destination()
    spack.use(cache)
    projections = {"oci-leaf": "leaf", "oci-middle": "leaf/inner/middle", "all": "{name}-{hash}"}
    spack.write_config("config", {"install_tree": {"root": str(spack.tree), "projections": projections}})
    return spack


@pytest.mark.one_spack
@pytest.mark.parametrize("command", [["install", "--cache-only"], ["oci", "install"]], ids=["install", "oci install"])
def test_a_package_in_the_prefix_of_another_one(spack, command):
    spack.run(*command, "oci-middle")
    prefixes = prefixes_of(spack)
    assert prefixes["oci-middle"] == prefixes["oci-leaf"] / "inner" / "middle"
    assert (prefixes["oci-leaf"] / "lib" / "libleaf.so.1").is_file()
    assert (prefixes["oci-middle"] / "lib" / "libmiddle.so").is_file()


@pytest.mark.one_spack
def test_an_outer_package_that_is_missing_does_not_replace_what_is_in_its_prefix(spack, tmp_path):
    spack.run("oci", "install", "oci-middle")
    (tmp_path / "forget.py").write_text(FORGET)
    spack.run("python", tmp_path / "forget.py")
    inner = spack.tree / "leaf" / "inner" / "middle"
    done = spack.run("oci", "install", "oci-leaf", check=False)
    assert done.returncode != 0 and "installed in its prefix" in done.stderr
    assert (inner / "lib" / "libmiddle.so").is_file()
