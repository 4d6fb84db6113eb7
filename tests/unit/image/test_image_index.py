# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One tag for several platforms, also with several pushers at once."""

import json
import random
import threading

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.content.platform import Platform
from spack_oci.errors import ImageError, IndexUpdateError, InvalidReference
from spack_oci.image.index import merge_entries, platform_tag, push_platform
from support.images import image_spec
from support.memory_store import MemoryStore

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def image_for(store: MemoryStore, platform: Platform, text: str = "", docker: bool = False) -> bytes:
    config = put_bytes(
        store,
        json.dumps({**platform.to_document(), "rootfs": {"type": "layers", "diff_ids": []}, "x": text}).encode(),
        d.DOCKER_CONFIG if docker else d.OCI_CONFIG,
    )
    media_type = d.DOCKER_MANIFEST if docker else d.OCI_MANIFEST
    return d.canonical_json({"schemaVersion": 2, "mediaType": media_type, "config": config.to_dict(), "layers": []})


def push(store: MemoryStore, platform: Platform, tag: str = "app", **kwargs) -> d.Descriptor:
    manifest = image_for(store, platform, **kwargs)
    media_type = d.DOCKER_MANIFEST if kwargs.get("docker") else d.OCI_MANIFEST
    return push_platform(store, tag, manifest, media_type, platform, pause=lambda seconds: None)


def platforms(store: MemoryStore, tag: str = "app"):
    descriptor, data = store.get_manifest(tag)
    assert descriptor.media_type in d.INDEX_TYPES
    document = json.loads(data)
    if descriptor.media_type == d.OCI_INDEX:
        image_spec.check_index(document)
    return [str(Platform.from_document(entry["platform"])) for entry in document["manifests"]]


def test_platforms_add_up():
    store = MemoryStore()
    push(store, ARM64)
    assert platforms(store) == ["linux/arm64"]
    push(store, AMD64)
    push(store, Platform("linux", "amd64", "v3"))
    assert platforms(store) == ["linux/amd64", "linux/amd64/v3", "linux/arm64"]
    assert set(store.tagged) == {"app", "app-linux-arm64", "app-linux-amd64", "app-linux-amd64-v3"}


def level(number: int) -> Platform:
    return Platform("linux", "amd64", f"v{number}")


def entries(store, tag="app"):
    """platform -> digest."""
    documents = json.loads(store.get_manifest(tag)[1])["manifests"]
    return {str(Platform.from_document(entry["platform"])): entry["digest"] for entry in documents}


def test_engines_that_know_no_levels_get_the_lowest():
    """podman 4.3 and Docker 20.10 ask for linux/amd64 and take no linux/amd64/v3 for that."""
    store = MemoryStore()
    push(store, level(3), text="three")
    three = d.sha256_digest(image_for(store, level(3), "three"))
    assert entries(store) == {"linux/amd64": three, "linux/amd64/v3": three}
    push(store, level(4), text="four")
    assert entries(store)["linux/amd64"] == three
    push(store, level(2), text="two")
    two = d.sha256_digest(image_for(store, level(2), "two"))
    assert entries(store)["linux/amd64"] == entries(store)["linux/amd64/v2"] == two
    push(store, level(2), text="two again")
    assert entries(store)["linux/amd64"] == entries(store)["linux/amd64/v2"] != two
    push(store, AMD64, text="all")
    assert entries(store)["linux/amd64"] == d.sha256_digest(image_for(store, AMD64, "all"))
    push(store, ARM64)
    push(store, level(3), text="three again")
    assert platforms(store) == ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4", "linux/arm64"]
    assert entries(store)["linux/amd64"] == d.sha256_digest(image_for(store, AMD64, "all"))


def test_a_single_image_of_the_same_architecture_is_replaced():
    """It has no variant in its config, and would be what engines get from then on."""
    store = MemoryStore()
    store.put_manifest(image_for(store, AMD64, "old"), d.OCI_MANIFEST, "app")
    push(store, level(3), text="new")
    new = d.sha256_digest(image_for(store, level(3), "new"))
    assert entries(store) == {"linux/amd64": new, "linux/amd64/v3": new}


def test_a_new_image_of_a_platform_replaces_the_old_one():
    store = MemoryStore()
    push(store, AMD64, text="old")
    push(store, ARM64)
    push(store, AMD64, text="new")
    assert platforms(store) == ["linux/amd64", "linux/arm64"]
    entries = json.loads(store.get_manifest("app")[1])["manifests"]
    assert entries[0]["digest"] == d.sha256_digest(image_for(store, AMD64, "new"))


def test_a_single_image_becomes_an_index():
    store = MemoryStore()
    store.put_manifest(image_for(store, ARM64), d.OCI_MANIFEST, "app")
    push(store, AMD64)
    assert platforms(store) == ["linux/amd64", "linux/arm64"]


def test_docker_images_get_docker_index():
    store = MemoryStore()
    push(store, AMD64, docker=True)
    push(store, ARM64, docker=True)
    assert store.get_manifest("app")[0].media_type == d.DOCKER_INDEX
    push(store, Platform("linux", "s390x"))
    assert store.get_manifest("app")[0].media_type == d.OCI_INDEX


def test_other_tags_are_not_platforms():
    store = MemoryStore()
    for tag in ("app-server-2", "app-linux", "app-linux-amd64-v9", "application-linux-arm64", "app-foo-arm64"):
        store.put_manifest(image_for(store, AMD64, tag), d.OCI_MANIFEST, tag)
    push(store, AMD64)
    assert platforms(store) == ["linux/amd64"]


def test_the_index_is_reproducible():
    entries = {ARM64: d.Descriptor.of(b"1", d.OCI_MANIFEST), AMD64: d.Descriptor.of(b"2", d.OCI_MANIFEST)}
    assert merge_entries(entries) == merge_entries(dict(reversed(list(entries.items()))))


def test_an_index_with_attestations_is_left_alone():
    store = MemoryStore()
    manifest = store.put_manifest(image_for(store, AMD64), d.OCI_MANIFEST)
    entry = {**manifest.to_dict(), "platform": {"os": "unknown", "architecture": "unknown"}}
    index = {"schemaVersion": 2, "mediaType": d.OCI_INDEX, "manifests": [entry]}
    before = store.put_manifest(json.dumps(index).encode(), d.OCI_INDEX, "app")
    with pytest.raises(ImageError, match="no platform's image"):
        push(store, AMD64)
    assert store.resolve("app").digest == before.digest


def test_a_pusher_that_writes_between_our_read_and_write_is_not_lost():
    store = MemoryStore()
    other = []

    def interfere(reference):
        if reference == "app" and not other:
            other.append(True)
            push(store, ARM64)

    store.before["put_manifest"] = interfere
    push(store, AMD64)
    assert platforms(store) == ["linux/amd64", "linux/arm64"]


def test_a_pusher_that_died_before_the_index_is_added():
    store = MemoryStore()
    store.put_manifest(image_for(store, ARM64), d.OCI_MANIFEST, "app-linux-arm64")
    push(store, AMD64)
    assert platforms(store) == ["linux/amd64", "linux/arm64"]


def test_an_index_that_never_agrees_is_an_error():
    store = MemoryStore()
    count = iter(range(100))

    def interfere(reference):
        if reference == "app":
            store.before.pop("get_manifest", None)
            push_other = image_for(store, ARM64, str(next(count)))
            store.put_manifest(push_other, d.OCI_MANIFEST, "app-linux-arm64")
            store.before["get_manifest"] = interfere

    store.before["get_manifest"] = interfere
    with pytest.raises(IndexUpdateError, match="app-linux-amd64"):
        push(store, AMD64)


def test_many_pushers_at_once():
    """Nine platforms, twenty rounds, each pusher delayed at random between its steps."""
    everybody = [Platform("linux", a) for a in ("amd64", "arm64", "s390x", "ppc64le", "riscv64", "386")]
    everybody += [Platform("linux", "amd64", v) for v in ("v2", "v3", "v4")]
    for seed in range(20):
        store = MemoryStore()
        randoms = random.Random(seed)
        waits = [randoms.random() / 500 for _ in range(1000)]
        pause = threading.Event()
        for verb in ("put_manifest", "get_manifest", "tags"):
            store.before[verb] = lambda reference, waits=waits, pause=pause: pause.wait(waits.pop() if waits else 0)

        def run(platform, store=store, pause=pause):
            manifest = image_for(store, platform)
            push_platform(store, "app", manifest, d.OCI_MANIFEST, platform, pause=lambda s: pause.wait(s / 50))

        threads = [threading.Thread(target=run, args=(platform,)) for platform in everybody]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert platforms(store) == sorted(map(str, everybody)), seed


def test_tags_of_platforms():
    assert platform_tag("app", Platform("linux", "arm64", "v8")) == "app-linux-arm64-v8"
    with pytest.raises(InvalidReference):
        platform_tag("a" * 120, ARM64)
