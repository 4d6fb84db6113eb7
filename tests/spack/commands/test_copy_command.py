# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci copy`: from a registry to a directory and on, and what a Spack then installs from there."""

import json

import pytest
from support.spacks.stack_checks import check_stack

pytestmark = pytest.mark.one_spack


@pytest.fixture
def pushed(source, new_cache):
    """A Spack with ours, and a registry that has the stack."""
    spack, cache = source(), new_cache("http")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    return spack


def test_a_part_is_copied_and_installs_from_there(pushed, destination, new_cache, built, tmp_path):
    directory = tmp_path / "copy"
    planned = json.loads(pushed.run("oci", "copy", "--dry-run", "--json", "cache", f"{directory}/", "oci-app").stdout)
    assert not directory.exists() and planned["packages"] and not planned["missing"]
    directory.mkdir()  # as one does before, or as a copy that was killed leaves it
    done = pushed.run("oci", "copy", "cache", f"{directory}/", "oci-app")
    assert f"Copied {len(planned['packages'])} tags" in done.stdout
    again = json.loads(pushed.run("oci", "copy", "--json", "cache", f"{directory}/", "oci-app").stdout)
    assert again["copied"] == {} and again["index"] is None
    consumer = destination()
    consumer.run("mirror", "add", "copy", f"oci+file://{directory}")
    consumer.run("install", "--cache-only", "--no-check-signature", "oci-app")
    check_stack(consumer, ("oci-app", "oci-middle", "oci-leaf"), foreign=[built.tree])


def test_what_matches_nothing_is_named(pushed, tmp_path):
    done = pushed.run("oci", "copy", "cache", f"{tmp_path}/copy/", "oci-app@99", check=False)
    assert done.returncode == 1 and "no package that matches oci-app@99" in done.stderr
