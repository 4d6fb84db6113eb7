# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci prune` and pins, on a directory and on a registry that deletes nothing."""

import json

import pytest
from support.registries.docker_registry import docker_registry
from support.spacks.caches import http_cache

pytestmark = pytest.mark.one_spack


def packages(spack):
    document = json.loads(spack.run("oci", "list", "--allarch", "--json", "cache").stdout)
    return {p["name"] for p in document["packages"]}


def test_what_is_not_needed_goes_after_the_grace_period(source, new_cache):
    spack, cache = source(), new_cache("layout")
    spack.use(cache)
    spack.run("oci", "push", "--update-index", "cache", "oci-stack")
    everything = packages(spack)
    shown = spack.run("oci", "prune", "--dry-run", "--keep-specs", "oci-middle", "cache").stdout
    assert "keep    oci-middle" in shown and "(named)" in shown and "remove  oci-stack" in shown
    spack.run("oci", "pin", "cache", "release", "oci-app", "--until", "2090-06-30")
    said = spack.run("oci", "pins", "cache").stdout
    assert said.startswith("release: 1 package, by ") and said.endswith(", until 2090-06-30\n")
    first = json.loads(spack.run("oci", "prune", "--json", "--keep-specs", "oci-middle", "cache").stdout)
    assert first["condemned"] == first["waiting"] and not first["deleted"]
    # neither a pin nor the plan of a prune is an image
    assert spack.run("oci", "list", "--images", "cache").stdout == ""
    kept = packages(spack)
    assert {"oci-app", "oci-middle", "oci-leaf"} <= kept and "oci-stack" not in kept
    # whoever pushes it again saves it
    spack.run("oci", "push", "--update-index", "--only", "package", "cache", "oci-stack")
    assert "oci-stack" in packages(spack)
    spack.run("oci", "unpin", "cache", "release")
    last = json.loads(spack.run("oci", "prune", "--json", "--grace", "0", "--keep-specs", "oci-stack", "cache").stdout)
    # what was needed only to build it is gone
    assert not last["failed"] and packages(spack) == everything - {"oci-codegen"}


def test_nothing_to_keep_and_a_registry_that_deletes_nothing_are_said_before_anything_is_done(source):
    spack = source()
    with docker_registry(delete=False) as registry:
        spack.use(http_cache(registry.host, "spack/cache"))
        spack.run("oci", "push", "--update-index", "cache", "oci-leaf@2.0")
        done = spack.run("oci", "prune", "--dry-run", "cache", check=False)
        assert done.returncode == 1 and "nothing says what to keep" in done.stderr
        done = spack.run("oci", "prune", "--keep-last", "1", "cache", check=False)
        assert done.returncode == 1 and "deletes nothing: switched off (405)" in " ".join(done.stderr.split())
        assert packages(spack) == {"oci-leaf"}
        spack.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
        words = ("prune", "--grace", "0", "--keep-specs", "oci-leaf@2.0", "cache")
        done = spack.run("oci", *words, "--github-api", check=False)
        assert done.returncode == 1 and "--github-api is for ghcr.io" in " ".join(done.stderr.split())
        # the tags cannot go, and are no packages any more
        assert "to a manifest that says that the package is gone" in " ".join(
            spack.run("oci", *words, "--untag").stdout.split()
        )
        assert spack.run("oci", "update-index", "--full", "--strict", "cache").returncode == 0
        listed = json.loads(spack.run("oci", "list", "--allarch", "--json", "cache").stdout)["packages"]
        assert [p["version"] for p in listed] == ["2.0"]
        spack.run("oci", "push", "--update-index", "cache", "oci-leaf@1.0")
        assert len(json.loads(spack.run("oci", "list", "--allarch", "--json", "cache").stdout)["packages"]) == 2
