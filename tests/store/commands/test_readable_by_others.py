# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What we push is what the OCI specifications say: skopeo reads every tag, the schemas accept every document."""

import gzip
import hashlib
import json

import pytest
from support.images.image_spec import check_config, check_manifest
from support.registries.docker_registry import PASSWORD, USER
from support.spacks.caches import SECRET_VARIABLE
from support.spacks.client import Client


@pytest.fixture(
    scope="module", params=["layout", *(pytest.param(kind, marks=pytest.mark.registry) for kind in ("http", "tls"))]
)
def cache(request, built, new_cache, tmp_path_factory):
    cache = new_cache(request.param)
    client = Client(tmp_path_factory.mktemp("pusher"))
    env = dict(cache.environment)
    if SECRET_VARIABLE in env:
        client.run("login", "-u", USER, "--password-stdin", cache.url, input=PASSWORD, env=env)
    client.run("push", "--update-index", built, cache.url, "oci-stack", env=env)
    return cache


def is_package(tag):
    return tag.endswith(".spack") and tag != "index.spack"


def test_every_tag_is_inspected_and_valid(cache):
    """Those of the index too, except that Spack's has an empty config."""
    tags = cache.tags()
    assert "index.spack" in tags and sum(map(is_package, tags)) == 7, tags
    for tag in tags:
        manifest = json.loads(cache.raw_manifest(tag))
        check_manifest(manifest)
        if not is_package(tag):
            continue
        config = cache.config(tag)
        check_config(config)
        assert config["architecture"] and config["os"]
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
        assert config["spec"]["nodes"][0]["hash"] in tag


def test_every_tag_is_copied_with_matching_digests(cache, tmp_path):
    """``skopeo copy`` checks the blobs' digests; the diff ids are checked here."""
    for tag in cache.tags():
        layers = cache.copy_to_directory(tag, tmp_path / tag)
        if is_package(tag):
            diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(p.read_bytes())).hexdigest()}" for p in layers]
            assert diff_ids == cache.config(tag)["rootfs"]["diff_ids"], tag


def test_the_index_is_json(cache, tmp_path):
    """Whatever the media type of its layer says: the wire format of Spack."""
    layer = cache.copy_to_directory("index.spack", tmp_path / "index")[-1]
    assert "installs" in json.loads(layer.read_bytes())["database"]
