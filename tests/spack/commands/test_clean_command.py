# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci clean`."""

import json

import pytest

pytestmark = pytest.mark.one_spack


@pytest.fixture
def spack(source, new_cache):
    instance = source()
    instance.use(new_cache("layout"))
    return instance


def test_cached_layers_go_and_the_mirror_stays(spack):
    spack.run("oci", "push", "cache", "oci-app")
    blobs = spack.user_cache / "oci" / "blobs" / "blobs" / "sha256"
    assert len(list(blobs.iterdir())) == 4
    first = json.loads(spack.run("oci", "clean", "--json").stdout)
    assert first["blobs"] == 4 and first["bytes"] > 0
    assert not list(blobs.iterdir())
    assert "Removed 0 cached blobs" in spack.run("oci", "clean").stdout
    # everything is still in the mirror, and can be packed again to the same layers
    forced = json.loads(spack.run("oci", "push", "--force", "--json", "cache", "oci-app").stdout)
    assert forced["pushed"] == 4 and forced["bytes_sent"] == 0 < forced["bytes_read"]


def test_short_names_of_packages_that_are_gone(destination, new_cache):
    spack = destination()
    spack.use(new_cache("layout"))
    aliases = spack.home / "opt" / ".a"
    (spack.home / "opt" / "there").mkdir(parents=True)
    aliases.mkdir()
    (aliases / "alive").symlink_to("../there")
    (aliases / "dead").symlink_to("../gone")
    cleaned = json.loads(spack.run("oci", "clean", "--json").stdout)
    assert cleaned["aliases"] == [str(aliases / "dead")]
    assert [path.name for path in aliases.iterdir()] == ["alive"]
