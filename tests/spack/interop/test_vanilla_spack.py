# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The harness itself, with Spack alone: if these fail, no other failure in this directory means anything."""

import pytest
from support.spacks.stack_checks import check_stack, listed


@pytest.fixture(params=["old", "new"])
def installer(request) -> str:
    return request.param


def test_the_packages_work_where_they_were_built(built):
    check_stack(built)


@pytest.mark.one_spack
def test_vanilla_pushes_and_vanilla_installs(built, source, destination, installer, tmp_path):
    """Over a file mirror, which needs nothing but Spack: the packages relocate at all."""
    mirror = (tmp_path / "mirror").as_uri()
    pusher = source(ours=False)
    pusher.mirrors(cache=mirror)
    pusher.run("buildcache", "push", "--unsigned", "--update-index", "cache", "oci-stack")

    consumer = destination(ours=False, installer=installer)
    consumer.mirrors(cache=mirror)
    assert "oci-app" in listed(consumer)
    consumer.install_from_cache("oci-stack")
    check_stack(consumer, foreign=[built.tree])


@pytest.mark.one_spack
def test_instances_leave_the_checkout_alone(built, tmp_path):
    """What a test configures must not be seen by the next one."""
    other = built.sibling(tmp_path / "other")
    other.run("config", "add", "config:build_jobs:1")
    other.run("mirror", "add", "--unsigned", "mine", "oci+http://localhost:1/x")
    assert "mine" in other.run("mirror", "list").stdout
    assert "mine" not in built.run("mirror", "list").stdout
    assert "build_jobs: 1" not in built.run("config", "--scope", "user", "get", "config").stdout


@pytest.mark.one_spack
def test_without_a_cache_nothing_is_installed(destination, installer):
    """install_from_cache proves something: it fails rather than build."""
    done = destination(ours=False, installer=installer).install_from_cache("oci-leaf", check=False)
    assert done.returncode != 0
