# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci du`: each byte is counted once, and what nobody needs anew is named."""

import json

import jsonschema
import pytest
from spack_oci.content import put_bytes
from spack_oci.content.copy import MAX_DEPTH
from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json
from spack_oci.errors import ConfigurationError, NotFound, ServerFailure
from spack_oci.index.update.loop import update_index
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.usage import measure
from spack_oci.util.bars import bar, chart
from spack_oci.util.resources import read_schema
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, node, push_image, push_package, tag_of


def order(version):
    return [int(part) for part in version.split(".")]


@pytest.fixture
def zlib():
    return node("zlib", "1.2")


@pytest.fixture
def store(zlib):
    """Two versions of app on one zlib; and a new zlib that nothing needs."""
    store = MemoryStore()
    push_package(store, [zlib], layer=b"z" * 1000)
    push_package(store, [node("zlib", "1.10")], layer=b"y" * 500)
    for version in ("2.0", "10.0"):
        push_package(store, [node("app", version, [zlib]), zlib], layer=b"a" * int(float(version)))
    update_index(store, QUICK)
    return store


def usage(store, **more):
    found = measure(store, read_contents(store), order, **more)
    document = {"version": 1, **found.to_dict()}
    jsonschema.Draft202012Validator(read_schema("commands/du")).validate(json.loads(json.dumps(document)))
    return found


def test_sizes_by_package_and_by_version(store):
    found = usage(store, manifests=False)
    assert [(p.name, p.builds, p.size) for p in found.by_package] == [("zlib", 2, 1500), ("app", 2, 12)]
    assert [(p.name, p.version, p.size) for p in found.by_version][:2] == [("zlib", "1.2", 1000), ("zlib", "1.10", 500)]
    assert found.total == 1512 and not found.complete


def test_without_manifests_it_takes_few_requests(store):
    store.reset()
    usage(store, manifests=False)
    assert store.requests == 4


def test_old_is_what_no_newest_version_needs(store, zlib):
    found = usage(store)
    # the newest app runs with the older zlib, by numbers and not by letters
    assert list(found.old) == [tag_of(node("app", "2.0", [zlib]))] and found.old_size == 2


def test_layers_of_a_base_are_counted_once_and_so_are_those_of_images(store):
    base = put_bytes(store, b"b" * 3000, OCI_LAYER_GZIP)
    for tag in list(read_contents(store).packages):
        document = json.loads(store.get_manifest(tag)[1])
        document["layers"].insert(0, base.to_dict())
        store.put_manifest(canonical_json(document), OCI_MANIFEST, tag)
    update_index(store, QUICK)
    push_image(store, "tools", b"i" * 70)
    push_image(store, "tools-again", b"i" * 70)
    config = put_bytes(store, b"{}", OCI_CONFIG)
    only_packages = {"schemaVersion": 2, "config": config.to_dict(), "layers": [base.to_dict()]}
    store.put_manifest(canonical_json(only_packages), OCI_MANIFEST, "only-what-packages-have")
    found = usage(store)
    assert [(layer.size, layer.packages) for layer in found.shared] == [(3000, 4)]
    assert found.images == {"tools": 70}
    blobs = {d: len(data) for d, data in store.blobs.items()}
    named = [store.get_manifest(t) for t in (*read_contents(store).packages, *read_contents(store).images)]
    used = {part["digest"] for _, data in named for d in [json.loads(data)] for part in (*d["layers"], d["config"])}
    manifests = {descriptor.digest: descriptor.size for descriptor, _ in named}
    assert found.total == sum(blobs[digest] for digest in used) + sum(manifests.values())


def test_a_tag_that_cannot_be_read_is_named_and_the_rest_counted(store, zlib):
    del store.manifests[store.tagged[tag_of(zlib)]]
    found = usage(store)
    assert list(found.unreadable) == [tag_of(zlib)] and found.packages_size == 1512


def test_a_tag_with_which_the_registry_has_trouble_is_named_and_the_rest_counted(store, zlib):
    troubles = (ServerFailure("502", status=502), RuntimeError("what no check foresaw"))
    for tag, trouble in zip(sorted(read_contents(store).packages), troubles):
        store.fail("get_manifest", trouble, when=lambda reference, tag=tag: reference == tag)
    assert len(usage(store).unreadable) == 2 and usage(store).packages_size == 1512


def test_lists_of_lists_are_asked_for_what_is_in_them_once(store):
    """Each names the next one many times."""
    push_image(store, "tools", b"i" * 70)
    descriptor = store.resolve("tools")
    for level in range(6):
        entries = [descriptor.to_dict()] * 50 + [store.resolve("tools").to_dict()] * 50
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        descriptor = store.put_manifest(canonical_json(document), OCI_INDEX, f"list-{level}")
    store.reset()
    assert usage(store).images["list-0"] == 70
    assert store.calls["get_manifest"] < 100


def test_lists_within_each_other_without_end_are_no_image(store):
    push_image(store, "tools")
    descriptor = store.resolve("tools")
    for _ in range(MAX_DEPTH + 1):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor.to_dict()]}
        descriptor = store.put_manifest(canonical_json(document), OCI_INDEX, "deep")
    assert list(usage(store).unreadable) == ["deep"]


def test_without_an_index_the_command_that_makes_one_is_named():
    store = MemoryStore()
    push_package(store, [node("one")])
    with pytest.raises(ConfigurationError, match="no current index"):
        usage(store)


def test_a_cache_that_has_nothing_is_not_said_to_need_an_index():
    with pytest.raises(NotFound, match="neither packages nor an index"):
        usage(MemoryStore())


def test_bars():
    assert bar(0, 10, 8) == "" and bar(10, 10, 8) == "█" * 8 and bar(5, 10, 8) == "█" * 4
    assert bar(0.001, 10, 8) == "▏" and bar(0.001, 10, 8, ascii_only=True) == "#"


def test_a_chart_has_no_bars_where_there_is_no_room(monkeypatch):
    rows = [(("zlib", "1 MB"), 2.0), (("app", "1 kB"), 1.0)]
    monkeypatch.setenv("COLUMNS", "60")
    lines = chart(rows, ("package", "size"))
    assert lines[0] == "package  size" and lines[1].startswith("zlib     1 MB  ") and len(lines[1]) > len(lines[2])
    monkeypatch.setenv("COLUMNS", "20")
    assert chart(rows, ("package", "size")) == ["package  size", "zlib     1 MB", "app      1 kB"]
