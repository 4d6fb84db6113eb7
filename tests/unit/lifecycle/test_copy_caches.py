# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Copying a cache: what is chosen, what is asked and sent, and what the index of the destination then says."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor, canonical_json
from spack_oci.errors import (
    ConfigurationError,
    DigestMismatch,
    InvalidContent,
    NotFound,
    RateLimited,
    UnexpectedResponse,
)
from spack_oci.index.model import PackageIndex
from spack_oci.index.read import fetch_index
from spack_oci.index.snapshots import SnapshotStore
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.pins import write_pin
from spack_oci.operations.lifecycle.snapshots import make_snapshot
from spack_oci.reference import LayoutDirectory
from support.memory_store import MemoryStore
from support.packages.cache_builder import (
    QUICK,
    chain,
    node,
    overwrite_as_spack,
    push_image,
    push_package,
    sign,
    tag_of,
)
from support.recording_reporter import RecordingReporter

EVERYTHING = Selection()


@pytest.fixture
def nodes():
    return chain("p", 3)


@pytest.fixture
def source(nodes):
    """Three packages, each needs the next; and one that stands alone. With an index."""
    store = MemoryStore("oci://one.example/cache")
    for number in range(3):
        push_package(store, nodes[number:])
    push_package(store, [node("alone")])
    update_index(store, QUICK)
    return store


@pytest.fixture
def destination():
    return MemoryStore("oci://two.example/cache")


def copy(source, destination, selection=EVERYTHING, **options):
    both = compare(source, destination)
    plan = plan_copy(both, selection, **options)
    return plan, execute_copy(source, destination, both.found, plan)


def test_everything_arrives_with_the_same_digests_and_the_same_index(source, destination):
    push_image(source, "tools")
    plan, result = copy(source, destination)
    assert not result.failed and len(plan.packages) == 4 and plan.images == ("tools",)
    assert {t: source.resolve(t).digest for t in source.tags()} == {
        t: destination.resolve(t).digest for t in destination.tags()
    }
    assert fetch_index(destination).data == fetch_index(source).data


def test_a_source_without_anything_is_an_error_and_empties_nothing(source, destination):
    """It may be that its name is wrong."""
    with pytest.raises(NotFound, match="nothing to copy"):
        copy(destination, source, delete=True)
    assert len(set(source.tags())) == 6


def test_nothing_to_do_costs_the_indexes_and_the_pages_of_tags(source, destination):
    copy(source, destination)
    source.reset(), destination.reset()
    plan, result = copy(source, destination)
    assert plan.is_empty and len(plan.present) == 4 and result.index is None
    for store in (source, destination):
        assert store.calls == {"get_manifest": 1, "resolve": 1, "open_blob": 1, "tags": 1}


def test_nothing_to_do_parses_no_specs(source, destination, monkeypatch):
    """For 100,000 packages that would take longer than all the rest."""
    copy(source, destination)
    parsed = []
    really_parse = PackageIndex.from_lines
    monkeypatch.setattr(PackageIndex, "from_lines", lambda data: parsed.append(1) or really_parse(data))
    plan, _ = copy(source, destination)
    assert plan.is_empty and not parsed
    push_package(source, [node("new")])
    update_index(source, QUICK)
    parsed.clear()
    copy(source, destination)
    assert parsed  # whoever copies has to know the specs for the index


def test_nothing_to_do_costs_one_request_and_the_pages_of_tags_where_the_indexes_are_kept(
    source, destination, tmp_path
):
    copy(source, destination)
    cache = BlobCache(str(tmp_path))
    compare(source, destination, cache=cache)
    source.reset(), destination.reset()
    both = compare(source, destination, cache=cache)
    assert plan_copy(both, EVERYTHING).is_empty
    for store in (source, destination):
        assert store.calls == {"resolve": 1, "tags": 1}


def test_a_kept_index_is_not_used_when_it_changes_or_is_damaged(source, destination, tmp_path):
    copy(source, destination)
    cache = BlobCache(str(tmp_path))
    compare(source, destination, cache=cache)
    new = node("new")
    push_package(source, [new])
    update_index(source, QUICK)
    assert plan_copy(compare(source, destination, cache=cache), EVERYTHING).packages == (tag_of(new),)
    overwrite_as_spack(source)
    assert compare(source, destination, cache=cache).found.index is None
    update_index(source, QUICK)
    compare(source, destination, cache=cache)
    for path in (tmp_path / "blobs" / "sha256").iterdir():
        path.write_bytes(b"damaged")
    assert plan_copy(compare(source, destination, cache=cache), EVERYTHING).packages == (tag_of(new),)


def test_a_spec_is_copied_with_what_it_needs_and_nothing_else(source, destination, nodes):
    plan, result = copy(source, destination, Selection(roots=frozenset({nodes[1]["hash"]})))
    assert set(plan.packages) == {tag_of(nodes[1]), tag_of(nodes[2])}
    assert set(result.copied) == set(plan.packages) and plan.missing == ()
    assert result.index.total == 2


def test_build_dependencies_are_copied_where_that_is_asked_for(destination):
    store = MemoryStore("oci://one.example/cache")
    tool, library = node("tool"), node("library")
    edges = [
        {"name": d["name"], "hash": d["hash"], "parameters": {"deptypes": [kind], "virtuals": []}}
        for d, kind in ((tool, "build"), (library, "link"))
    ]
    root = node("root", dependencies=[])
    root["dependencies"] = edges
    for number in ([tool], [library], [root, tool, library]):
        push_package(store, number)
    update_index(store, QUICK)
    both = compare(store, destination)
    roots = frozenset({root["hash"]})
    assert set(plan_copy(both, Selection(roots=roots)).packages) == {tag_of(root), tag_of(library)}
    assert len(plan_copy(both, Selection(roots=roots, build_dependencies=True)).packages) == 3


def test_a_dependency_that_the_source_lacks_is_named(destination, nodes):
    store = MemoryStore("oci://one.example/cache")
    push_package(store, nodes)
    update_index(store, QUICK)
    plan = plan_copy(compare(store, destination), Selection(roots=frozenset({nodes[0]["hash"]})))
    assert set(plan.missing) == {nodes[1]["hash"], nodes[2]["hash"]}


def test_signatures_are_copied_and_a_new_one_too(source, destination, nodes):
    signed = source.resolve(tag_of(nodes[0]))
    first = sign(source, signed)
    copy(source, destination)
    assert destination.resolve(first).digest == source.resolve(first).digest
    later = sign(source, source.resolve(tag_of(nodes[1])))
    plan, _ = copy(source, destination)
    assert plan.attached == (later,) and plan.packages == ()
    assert destination.resolve(later).digest == source.resolve(later).digest


def test_a_package_that_was_pushed_again_is_copied_again(source, destination, nodes):
    copy(source, destination)
    push_package(source, nodes, layer=b"other")
    update_index(source, QUICK, full=True)
    plan, _ = copy(source, destination)
    assert plan.packages == (tag_of(nodes[0]),)
    assert destination.resolve(tag_of(nodes[0])) == source.resolve(tag_of(nodes[0]))
    assert fetch_index(destination).entries() == fetch_index(source).entries()


def test_full_does_not_believe_the_indexes(source, destination, nodes):
    copy(source, destination)
    push_package(destination, nodes, layer=b"somebody else's")
    assert plan_copy(compare(source, destination), EVERYTHING).is_empty
    copy(source, destination, full=True)
    assert destination.resolve(tag_of(nodes[0])).digest == source.resolve(tag_of(nodes[0])).digest


def test_a_damaged_package_stops_alone(source, destination, nodes):
    digest = json.loads(source.get_manifest(tag_of(nodes[1]))[1])["layers"][0]["digest"]
    source.blobs[digest] = b"x" * len(source.blobs[digest])
    _, result = copy(source, destination)
    assert list(result.failed) == [tag_of(nodes[1])]
    assert isinstance(result.failed[tag_of(nodes[1])], DigestMismatch)
    assert tag_of(nodes[1]) not in set(destination.tags())
    assert result.index.total == 3


def test_an_index_of_the_destination_is_merged(source, destination):
    push_package(destination, [node("theirs")])
    update_index(destination, QUICK)
    _, result = copy(source, destination)
    assert result.index.total == 5


def test_a_source_with_tags_only(source, destination):
    for tag in ("index.spack", "spack-oci.index"):
        source.delete_manifest(tag)
    with pytest.raises(ConfigurationError, match="update-index"):
        plan_copy(compare(source, destination), Selection(roots=frozenset({"a" * 32})))
    _, result = copy(source, destination)
    assert len(result.copied) == 4 and result.index.total == 4


def test_delete_removes_what_the_source_has_not(source, destination):
    copy(source, destination)
    extra = node("extra")
    push_package(destination, [extra])
    push_image(destination, "old")
    update_index(destination, QUICK)
    plan, result = copy(source, destination, delete=True)
    assert set(plan.delete) == {tag_of(extra), "old"} == set(result.deleted)
    assert set(destination.tags()) == set(source.tags())
    assert fetch_index(destination).data == fetch_index(source).data


def test_delete_where_single_tags_are_not_deleted_keeps_a_manifest_that_a_kept_tag_names(source, destination):
    copy(source, destination)
    push_image(source, "kept"), push_image(destination, "kept")
    for number in range(5):
        push_image(destination, f"same-{number}")  # the same manifest as that of "kept"
        push_image(destination, f"other-{number}", content=b"of %d" % number)
    refused = UnexpectedResponse("deleting a tag", status=400)
    destination.fail("delete_manifest", refused, when=lambda reference: ":" not in reference)
    both = compare(source, destination)
    plan = plan_copy(both, EVERYTHING, delete=True)
    destination.reset()
    result = execute_copy(source, destination, both.found, plan)
    assert not result.failed and len(result.deleted) == 10 and destination.resolve("kept")
    assert set(destination.tags()) == set(source.tags())
    # one for each that goes, and once for all that stay
    assert sum(destination.log.count(("resolve", tag)) for tag in both.found.packages) == len(both.found.packages)


def test_delete_asks_nothing_more_of_a_registry_that_is_asked_too_much(source, destination):
    copy(source, destination)
    push_image(destination, "old")
    destination.fail("delete_manifest", RateLimited("too many", status=429))
    _, result = copy(source, destination, delete=True)
    assert list(result.failed) == ["old"] and destination.resolve("old")


def test_delete_keeps_what_pins_and_snapshots_hold(source, destination, tmp_path):
    copy(source, destination)
    pinned, lone, surplus = chain("pinned", 2), node("held"), node("surplus")
    for package in (pinned, pinned[1:], [lone], [surplus]):
        push_package(destination, package)
    update_index(destination, QUICK)
    write_pin(destination, "mine", [pinned[0]["hash"]])
    write_pin(destination, "over", [surplus["hash"]], until=1)
    make_snapshot(destination, read_contents(destination), "mine", {lone["hash"]})
    plan, result = copy(source, destination, delete=True)
    assert plan.delete == (tag_of(surplus),) == tuple(result.deleted)
    assert set(plan.held) == {tag_of(package) for package in (*pinned, lone)}
    assert plan.to_dict()["held"] == sorted(plan.held)
    assert find_package(SnapshotStore(destination, "mine"), tag_of(lone))
    push_package(destination, [surplus])
    push_image(destination, "spack-oci.pin.bad")  # which may hold it
    with pytest.raises(InvalidContent, match="pin.bad"):
        plan_copy(compare(source, destination), EVERYTHING, delete=True)


def test_with_what_is_deleted_go_its_signatures(source, destination):
    copy(source, destination)
    extra, kept = node("extra"), node("alone")
    signature = sign(destination, push_package(destination, [extra]))
    mine = sign(destination, destination.resolve(tag_of(kept)))
    update_index(destination, QUICK)
    plan, _ = copy(source, destination, delete=True)
    assert set(plan.delete) == {tag_of(extra), signature} and mine in set(destination.tags())


def test_delete_goes_with_everything_only(source, destination):
    with pytest.raises(ConfigurationError, match="--delete"):
        plan_copy(compare(source, destination), Selection(tags=frozenset({"tools"})), delete=True)


def test_an_image_that_is_not_there_is_named(source, destination):
    with pytest.raises(NotFound, match="no image nothing"):
        plan_copy(compare(source, destination), Selection(tags=frozenset({"nothing"})))


def test_a_cut_copy_runs_again_and_does_what_is_left(source, destination, nodes):
    destination.fail("put_manifest", ConnectionResetError("cut"), when=lambda tag: tag == tag_of(nodes[0]))
    both = compare(source, destination)
    cut = execute_copy(source, destination, both.found, plan_copy(both, EVERYTHING), jobs=1)
    assert list(cut.failed) == [tag_of(nodes[0])] and cut.index.total == 3
    destination._failures.clear()
    _, result = copy(source, destination)
    assert not result.failed and result.index.total == 4


def test_progress_of_a_copy(source, destination, nodes):
    """Tags, those that fail and are removed too, and bytes; what fails is for the end."""
    destination.fail("put_manifest", ConnectionResetError("cut"), when=lambda tag: tag == tag_of(nodes[0]))
    both, lines = compare(source, destination), []
    told, result = RecordingReporter(), None
    told.finished = lambda name, line="": lines.append(line)
    result = execute_copy(source, destination, both.found, plan_copy(both, EVERYTHING), jobs=1, reporter=told)
    assert told.work.count == 4 and told.work.unit == "tags" and told.bytes >= result.bytes_sent > 0
    assert [line[:6] for line in lines] == ["[1/4] ", "[2/4] ", "[3/4] ", "[4/4] "]
    assert sorted(line.split()[1] for line in lines) == ["Copied"] * 3 + ["Failed"] and "cut" not in " ".join(lines)


def test_to_itself_is_refused(source):
    with pytest.raises(ConfigurationError, match="itself"):
        compare(source, source)


def test_from_memory_to_a_layout_and_back(source, tmp_path):
    layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    copy(source, layout)
    back = MemoryStore("oci://back.example/cache")
    _, result = copy(layout, back)
    assert not result.failed
    assert {t: source.resolve(t).digest for t in source.tags()} == {t: back.resolve(t).digest for t in back.tags()}


def test_the_empty_config_is_a_blob_like_others(source, destination):
    put_bytes(source, b"{}", OCI_EMPTY)
    subject = source.resolve(next(t for t in source.tags() if t.startswith("alone")))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": Descriptor.of(b"{}", OCI_EMPTY).to_dict(),
        "layers": [put_bytes(source, b"sbom", "application/spdx+json").to_dict()],
        "subject": subject.to_dict(),
    }
    source.put_manifest(canonical_json(manifest), OCI_MANIFEST)
    _, result = copy(source, destination)
    assert not result.failed
    assert [r.digest for r in destination.referrers(subject.digest)] == [
        r.digest for r in source.referrers(subject.digest)
    ]
