# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The graph copy: order, what is not sent, what fails alone."""

import json
import os
import threading
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.content.copy import MAX_DEPTH, GraphCopy
from spack_oci.content.platform import Platform
from spack_oci.content.transfer import mountable_repository
from spack_oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    sha256_digest,
)
from spack_oci.errors import ImageError, InvalidContent, NotFound, ServerFailure
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.reference import LayoutDirectory
from support.memory_store import MemoryStore
from support.packages.copies import copy_image


def image(store, tag=None, layers=(b"base", b"top"), docker=False, subject=None, extra_layers=()):
    kinds = (
        (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP) if docker else (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": kinds[0],
        "config": put_bytes(store, b'{"os":"linux"}', kinds[1]).to_dict(),
        "layers": [*(put_bytes(store, data, kinds[2]).to_dict() for data in layers), *extra_layers],
    }
    if subject:
        manifest["subject"] = subject.to_dict()
    return store.put_manifest(json.dumps(manifest).encode(), kinds[0], tag)


def index(store, tag, children, docker=False):
    kind = DOCKER_INDEX if docker else OCI_INDEX
    manifests = [{**d.to_dict(), "platform": dict(zip(("os", "architecture"), p.split("/")))} for p, d in children]
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
    return store.put_manifest(json.dumps(document).encode(), kind, tag)


@pytest.fixture(params=["memory", "layout"])
def destination(request, tmp_path):
    if request.param == "layout":
        return open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    return MemoryStore("oci://other.example/cache")


@pytest.mark.parametrize("docker", [False, True])
def test_index_arrives_whole(destination, docker):
    # Both stores refuse a manifest whose parts are not there, so that this passes only with children before parents.
    source = MemoryStore()
    amd, arm = image(source, docker=docker), image(source, layers=(b"arm",), docker=docker)
    root = index(source, "v1", [("linux/amd64", amd), ("linux/arm64", arm)], docker)
    copied = copy_image(source, destination, "v1")
    assert copied.descriptor == root == destination.resolve("v1")
    assert (copied.manifests, copied.sent) == (3, 4)
    assert destination.get_manifest(arm.digest) == source.get_manifest(arm.digest)
    assert list(destination.tags()) == ["v1"]


def test_second_copy_sends_nothing(destination):
    source = MemoryStore()
    image(source, "v1")
    moved = []
    assert copy_image(source, destination, "v1", progress=moved.append).sent_bytes == sum(moved) > 0
    again = copy_image(source, destination, "v1")
    assert (again.sent, again.manifests) == (0, 0)


def test_new_tag_of_known_manifest_sends_the_manifest_alone():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    image(source, "v1")
    copy_image(source, destination, "v1")
    source.reset()
    copied = copy_image(source, destination, "v1", tag="v2")
    assert copied.manifests == 1
    assert source.calls["open_blob"] == 0
    assert destination.resolve("v2") == copied.descriptor


def test_interrupted_copy_sends_what_is_left():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    root = image(source, "v1")
    top = Descriptor.of(b"top", OCI_LAYER_GZIP)
    source.fail("open_blob", ServerFailure("no"), times=1, when=lambda digest: digest == top.digest)
    with pytest.raises(ServerFailure):
        copy_image(source, destination, "v1")
    assert not destination.manifests
    copied = copy_image(source, destination, "v1")
    assert (copied.sent, copied.present) == (1, 2)
    assert destination.resolve("v1") == root


def test_what_is_under_way_is_cut_off_when_a_copy_is_interrupted(tmp_path):
    """A large layer is not waited for, and nothing of it stays."""
    source, destination = MemoryStore(), open_layout(LayoutDirectory(str(tmp_path)), create=True)
    size, moved, begun = 8 << 20, [], threading.Event()
    image(source, "v1", layers=(b"x" * size,))

    def progress(count):
        moved.append(count)
        begun.set()
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt), GraphCopy(source, destination, progress=progress) as copier:
        threading.Thread(target=lambda: list(copier.copy_all(["v1"])), daemon=True).start()
        assert begun.wait(60)
        raise KeyboardInterrupt
    assert sum(moved) < size
    assert os.listdir(tmp_path / ".spack-oci" / "tmp") == []


def test_shared_blob_is_moved_once():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    for number in range(20):
        image(source, f"v{number}", layers=(b"base", b"%d" % number))
    with GraphCopy(source, destination, jobs=4) as copier:
        outcomes = dict(copier.copy_all([f"v{number}" for number in range(20)]))
    assert len(outcomes) == 20 == len(destination.tagged)
    assert source.calls["open_blob"] == 22


def test_mount_within_a_registry():
    shared = {}
    source = shared["base"] = MemoryStore("oci://registry.example/base", shared)
    destination = shared["cache"] = MemoryStore("oci://registry.example/cache", shared)
    image(source, "v1")
    copied = copy_image(source, destination, "v1")
    assert (copied.mounted, copied.sent, source.calls["open_blob"]) == (3, 0, 0)


def test_refused_mount_is_a_transfer():
    source, destination = MemoryStore("oci://registry.example/base"), MemoryStore("oci://registry.example/cache")
    image(source, "v1")
    copied = copy_image(source, destination, "v1")
    assert (copied.mounted, copied.sent) == (0, 3)
    assert destination.calls["mount_blob"] == 3


@pytest.mark.parametrize(
    "target, origins, expected",
    [
        ("oci://r.example/a", ["oci://r.example/b/c"], "b/c"),
        ("oci://r.example/a", ["oci://r.example/a"], None),
        ("oci://r.example/a", ["oci://r.example/b", "oci://r.example/a"], None),
        ("oci://r.example/a", ["oci+http://r.example/b"], None),
        ("oci://r.example/a", ["oci://q.example/b", "oci+file:///layout"], None),
        ("oci://r.example/a", ["oci://q.example/b", "oci://r.example/b"], "b"),
        ("oci://index.docker.io/a/b", ["oci://docker.io/a/c"], "a/c"),
        ("oci+file:///one", ["oci+file:///two", "oci://r.example/b"], None),
        ("oci://r.example/a", [], None),
        ("oci://r.example/a", ["not a url"], None),
    ],
)
def test_where_a_blob_may_be_mounted_from(target, origins, expected):
    assert mountable_repository(target, origins) == expected


def test_platform_filter():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    amd, arm = image(source), image(source, layers=(b"arm",))
    index(source, "v1", [("linux/amd64", amd), ("linux/arm64", arm)])
    copied = copy_image(source, destination, "v1", platform=Platform("linux", "arm64"))
    assert copied.descriptor == arm == destination.resolve("v1")
    assert len(destination.manifests) == 1
    with pytest.raises(ImageError, match="linux/s390x, only for linux/amd64, linux/arm64"):
        copy_image(source, destination, "v1", platform=Platform("linux", "s390x"))


def test_referrers_of_referrers():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    root = image(source, "v1")
    sbom = image(source, layers=(b"sbom",), subject=root)
    signature = image(source, layers=(b"sig",), subject=sbom)
    copy_image(source, destination, "v1")
    assert destination.referrers(root.digest) == []
    copy_image(source, destination, "v1", referrers=True)
    assert destination.referrers(root.digest) == [sbom]
    assert destination.referrers(sbom.digest) == [signature]


def test_one_failure_does_not_stop_the_others():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    for number in range(5):
        image(source, f"v{number}", layers=(b"%d" % number,))
    source.fail("get_manifest", ServerFailure("no"), when=lambda tag: tag == "v3")
    with GraphCopy(source, destination, jobs=2) as copier:
        outcomes = dict(copier.copy_all([*(f"v{number}" for number in range(5)), "absent"]))
    assert isinstance(outcomes.pop("v3"), ServerFailure)
    assert isinstance(outcomes.pop("absent"), NotFound)
    assert sorted(destination.tagged) == sorted(outcomes) == ["v0", "v1", "v2", "v4"]


def test_error_of_the_destination_is_not_a_miss():
    source, destination = MemoryStore("oci://registry.example/base"), MemoryStore("oci://registry.example/cache")
    image(source, "v1")
    destination.fail("has_blob", ServerFailure("no"), times=1)
    with pytest.raises(ServerFailure):
        copy_image(source, destination, "v1")
    assert source.calls["open_blob"] < 3


def test_foreign_layers_are_left_where_they_are():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:" + "1" * 64,
        "size": 10,
        "urls": ["https://example.com/layer"],
    }
    image(source, "v1", extra_layers=[foreign])
    assert copy_image(source, destination, "v1").sent == 3


def test_unknown_manifest_type_is_refused():
    source = MemoryStore()
    source.put_manifest(b'{"schemaVersion":1}', "application/vnd.docker.distribution.manifest.v1+json", "v1")
    with pytest.raises(InvalidContent, match=r"v1\+json"):
        copy_image(source, MemoryStore("oci://other.example/cache"), "v1")


def nested(store, depth):
    """An image index in an image index in ...: the outermost gets the tag."""
    inner = image(store)
    for level in range(depth):
        inner = index(store, "deep" if level == depth - 1 else None, [("linux/amd64", inner)])
    return inner


def test_an_index_that_is_nested_without_end_is_refused():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    nested(source, 600)
    with pytest.raises(InvalidContent, match=f"more than {MAX_DEPTH} levels"):
        copy_image(source, destination, "deep")
    assert not destination.manifests


def test_referrers_of_referrers_without_end_are_refused():
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    subject = image(source, "v1")
    for number in range(600):
        subject = image(source, layers=(b"%d" % number,), subject=subject)
    with pytest.raises(InvalidContent, match=f"more than {MAX_DEPTH} levels"):
        copy_image(source, destination, "v1", referrers=True)


@pytest.mark.parametrize(
    "document",
    [{"layers": []}, {"config": 5, "layers": []}, {"config": {}, "layers": 5}, {"manifests": 5}],
)
def test_a_manifest_that_is_none_is_refused_by_name(document):
    source = MemoryStore()
    data = canonical_json(document)
    descriptor = Descriptor.of(data, OCI_INDEX if "manifests" in document else OCI_MANIFEST)
    source.manifests[descriptor.digest] = (descriptor.media_type, data)
    source.tagged["v1"] = descriptor.digest
    with pytest.raises(InvalidContent, match=f"the manifest {descriptor.digest} is not valid"):
        copy_image(source, MemoryStore("oci://other.example/cache"), "v1")


def test_a_layer_that_vanished_from_a_registry_is_copied_again_when_all_is_looked_at():
    """Its manifest is there, which is usually enough: to ask for each layer costs a request."""
    source, destination = MemoryStore(), MemoryStore("oci://other.example/cache")
    image(source, "v1", layers=(b"layer",))
    copy_image(source, destination, "v1")
    del destination.blobs[sha256_digest(b"layer")]
    assert copy_image(source, destination, "v1").sent == 0
    assert copy_image(source, destination, "v1", full=True).sent == 1
    assert destination.blobs[sha256_digest(b"layer")] == b"layer"


def test_a_layer_that_vanished_from_a_layout_is_copied_again(tmp_path):
    source, layout = MemoryStore(), LayoutStore(LayoutDirectory(str(tmp_path / "layout")), durable=False)
    layout.create()
    image(source, "v1", layers=(b"layer",))
    copy_image(source, layout, "v1")
    path = tmp_path / "layout/blobs/sha256" / sha256_digest(b"layer").partition(":")[2]
    path.unlink()
    copied = copy_image(source, layout, "v1")
    assert (copied.sent, copied.manifests) == (1, 0)
    assert path.read_bytes() == b"layer"
