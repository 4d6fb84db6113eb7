# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Base images: platforms, indexes, errors, and how their layers come into the target."""

import json
from typing import Optional

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.content.platform import Platform, select
from spack_oci.errors import DigestMismatch, Forbidden, ImageError, InvalidContent, InvalidReference
from spack_oci.image.base import resolve as b
from spack_oci.reference import parse_image_reference
from spack_oci.util.progress import Work
from support.images.base_images import prepare_base
from support.memory_store import MemoryStore
from support.recording_reporter import RecordingReporter

AMD64 = Platform("linux", "amd64")


def store_image(
    store: MemoryStore,
    tag: Optional[str] = None,
    platform: Platform = AMD64,
    layers=(b"rootfs",),
    docker: bool = False,
    state_type: bool = True,
    **changes,
) -> d.Descriptor:
    kind = d.DOCKER_LAYER_GZIP if docker else d.OCI_LAYER_GZIP
    blobs = [put_bytes(store, layer, kind) for layer in layers]
    config = {
        **platform.to_document(),
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [d.sha256_digest(b"tar " + layer) for layer in layers]},
        **changes,
    }
    config_blob = put_bytes(store, json.dumps(config).encode(), d.DOCKER_CONFIG if docker else d.OCI_CONFIG)
    media_type = d.DOCKER_MANIFEST if docker else d.OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config_blob.to_dict(),
        "layers": [blob.to_dict() for blob in blobs],
    }
    if not state_type:
        del manifest["mediaType"]
    return store.put_manifest(json.dumps(manifest).encode(), media_type, tag)


def store_index(store: MemoryStore, tag: Optional[str], *entries, docker: bool = False) -> d.Descriptor:
    media_type = d.DOCKER_INDEX if docker else d.OCI_INDEX
    manifests = [
        {**descriptor.to_dict(), **({"platform": platform} if platform else {})} for descriptor, platform in entries
    ]
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()
    return store.put_manifest(data, media_type, tag)


@pytest.fixture
def source() -> MemoryStore:
    return MemoryStore("oci://registry.example/library/debian")


REFERENCE = parse_image_reference("registry.example/library/debian:12")


@pytest.mark.parametrize("docker", [False, True])
def test_a_single_image(source, docker):
    descriptor = store_image(source, "12", docker=docker)
    found = b.resolve_base(source, REFERENCE, AMD64)
    assert found.name == "registry.example/library/debian:12" and found.digest == descriptor.digest
    assert found.is_docker is docker and found.settings["Env"] == ["PATH=/bin"]


def test_a_manifest_that_does_not_state_its_type(source):
    store_image(source, "12", state_type=False)
    assert b.resolve_base(source, REFERENCE, AMD64).manifest["mediaType"] == d.OCI_MANIFEST


@pytest.mark.parametrize("docker", [False, True])
def test_the_platform_is_selected_by_os_architecture_and_variant(source, docker):
    entries = []
    for text in ("linux/arm/v5", "linux/arm64/v8", "linux/amd64", "windows/amd64", "linux/arm/v7"):
        platform = Platform.parse(text)
        image = store_image(source, platform=platform, layers=[text.encode()], docker=docker)
        entries.append((image, platform.to_document()))
    store_index(source, "12", *entries, docker=docker)
    for wanted, expected in [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v5"),
        ("windows/amd64", "windows/amd64"),
    ]:
        found = b.resolve_base(source, REFERENCE, Platform.parse(wanted))
        assert source.blobs[found.layers[0]["digest"]] == expected.encode(), wanted


def test_no_image_for_the_platform_lists_what_there_is(source):
    arm, s390 = Platform.parse("linux/arm64/v8"), Platform.parse("linux/s390x")
    store_index(
        source,
        "12",
        (store_image(source, platform=arm), arm.to_document()),
        (store_image(source, platform=s390), s390.to_document()),
    )
    with pytest.raises(ImageError) as e:
        b.resolve_base(source, REFERENCE, AMD64)
    assert "debian:12 has no image for linux/amd64, only for linux/arm64/v8, linux/s390x" in str(e.value)


def test_attestations_are_no_images(source):
    image = store_image(source)
    attestation = store_image(source, layers=[b"provenance"])
    store_index(source, "12", (attestation, {"os": "unknown", "architecture": "unknown"}), (image, AMD64.to_document()))
    assert b.resolve_base(source, REFERENCE, AMD64).digest == image.digest


def test_entries_without_platform_are_looked_into(source):
    arm = store_image(source, platform=Platform("linux", "arm64"))
    image = store_image(source)
    store_index(source, "12", (arm, None), (image, None))
    assert b.resolve_base(source, REFERENCE, AMD64).digest == image.digest


def test_an_index_in_an_index(source):
    image = store_image(source)
    inner = store_index(source, None, (image, AMD64.to_document()))
    store_index(source, "12", (inner, None))
    assert b.resolve_base(source, REFERENCE, AMD64).digest == image.digest


def test_an_image_of_another_platform(source):
    store_image(source, "12", platform=Platform("linux", "arm64"))
    with pytest.raises(ImageError, match="debian:12 is for linux/arm64, the packages are for linux/amd64"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_an_image_for_newer_processors_is_no_base_for_older_ones(source):
    store_image(source, "12", platform=Platform("linux", "amd64", "v3"))
    with pytest.raises(ImageError, match="is for linux/amd64/v3, the packages are for linux/amd64"):
        b.resolve_base(source, REFERENCE, AMD64)
    assert b.resolve_base(source, REFERENCE, Platform("linux", "amd64", "v4"))


def test_a_base_that_is_not_there(source):
    with pytest.raises(ImageError, match="base image registry.example/library/debian:12 is not there"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_a_base_that_may_not_be_read_keeps_its_error(source):
    source.fail("get_manifest", Forbidden("reading: 403", status=403))
    with pytest.raises(Forbidden, match="reading base image registry.example/library/debian:12: reading: 403"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_an_index_that_names_what_is_not_there(source):
    image = store_image(source)
    store_index(source, "12", (image, AMD64.to_document()))
    del source.manifests[image.digest]
    with pytest.raises(ImageError, match=f"is damaged: its index names {image.digest}"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_a_config_that_is_not_there(source):
    store_image(source, "12")
    config = json.loads(source.get_manifest("12")[1])["config"]["digest"]
    del source.blobs[config]
    with pytest.raises(ImageError, match=f"its config {config} is not there"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_schema_1_is_refused(source):
    source.put_manifest(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "12")
    with pytest.raises(ImageError, match="manifest.v1"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_layers_are_streamed_once(source):
    store_image(source, "12", layers=[b"a" * 100, b"b" * 10, b"a" * 100])
    target = MemoryStore("oci://other.example/cache")
    base, moved = prepare_base(source, REFERENCE, target, AMD64)
    assert {layer["digest"] for layer in base.layers} == set(target.blobs)
    assert (moved.sent, moved.sent_bytes) == (2, 110)
    assert target.calls["mount_blob"] == 0
    source.reset()
    _, moved = prepare_base(source, REFERENCE, target, AMD64)
    assert (moved.present, moved.sent_bytes) == (2, 0) and source.calls["open_blob"] == 1  # the config


def test_layers_are_mounted_within_a_registry(source):
    store_image(source, "12", layers=[b"one", b"two"])
    target = MemoryStore("oci://registry.example/cache", shared={"library/debian": source})
    source.reset()
    _, moved = prepare_base(source, REFERENCE, target, AMD64)
    assert (moved.mounted, moved.sent_bytes) == (2, 0)
    assert source.calls["open_blob"] == 1 and target.calls["put_blob"] == 0


def test_layers_are_streamed_where_the_registry_refuses_to_mount(source):
    store_image(source, "12")
    target = MemoryStore("oci://registry.example/cache")
    _, moved = prepare_base(source, REFERENCE, target, AMD64)
    assert target.calls["mount_blob"] == 1 and moved.sent == 1


@pytest.mark.parametrize(
    "url", ["oci+http://registry.example/cache", "oci+file:///srv/cache", "oci://x.example/debian"]
)
def test_nothing_is_mounted_from_another_registry(source, url):
    store_image(source, "12")
    target = MemoryStore(url)
    prepare_base(source, REFERENCE, target, AMD64)
    assert target.calls["mount_blob"] == 0 and len(target.blobs) == 1


def test_foreign_layers_are_not_copied(source):
    store_image(source, "12")
    base = b.resolve_base(source, REFERENCE, AMD64)
    layer = {**base.layers[0], "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["x"]}
    base = b.Base({**base.manifest, "layers": [layer]}, base.config)
    target = MemoryStore()
    assert b.copy_layers(base, source, target).foreign == 1 and not target.blobs


def test_progress_of_a_copy(source):
    """Which takes as long as the base is large."""
    store_image(source, "12")
    base = b.resolve_base(source, REFERENCE, AMD64)
    told, target = RecordingReporter(), MemoryStore()
    b.copy_layers(base, source, target, reporter=told)
    size = sum(layer["size"] for layer in base.layers)
    assert told.work == Work(len(base.layers), "layers of the base image", size, "copied")
    assert (told.parts, told.bytes, told.ended) == (len(base.layers), size, 1)


def test_a_damaged_layer_is_not_stored(source):
    store_image(source, "12")
    base = b.resolve_base(source, REFERENCE, AMD64)
    source.blobs[base.layers[0]["digest"]] = b"ROOTFS"
    target = MemoryStore()
    with pytest.raises(DigestMismatch):
        b.copy_layers(base, source, target)
    assert not target.blobs
    del source.blobs[base.layers[0]["digest"]]
    with pytest.raises(ImageError, match="its layer .* is not there"):
        b.copy_layers(base, source, target)


def test_platforms():
    assert str(Platform.parse("linux/arm/v7")) == "linux/arm/v7"
    assert Platform.from_document({"os": "linux", "architecture": "unknown"}) is None
    assert Platform.from_document({"os": "linux"}) is None
    with pytest.raises(InvalidReference):
        Platform.parse("amd64")
    candidates = [(Platform.parse(f"linux/amd64{v}"), v) for v in ("", "/v2", "/v3")]
    assert select(candidates, Platform.parse("linux/amd64/v4"), "x") == "/v3"
    assert select(candidates, Platform.parse("linux/amd64"), "x") == ""
    with pytest.raises(ImageError, match="only for no platform at all"):
        select([], AMD64, "x")


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"rootfs": None}, "the config of base image registry.example/library/debian:12 is not valid: rootfs is null"),
        ({"rootfs": {"diff_ids": "x"}}, "rootfs.diff_ids is a string"),
        ({"rootfs": {"diff_ids": ["sha256:short"]}}, r"rootfs.diff_ids\[0\] is not a digest"),
        ({"config": {"Env": "PATH=/bin"}}, "config.Env is a string"),
        ({"config": {"Labels": {"a": 5}}}, "config.Labels.a is a number"),
        ({"history": [5]}, r"history\[0\] is a number"),
    ],
)
def test_a_config_that_is_none_is_refused_by_name(source, changes, match):
    store_image(source, "12", **changes)
    with pytest.raises(InvalidContent, match=match):
        b.resolve_base(source, REFERENCE, AMD64)


def test_a_manifest_that_is_none_is_refused_by_name(source):
    source.put_manifest(b'{"schemaVersion":2,"layers":[]}', d.OCI_MANIFEST, "12")
    with pytest.raises(InvalidContent, match="the manifest of base image .*debian:12 is not valid: config is missing"):
        b.resolve_base(source, REFERENCE, AMD64)


def test_an_index_of_very_many_entries_is_refused(source):
    image = store_image(source)
    inner = store_index(source, None, *[(image, AMD64.to_document())] * 600)
    store_index(source, "12", (inner, None), (inner, None))
    with pytest.raises(ImageError, match="its index has 1202 entries and more"):
        b.resolve_base(source, REFERENCE, AMD64)
