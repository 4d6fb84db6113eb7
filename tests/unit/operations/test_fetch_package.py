# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Finding a package and bringing its layer to the disk: a miss is a 404, everything else is an error."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, sha256_digest
from spack_oci.errors import (
    ConnectionLost,
    NotAPackage,
    NotFound,
    RateLimited,
    Unauthorized,
)
from spack_oci.operations.install.fetch import find_package
from spack_oci.package.documents import read_package_documents
from support.memory_store import MemoryStore

TAG = "tool-1.0-abc.spack"
LAYER = b"tarball" * 1000
BASE = sha256_digest(b"base")


def document(**changes):
    values = {
        "spec": {"_meta": {"version": 5}, "nodes": [{"name": "tool", "hash": "abc"}]},
        "buildcache_layout_version": 2,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "1" * 64, "sha256:" + "2" * 64]},
    }
    return {**values, **changes}


def put(store, config=None, media_type=OCI_MANIFEST, **changes):
    base = put_bytes(store, b"base", OCI_LAYER_GZIP)
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    config = put_bytes(store, json.dumps(document() if config is None else config).encode(), OCI_CONFIG)
    manifest = {"schemaVersion": 2, "config": config.to_dict(), "layers": [base.to_dict(), layer.to_dict()], **changes}
    store.put_manifest(json.dumps(manifest).encode(), media_type, TAG)
    return layer


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_the_last_layer_is_the_package(media_type):
    store = MemoryStore()
    layer = put(store, media_type=media_type)
    store.log.clear()
    remote = find_package(store, TAG, expected_hash="abc")
    assert (remote.layer, remote.diff_id, remote.dag_hash) == (layer, "sha256:" + "2" * 64, "abc")
    assert [verb for verb, _ in store.log] == ["get_manifest", "open_blob"]


def test_a_config_that_is_gone_is_no_miss():
    store = MemoryStore()
    put(store)
    config = json.loads(store.get_manifest(TAG)[1])["config"]["digest"]
    del store.blobs[config]
    with pytest.raises(NotAPackage, match="the config of .* is missing: push it again with --force"):
        find_package(store, TAG, expected_hash="abc")


@pytest.mark.parametrize(
    "annotations, expected",
    [
        ({"org.spack-oci.relocation.strings": "12"}, {"strings": 12}),
        ({"org.spack-oci.relocation.strings": "\u00b2"}, {}),
        ({"org.spack-oci.relocation.strings": "1" * 5000}, {}),
        ({"org.spack-oci.relocation.strings": "-1"}, {}),
        ({"org.spack-oci.relocation.strings": 5, "org.spack-oci.relocation.prefix-length": "7"}, {"prefix_length": 7}),
        (None, {}),
    ],
)
def test_a_relocation_summary_that_is_no_number_is_none(annotations, expected):
    store = MemoryStore()
    put(store, annotations=annotations)
    assert find_package(store, TAG).relocation_summary == expected


def test_only_the_stores_word_makes_a_miss():
    store = MemoryStore()
    with pytest.raises(NotFound):
        find_package(store, TAG, expected_hash="abc")
    put(store)
    for error in (Unauthorized("no"), RateLimited("slow"), ConnectionLost("cut")):
        store.fail("get_manifest", error, times=1)
        with pytest.raises(type(error)):
            find_package(store, TAG, expected_hash="abc")


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"config": document(spec=None)}, "spec is null, not an object"),
        ({"config": document(spec={"nodes": []})}, "spec.nodes is empty"),
        ({"config": document(spec={"nodes": [{"name": "x", "hash": "other"}]})}, "another package"),
        ({"config": document(buildcache_layout_version=4)}, "newest one known"),
        ({"config": document(buildcache_layout_version="x")}, "layout_version is a string"),
        ({"layers": []}, "layers is empty"),
        ({"annotations": ["a"]}, "annotations is a list, not an object"),
        ({"config": document(buildcache_layout_version=9)}, "a newer Spack wrote it"),
        ({"config": document(buildcache_layout_version=True)}, "layout_version is a boolean, not an integer"),
        ({"config": document(spec={"nodes": [{"hash": "abc", "name": "\ud800"}]})}, "its config is not JSON"),
        ({"layers": [{"digest": BASE}]}, "not a descriptor"),
        ({"layers": None}, "layers is null, not a list"),
        ({"media_type": OCI_INDEX}, "no image manifest"),
    ],
)
def test_something_else_behind_the_tag(changes, match):
    store = MemoryStore()
    put(store, **changes)
    with pytest.raises(NotAPackage, match=match):
        find_package(store, TAG, expected_hash="abc")


def test_a_layer_of_the_image_that_is_described_wrongly_keeps_nobody_from_the_package():
    """An index or an install needs the last layer; images and `verify` need all."""
    store = MemoryStore()
    own = put_bytes(store, LAYER, OCI_LAYER_GZIP).to_dict()
    put(store, layers=[{"digest": BASE}, own])
    documents = read_package_documents(store, TAG)
    assert documents.layer.descriptor.to_dict() == own
    with pytest.raises(NotAPackage, match="not a descriptor.*mediaType"):
        assert documents.layers


def test_the_last_of_all_layers_is_the_package_itself():
    store = MemoryStore()
    put(store)
    documents = read_package_documents(store, TAG)
    assert len(documents.layers) == 2 and documents.layers[-1] is documents.layer


def test_diff_ids_that_do_not_match_the_layers_are_not_used():
    store = MemoryStore()
    put(store, config=document(rootfs={"diff_ids": ["sha256:" + "1" * 64]}))
    assert find_package(store, TAG).diff_id is None
