# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages of an upstream, pushed by a Spack whose own store is far from it: their old prefixes have two roots."""

import tempfile
from pathlib import Path

import pytest
from support.spacks.stack_checks import check_app


@pytest.mark.one_spack
@pytest.mark.parametrize("way", ["oci install", "old", "new"])
def test_what_was_pushed_from_an_upstream_is_installed_elsewhere(built, destination, new_cache, way):
    cache = new_cache("layout")
    with tempfile.TemporaryDirectory(prefix="s") as far:
        pusher = destination(name="pusher", tree=Path(far) / "opt")
        push_from_upstream(pusher, built, cache)
    spack = destination(installer=None if way == "oci install" else way)
    spack.use(cache)
    if way == "oci install":
        spack.run("oci", "install", "oci-app")
    else:
        spack.install_from_cache("oci-app")
    check_app({name: spack.prefix(name) for name in ("oci-app", "oci-middle", "oci-leaf")})


def push_from_upstream(pusher, built, cache):
    upstream = built.prefix("oci-app").parents[1]  # the root with its padding
    pusher.use(cache)
    pusher.write_config("upstreams", {"built": {"install_tree": str(upstream)}})
    pusher.run("oci", "push", "--update-index", "cache", "oci-app")
