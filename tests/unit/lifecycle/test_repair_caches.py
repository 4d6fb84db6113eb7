# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci repair` puts right, from where, and what it leaves to people."""

import json
import os
import time
from types import SimpleNamespace

import jsonschema
import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import OCI_MANIFEST, canonical_json
from spack_oci.errors import Forbidden, NotFound, StorageError
from spack_oci.index.condemned import PrunePlan, read_plan, write_plan
from spack_oci.index.nodes import node_of_entry
from spack_oci.index.publish import DATABASE_TAG, publish
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.operations.check.findings import Kind, Level
from spack_oci.operations.check.repair import execute_repair, plan_repair
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
from spack_oci.reference import LayoutDirectory
from spack_oci.util.resources import read_schema
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package, tag_of
from support.packages.readable_packages import filled, push_readable


@pytest.fixture
def nodes():
    return chain("p", 3)


@pytest.fixture
def store(nodes):
    return filled(MemoryStore(), nodes)


@pytest.fixture
def layout(nodes, tmp_path):
    return filled(open_layout(LayoutDirectory(str(tmp_path / "cache")), create=True), nodes)


@pytest.fixture
def blobs(tmp_path):
    return BlobCache(str(tmp_path / "blobs"))


class NoBlobs:
    """What this machine has kept of blobs."""

    def get(self, digest):
        return None


def verify(store, level=Level.CONTENT):
    return verify_cache(store, read_contents(store), level)


def repair(store, blobs=None, level=Level.CONTENT, installed=lambda tag: False, push_again=lambda tags: ()):
    """The result, after which nothing is found that a further repair would do."""
    blobs = blobs or NoBlobs()
    plan = plan_repair(store, read_contents(store), verify(store, level), blobs, installed)
    schema = jsonschema.Draft202012Validator(read_schema("commands/repair"))
    schema.validate({"version": 1, "mirror": store.url, "level": level.name.lower(), "plan": plan.to_dict()})
    result = execute_repair(store, plan, blobs, QUICK, push_again)
    if not result.failed:  # what failed is tried again
        assert plan_repair(store, read_contents(store), verify(store, level), blobs).is_empty
    return result


def indexed(store):
    return {entry.tag for entry in fetch_index(store).entries().values()}


def layer_digest(store, tag):
    return find_package(store, tag).layer.digest


def keep_copy(store, tag, blobs, tmp_path):
    """The layer of a package in this machine's blob cache, as a push leaves it there."""
    with store.open_blob(find_package(store, tag).layer) as reader:
        (tmp_path / "layer").write_bytes(reader.read())
    blobs.add(layer_digest(store, tag), str(tmp_path / "layer"))


def test_a_cache_that_is_as_it_should_be_is_left_alone(store):
    store.reset()
    result = repair(store)
    assert not (result.sent or result.pushed or result.left_out or result.index)
    assert not store.calls["put_manifest"] and not store.calls["put_blob"]


def test_the_index_is_made_again_from_the_tags(store, nodes):
    """As two Spacks without this extension leave it behind: one overwrites the index of the other."""
    push_readable(store, [node("other")])
    overwrite_as_spack(store)
    assert repair(store, level=Level.INDEX).index
    assert indexed(store) == {tag_of(n) for n in [*nodes, node("other")]} and not verify(store).findings
    store.delete_manifest(DATABASE_TAG)
    assert repair(store, level=Level.INDEX).index and not verify(store).findings


def test_an_index_that_says_something_else_than_the_config_is_read_anew(store, nodes):
    contents = read_contents(store)
    forged = contents.index.node(nodes[2]["hash"])
    forged["version"] = "6.6"
    # the digest of the manifest is the right one, so that nothing but a look at the spec tells
    contents.index.add([node_of_entry(nodes[2]["hash"], forged)], contents.index.entry(nodes[2]["hash"]))
    publish(store, contents.index)
    assert [f.kind for f in verify(store).findings] == [Kind.INDEX_DIFFERS]
    repair(store)
    assert not verify(store).findings


def test_a_layer_that_is_gone_or_damaged_is_sent_from_the_blob_cache(layout, nodes, blobs, tmp_path):
    gone, damaged = tag_of(nodes[0]), tag_of(nodes[1])
    for tag in (gone, damaged):
        keep_copy(layout, tag, blobs, tmp_path)
    paths = [tmp_path / "cache/blobs/sha256" / layer_digest(layout, tag)[7:] for tag in (gone, damaged)]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"!")
    result = repair(layout, blobs)
    assert len(result.sent) == 2 and not result.left_out and not verify(layout).findings
    assert indexed(layout) == {tag_of(n) for n in nodes}


def test_a_store_that_keeps_a_damaged_blob_whatever_is_sent_loses_the_package_from_its_index(
    store, nodes, blobs, tmp_path
):
    tag = tag_of(nodes[0])
    keep_copy(store, tag, blobs, tmp_path)
    store.blobs[layer_digest(store, tag)] = b"damaged"
    result = repair(store, blobs)
    assert result.left_out == [tag] and list(result.failed) == [layer_digest(store, tag)] and tag not in indexed(store)


def test_a_package_that_is_installed_here_is_pushed_again(store, nodes):
    tag = tag_of(nodes[0])
    del store.blobs[layer_digest(store, tag)]

    def push_again(tags):
        assert tags == (tag,)
        push_readable(store, nodes)
        return tags

    assert repair(store, installed=lambda t: t == tag, push_again=push_again).pushed == [tag]
    assert not verify(store).findings


def test_only_the_package_is_pushed_again_whose_own_layer_is_gone(store, nodes):
    """The images of those that need it have that layer too."""
    own = find_package(store, tag_of(nodes[2])).layer
    document = json.loads(store.get_manifest(tag_of(nodes[0]))[1])
    document["layers"].insert(0, own.to_dict())
    store.put_manifest(canonical_json(document), OCI_MANIFEST, tag_of(nodes[0]))
    update_index(store, QUICK)
    del store.blobs[own.digest]
    found = verify(store, Level.BLOBS)
    assert {f.kind for f in found.findings} == {Kind.LAYER_MISSING, Kind.IMAGE_LAYER_MISSING}
    plan = plan_repair(store, read_contents(store), found, NoBlobs(), lambda tag: True)
    assert plan.push == (tag_of(nodes[2]),) and not plan.left


def test_a_broken_package_that_is_nowhere_goes_out_of_the_index_until_it_is_pushed(store, nodes):
    tag = tag_of(nodes[0])
    digest = layer_digest(store, tag)
    data = store.blobs.pop(digest)
    result = repair(store)
    assert result.left_out == [tag] and tag in set(store.tags()) and indexed(store) == {tag_of(n) for n in nodes[1:]}
    # whoever writes the index leaves it out
    update_index(store, QUICK, full=True)
    assert tag not in indexed(store)
    # it is still told of: it is still broken
    assert {f.kind for f in verify(store).findings} == {Kind.LAYER_MISSING}
    store.blobs[digest] = data
    assert repair(store).taken_back == [tag]
    assert tag in indexed(store) and not verify(store).findings and not read_plan(store).broken


def test_a_repair_that_was_killed_before_it_wrote_the_index_is_finished(store, nodes):
    tag = tag_of(nodes[0])
    del store.blobs[layer_digest(store, tag)]
    write_plan(store, PrunePlan(broken={tag: store.resolve(tag).digest}))
    assert repair(store).index and tag not in indexed(store)


def test_a_broken_package_that_another_program_has_pushed_comes_back_by_itself(store, nodes):
    del store.blobs[layer_digest(store, tag_of(nodes[0]))]
    repair(store)
    push_readable(store, nodes, annotations={"pushed": "again"})
    update_index(store, QUICK)
    assert tag_of(nodes[0]) in indexed(store)


def test_a_tag_that_is_no_package_is_told_once_and_then_left_out(store):
    broken = f"broken-1.0-{'a' * 32}.spack"
    store.put_manifest(b'{"schemaVersion":2,"layers":[],"config":null}', OCI_MANIFEST, broken)
    assert repair(store).left_out == [broken]
    assert {f.kind for f in verify(store).findings} == {Kind.UNREADABLE}
    assert not verify(store, Level.INDEX).findings


def test_a_tag_that_is_listed_and_has_no_manifest_goes(store, nodes):
    tag = tag_of(nodes[0])
    del store.manifests[store.tagged[tag]]
    assert repair(store).cleared == [tag] and tag not in set(store.tags())
    assert not verify(store).findings and indexed(store) == {tag_of(n) for n in nodes[1:]}


def test_a_prune_removes_what_is_broken_whatever_it_is_told_to_keep(store, nodes):
    tag = tag_of(nodes[0])
    del store.blobs[layer_digest(store, tag)]
    repair(store)
    for now in (1e9, 1e9 + 9999):
        plan = plan_prune(store, read_contents(store), Keep(named=frozenset(n["hash"] for n in nodes)), now=now)
        assert set(plan.doomed) == {tag}
        result = condemn(store, plan, QUICK, now=now)
        delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=3600, now=now)
    assert tag not in set(store.tags()) and not read_plan(store).broken and not read_plan(store).condemned


def test_what_only_a_person_can_put_right_is_left_and_named(store):
    lone = node("lone", arch={"platform": "linux", "platform_os": "debian12", "target": "aarch64"})
    push_readable(store, [lone])
    update_index(store, QUICK)
    plan = plan_repair(store, read_contents(store), verify(store), NoBlobs())
    assert plan.is_empty and [f.kind for f in plan.left] == [Kind.PLATFORM_DIFFERS]


def test_what_cannot_be_sent_is_named_and_the_rest_is_done(layout, nodes, blobs, tmp_path, monkeypatch):
    keep_copy(layout, tag_of(nodes[0]), blobs, tmp_path)
    (tmp_path / "cache/blobs/sha256" / layer_digest(layout, tag_of(nodes[0]))[7:]).unlink()
    push_package(layout, [node("other")])
    plan = plan_repair(layout, read_contents(layout), verify(layout, Level.BLOBS), blobs)

    put_blob = layout.put_blob

    def refuse(descriptor, *words, **more):
        if descriptor.digest in plan.send:
            raise Forbidden("not you", status=403)
        return put_blob(descriptor, *words, **more)

    monkeypatch.setattr(layout, "put_blob", refuse)
    result = execute_repair(layout, plan, blobs, QUICK)
    assert list(result.failed) == list(plan.send)
    monkeypatch.undo()
    assert not repair(layout, blobs, Level.BLOBS).failed and not verify(layout, Level.BLOBS).findings


def test_a_blob_that_another_process_removes_from_the_blob_cache_fails_alone(
    layout, nodes, blobs, tmp_path, monkeypatch
):
    tags = [tag_of(n) for n in nodes[:2]]
    for tag in tags:
        keep_copy(layout, tag, blobs, tmp_path)
        (tmp_path / "cache/blobs/sha256" / layer_digest(layout, tag)[7:]).unlink()
    plan = plan_repair(layout, read_contents(layout), verify(layout), blobs)
    gone = layer_digest(layout, tags[0])
    paths = {digest: blobs.get(digest) for digest in plan.send}
    blobs.drop(gone)
    result = execute_repair(layout, plan, SimpleNamespace(get=paths.get), QUICK)
    assert isinstance(result.failed[gone], NotFound) and len(result.failed) == len(result.sent) == 1
    monkeypatch.setattr("os.path.exists", lambda path: True)  # a moment later
    assert isinstance(execute_repair(layout, plan, SimpleNamespace(get=paths.get), QUICK).failed[gone], StorageError)


def test_temporary_files_of_killed_writers_go(layout, tmp_path):
    staging = tmp_path / "cache" / ".spack-oci" / "tmp"
    for name, age in (("young", 10), ("old", 90000)):
        (staging / name).write_bytes(b"x")
        os.utime(staging / name, (time.time() - age,) * 2)
    assert repair(layout).temporaries == 1
    assert [path.name for path in staging.iterdir()] == ["young"]
