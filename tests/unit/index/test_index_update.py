# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Updating the index of a cache in memory: what is read, what is written, what others do meanwhile."""

import json
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
)
from spack_oci.errors import IndexUpdateError, RateLimited, ServerFailure
from spack_oci.index.model import PackageIndex
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.index.update.read_tags import read_packages
from spack_oci.util.progress import Work
from support.memory_store import MemoryStore
from support.packages.cache_builder import (
    QUICK,
    chain,
    node,
    overwrite_as_spack,
    push_image,
    push_package,
    quick,
    tag_of,
)
from support.packages.index_checks import cached, installs, pushed
from support.recording_reporter import RecordingReporter


@pytest.fixture
def store():
    return MemoryStore()


def test_database_has_packages_and_their_dependencies(store):
    nodes = chain("p", 3)
    push_package(store, nodes)
    push_package(store, nodes[1:])
    result = update_index(store, QUICK)
    assert (result.total, result.added, result.removed, result.unreadable) == (2, 2, 0, {})
    records = installs(store)
    assert {h: (r["ref_count"], r["in_buildcache"]) for h, r in records.items()} == {
        nodes[0]["hash"]: (0, True),
        nodes[1]["hash"]: (1, True),
        nodes[2]["hash"]: (1, False),
    }
    assert records[nodes[0]["hash"]]["spec"] == nodes[0]


def test_manifest_of_the_database_is_what_spack_expects(store):
    update_index(store, QUICK)
    _, data = store.get_manifest(DATABASE_TAG)
    manifest = json.loads(data)
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["config"]["mediaType"] == OCI_CONFIG
    assert [layer["mediaType"] for layer in manifest["layers"]] == [OCI_LAYER_GZIP]
    assert store.blobs[manifest["config"]["digest"]] == b"{}"


def test_second_update_reads_only_what_is_new(store):
    for number in range(10):
        push_package(store, [node(f"p{number}")])
    update_index(store, QUICK)
    push_package(store, [node("new")])
    store.reset()
    result = update_index(store, QUICK)
    assert (result.total, result.added) == (11, 1)
    read = [reference for verb, reference in store.log if verb == "get_manifest" and reference.endswith(".spack")]
    assert read == [tag_of(node("new"))]


def test_progress_of_an_update(store):
    for number in range(10):
        push_package(store, [node(f"p{number}")])
    told = RecordingReporter()
    update_index(store, quick(reporter=told))
    assert told.work == Work(10, "tags read") and told.parts == 10
    told = RecordingReporter()
    update_index(store, quick(reporter=told))
    assert told.work == Work(10, "tags compared") and told.parts == 10 and told.ended


def test_ten_new_packages_need_at_most_forty_requests(store):
    for number in range(50):
        push_package(store, [node(f"p{number}")])
    update_index(store, QUICK)
    for number in range(10):
        push_package(store, [node(f"new{number}")])
    store.reset()
    update_index(store, QUICK)
    # a blob that is not there costs three: is it there? begin, send
    assert store.requests + 2 * 2 <= 40 + 50  # and one for each package that the index knows


def test_ten_pushed_packages_are_merged_with_few_requests(store):
    for number in range(50):
        push_package(store, [node(f"p{number}")])
    update_index(store, QUICK)
    own = [pushed(store, [node(f"new{number}")]) for number in range(10)]
    store.reset()
    merge_pushed(store, own, QUICK)
    assert store.requests <= 20


def test_complete_index_is_not_written_again(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    store.reset()
    result = update_index(store, QUICK)
    assert (result.writes, result.total, result.added) == (0, 1, 0)
    assert store.calls["put_manifest"] == store.calls["put_blob"] == 0


def test_gone_tags_are_dropped_with_what_only_they_needed(store):
    one, two = chain("one", 3), chain("two", 2)
    push_package(store, one)
    push_package(store, two)
    update_index(store, QUICK)
    store.delete_manifest(tag_of(one[0]))
    result = update_index(store, QUICK)
    assert (result.total, result.removed) == (1, 1)
    assert set(installs(store)) == {n["hash"] for n in two}


def test_dropped_package_stays_as_a_dependency(store):
    nodes = chain("p", 2)
    push_package(store, nodes)
    push_package(store, nodes[1:])
    update_index(store, QUICK)
    store.delete_manifest(tag_of(nodes[1]))
    update_index(store, QUICK)
    assert cached(store) == {nodes[0]["hash"]}
    assert set(installs(store)) == {n["hash"] for n in nodes}


def test_full_reads_everything_again_and_writes_only_what_changed(store):
    for number in range(5):
        push_package(store, [node(f"p{number}")])
    update_index(store, QUICK)
    store.reset()
    assert update_index(store, QUICK, full=True).writes == 0
    read = [tag for verb, tag in store.log if verb == "get_manifest" and tag.startswith("p")]
    assert len(read) == 5
    assert store.calls["put_manifest"] == 0


def test_reading_does_not_run_ahead_of_what_was_taken_over(store):
    """However many packages there are, few documents are in memory."""
    for number in range(60):
        push_package(store, [node(f"p{number}")])
    store.reset()
    results = read_packages(store, sorted(store.tagged), 3, PackageIndex(), lambda attempt: None)
    next(results)
    time.sleep(0.2)
    assert store.calls["get_manifest"] <= 6
    assert len(list(results)) == 59


def break_manifest(store, tag):
    del store.manifests[store.tagged[tag]]


def break_config(store, tag):
    digest = json.loads(store.manifests[store.tagged[tag]][1])["config"]["digest"]
    store.blobs[digest] = b"{" + b" " * (len(store.blobs[digest]) - 1)


def lose_config(store, tag):
    del store.blobs[json.loads(store.manifests[store.tagged[tag]][1])["config"]["digest"]]


@pytest.mark.parametrize("damage", [break_manifest, break_config, lose_config])
def test_unreadable_tag_is_named_and_does_not_fail_the_others(store, damage):
    good, bad = node("good"), node("bad")
    push_package(store, [good])
    push_package(store, [bad])
    damage(store, tag_of(bad))
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert list(result.unreadable) == [tag_of(bad)]
    assert len(warnings) == 1 and tag_of(bad) in warnings[0]
    assert cached(store) == {good["hash"]}


@pytest.mark.parametrize(
    "config,reason",
    [
        ({"architecture": "amd64"}, "spec is missing"),
        ({"spec": {"_meta": {"version": 5}, "nodes": []}}, "spec.nodes is empty"),
        ({"spec": {"_meta": {"version": 6}, "nodes": [node("p")]}}, "update spack-oci"),
        ({"spec": {"_meta": {"version": 3}, "nodes": [node("p")]}}, "version 3"),
        ({"spec": {"_meta": {"version": 5}, "nodes": chain("p", 2)[:1]}}, "which it lacks"),
        ({"spec": {"_meta": {"version": 5}, "nodes": [{**node("p"), "arch": "linux"}]}}, "no valid arch"),
        ({"spec": {"_meta": {"version": 5}, "nodes": [node("p")]}, "buildcache_layout_version": 9}, "a newer Spack"),
    ],
)
def test_what_is_no_package_is_left_out(store, config, reason):
    manifest = {
        "mediaType": OCI_MANIFEST,
        "schemaVersion": 2,
        "config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, b"x", OCI_LAYER_GZIP).to_dict()],
    }
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, "p-1.0-x.spack")
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert result.total == 0
    assert reason in warnings[0]


def test_a_package_whose_tag_holds_something_else_now_is_given_up(store):
    """Unlike one that the registry fails to show: what the index says of it would be installed for ever."""
    package, other = node("p"), node("q")
    for each in (package, other):
        push_package(store, [each])
    update_index(store, QUICK)
    push_image(store, tag_of(package))
    result = update_index(store, QUICK, full=True)
    assert list(result.unreadable) == [tag_of(package)]
    assert cached(store) == {other["hash"]}


def test_package_under_another_tag_is_left_out(store):
    push_package(store, [node("p")], tag="q-1.0-abc.spack")
    result = update_index(store, QUICK)
    assert "another package" in result.unreadable["q-1.0-abc.spack"]


@pytest.mark.parametrize("prefix", ["a-copy-of-", "zz-copy-of-"])
@pytest.mark.parametrize("at_once", [True, False])
def test_second_tag_of_a_package_is_named_and_left_out(store, prefix, at_once):
    """Whichever is read first; else the index would never be complete."""
    package = node("p")
    copy = prefix + tag_of(package)
    for tag in (copy, tag_of(package)):
        push_package(store, [package], tag=tag)
        if not at_once:
            update_index(store, QUICK)
    for _ in range(2):
        warnings = []
        result = update_index(store, quick(warn=warnings.append))
        assert (result.total, list(result.unreadable)) == (1, [copy])
        assert warnings == [f"{copy} is not in the index, because it holds the same package as {tag_of(package)}"]
        assert fetch_index(store).entries()[package["hash"]].tag == tag_of(package)
    store.delete_manifest(tag_of(package))
    assert update_index(store, QUICK).unreadable == {}
    assert fetch_index(store).entries()[package["hash"]].tag == copy


def test_long_names_and_odd_versions_are_packages(store):
    packages = [node("x" * 150, "1.0"), node("git", "git.feature/a+b=develop")]
    for package in packages:
        push_package(store, [package])
    assert update_index(store, QUICK).unreadable == {}
    assert cached(store) == {package["hash"] for package in packages}


def test_docker_manifest_is_a_package(store):
    """Of a base image of that type, as Apptainer wants it: without annotations."""
    package = node("p")
    config = canonical_json({"spec": {"_meta": {"version": 5}, "nodes": [package]}})
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": put_bytes(store, config, DOCKER_CONFIG).to_dict(),
        "layers": [put_bytes(store, data, DOCKER_LAYER_GZIP).to_dict() for data in (b"base", b"own")],
    }
    store.put_manifest(canonical_json(manifest), DOCKER_MANIFEST, tag_of(package))
    update_index(store, QUICK)
    entry = fetch_index(store).entries()[package["hash"]]
    assert entry.layer == Descriptor.of(b"own", DOCKER_LAYER_GZIP)
    assert (entry.diff_id, entry.prefix_length) == (None, None)


def test_image_index_under_a_package_tag_is_left_out(store):
    descriptor = push_package(store, [node("p")])
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor.to_dict()]}
    store.put_manifest(canonical_json(index), OCI_INDEX, tag_of(node("q")))
    assert list(update_index(store, QUICK).unreadable) == [tag_of(node("q"))]


def test_server_failure_of_one_tag_keeps_what_the_index_had(store):
    packages = [node(f"p{number}") for number in range(3)]
    for package in packages:
        push_package(store, [package])
    update_index(store, QUICK)
    store.fail("get_manifest", ServerFailure("500"), when=lambda tag: tag == tag_of(packages[1]))
    result = update_index(store, QUICK, full=True)
    assert (result.total, result.unreadable) == (3, {})


def test_rate_limit_ends_the_update_and_leaves_the_index(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    before = store.resolve(DATABASE_TAG)
    push_package(store, [node("q")])
    store.fail("get_manifest", RateLimited("429"), when=lambda tag: tag.startswith("q"))
    with pytest.raises(RateLimited):
        update_index(store, QUICK)
    assert store.resolve(DATABASE_TAG) == before


def test_listing_without_our_own_tag_is_not_believed(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    del store.tagged[DATABASE_TAG]
    store.tags = lambda: iter(())
    with pytest.raises(IndexUpdateError, match="incomplete"):
        update_index(store, QUICK)


def test_listing_that_is_a_moment_behind_is_asked_for_again(store):
    packages = [node("p"), node("q")]
    for package in packages:
        push_package(store, [package])
    update_index(store, QUICK)
    listings = iter([[], [tag_of(packages[0])], store.tagged])
    store.tags = lambda: iter(next(listings))
    assert update_index(store, QUICK).total == 2


def test_overwritten_by_spack_is_repaired(store):
    package = node("p")
    push_package(store, [package])
    update_index(store, QUICK)
    good = store.resolve(DATABASE_TAG)
    overwrite_as_spack(store)
    assert fetch_index(store).source == DATABASE_TAG
    store.reset()
    result = update_index(store, QUICK)
    assert result.writes == 1
    assert store.resolve(DATABASE_TAG) == good
    assert not [tag for verb, tag in store.log if verb == "get_manifest" and tag == tag_of(package)]
    assert fetch_index(store).source == DOCUMENT_TAG


def test_damaged_document_of_ours_is_made_anew(store):
    package = node("p")
    push_package(store, [package])
    update_index(store, QUICK)
    digest = json.loads(store.manifests[store.tagged[DOCUMENT_TAG]][1])["layers"][0]["digest"]
    del store.blobs[digest]
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert result.total == 1
    assert "made anew" in warnings[0]
    assert cached(store) == {package["hash"]}


def test_same_cache_same_index():
    digests = set()
    for order in ([0, 1, 2], [2, 0, 1]):
        store = MemoryStore()
        for number in order:
            push_package(store, chain(f"p{number}", 3))
            update_index(store, QUICK)
        digests.add((store.resolve(DATABASE_TAG).digest, store.resolve(DOCUMENT_TAG).digest))
    assert len(digests) == 1
