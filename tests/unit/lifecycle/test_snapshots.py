# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Snapshots: a mirror that has a part of a cache, as it was."""

import json

import jsonschema
import pytest
from spack_oci.errors import BadSignature, ConfigurationError, InvalidContent, NotFound, UnexpectedResponse
from spack_oci.index.publish import DOCUMENT_TAG
from spack_oci.index.read import NotModified, fetch_index
from spack_oci.index.snapshots import SNAPSHOT_PREFIX, SnapshotStore
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.layout.gc import collect_garbage
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.images.described import image_tags
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.prune import (
    Keep,
    condemn,
    delete_condemned,
    held_by_snapshots,
    plan_prune,
    read_snapshots,
)
from spack_oci.operations.lifecycle.snapshots import list_snapshots, make_snapshot, remove_snapshot
from spack_oci.operations.trust.generations import Generations
from spack_oci.operations.trust.guard import Guard
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.operations.trust.trusted_index import TrustedIndex
from spack_oci.reference import LayoutDirectory, Repository, layout_at, parse_url
from spack_oci.trust.policy import Policy
from spack_oci.util.resources import read_schema
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, push_package, tag_of
from support.packages.readable_packages import push_readable
from unit.trust.cases import signer


@pytest.fixture
def nodes():
    return chain("p", 3)


@pytest.fixture
def lone():
    return node("alone")


@pytest.fixture
def store(nodes, lone):
    return filled(MemoryStore(), nodes, lone)


def filled(store, nodes, lone):
    for number in range(3):
        push_readable(store, nodes[number:])
    push_readable(store, [lone])
    update_index(store, QUICK)
    return store


def snapshot(store, name, *roots, **more):
    return make_snapshot(store, read_contents(store), name, {n["hash"] for n in roots} or None, **more)


def packages(store):
    return {tag for tag in store.tags() if tag.endswith(".spack") and tag != "index.spack"}


def prune(store, now, **keep):
    contents = read_contents(store)
    plan = plan_prune(store, contents, Keep(**keep), now=now, snapshots=read_snapshots(store, contents))
    result = condemn(store, plan, QUICK, now=now)
    return delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=3600, now=now)


def test_a_snapshot_has_what_was_asked_for_and_what_that_needs(store, nodes, lone):
    made = snapshot(store, "paper", nodes[1])
    assert made.packages == 2 and made.url == f"{store.url}:paper"
    view = SnapshotStore(store, "paper")
    index = fetch_index(view)
    assert {e.tag for e in index.entries().values()} == {tag_of(n) for n in nodes[1:]} == packages(view)
    assert json.loads(index.data)["database"]["installs"].keys() == {n["hash"] for n in nodes[1:]}
    assert find_package(view, tag_of(nodes[1])).dag_hash == nodes[1]["hash"]
    for absent in (nodes[0], lone):
        with pytest.raises(NotFound):
            find_package(view, tag_of(absent))
    assert not verify_cache(view, read_contents(view), Level.CONTENT).findings


def test_without_specs_it_has_all_that_is_there_now(store, lone):
    assert snapshot(store, "today").packages == 4
    push_package(store, [node("later")])
    update_index(store, QUICK)
    assert len(packages(SnapshotStore(store, "today"))) == 4 and len(packages(store)) == 5


def test_it_stays_as_it_was_when_a_package_is_pushed_again(store, nodes, lone):
    before = store.resolve(tag_of(lone))
    made = snapshot(store, "paper", lone)
    push_package(store, [lone], layer=b"built anew")
    update_index(store, QUICK)
    view = SnapshotStore(store, "paper")
    assert find_package(view, tag_of(lone)).manifest.digest == before.digest != store.resolve(tag_of(lone)).digest
    assert snapshot(store, "paper", lone).digest != made.digest


def test_it_costs_few_requests_to_make_and_to_read_however_many_packages_there_are(store, nodes):
    contents = read_contents(store)
    store.reset()
    make_snapshot(store, contents, "all")
    assert store.requests < 10
    store.reset()
    index = fetch_index(SnapshotStore(store, "all"))
    assert store.requests <= 4
    store.reset()
    assert isinstance(fetch_index(SnapshotStore(store, "all"), index.known), NotModified) and store.requests == 1


def test_the_same_packages_make_the_same_snapshot(store, nodes):
    assert snapshot(store, "one", nodes[1]).digest == snapshot(store, "other", nodes[1]).digest
    remove_snapshot(store, "one")
    assert [s.name for s in list_snapshots(store)[0]] == ["other"]


def test_snapshots_are_listed_and_are_no_images(store, nodes):
    snapshot(store, "paper", nodes[1])
    snapshot(store, "Release_1.0")
    assert [(s.name, s.packages) for s in list_snapshots(store)[0]] == [("Release_1.0", 4), ("paper", 2)]
    assert not list(image_tags(store)) and not read_contents(store).images
    document = {"version": 1, "snapshots": [s.to_dict() for s in list_snapshots(store)[0]]}
    jsonschema.Draft202012Validator(read_schema("commands/snapshots")).validate(document)


def test_a_snapshot_that_is_none_stops_a_prune_and_can_be_taken_away(store, nodes, lone):
    """Whatever is behind the tag, which may be a package, stays."""
    snapshot(store, "good", nodes[1])
    descriptor, data = store.get_manifest(tag_of(lone))
    store.put_manifest(data, descriptor.media_type, SNAPSHOT_PREFIX + "-bad")
    found, failed = list_snapshots(store)
    assert [s.name for s in found] == ["good"] and isinstance(failed["-bad"], InvalidContent)
    with pytest.raises(InvalidContent) as raised:
        prune(store, 1e9)
    assert raised.value.remedy.endswith(f"`spack oci snapshot --remove {store.url} -bad` takes it away")
    remove_snapshot(store, "good")
    store.fail("delete_manifest", UnexpectedResponse("no tag is deleted here", status=405), times=1)
    remove_snapshot(store, "-bad")
    assert not [tag for tag in store.tags() if tag.startswith(SNAPSHOT_PREFIX)]
    assert store.resolve(tag_of(lone)) == descriptor


def test_a_registry_that_deletes_no_tags_keeps_a_manifest_that_another_snapshot_has(store, nodes):
    made = snapshot(store, "one", nodes[1])
    snapshot(store, "other", nodes[1])
    error = UnexpectedResponse("no tag is deleted here", status=405)
    store.fail("delete_manifest", error, when=lambda reference: ":" not in reference)
    remove_snapshot(store, "one")
    assert [(s.name, s.digest) for s in list_snapshots(store)[0]] == [("other", made.digest)]
    remove_snapshot(store, "other")
    assert list_snapshots(store) == ([], {})


def test_what_the_cache_lacks_is_an_error_unless_it_is_allowed(store, nodes):
    store.delete_manifest(tag_of(nodes[2]))
    update_index(store, QUICK)
    with pytest.raises(NotFound, match="lacks 1 packages of the snapshot paper"):
        snapshot(store, "paper", nodes[0])
    made = snapshot(store, "paper", nodes[0], allow_missing=True)
    assert made.packages == 2 and made.missing == {nodes[2]["hash"]}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a:b", "x" * 101])
def test_names_that_are_none(store, name):
    with pytest.raises(ConfigurationError, match="cannot be the name of a snapshot"):
        snapshot(store, name)


def test_a_snapshot_that_is_not_there_is_an_error_and_not_an_empty_mirror(store, lone):
    view = SnapshotStore(store, "gone")
    for ask in (fetch_index, read_contents, lambda s: find_package(s, tag_of(lone)), lambda s: list(s.tags())):
        with pytest.raises(ConfigurationError, match="has no snapshot gone"):
            ask(view)


def test_nothing_is_written_through_a_snapshot(store, lone):
    snapshot(store, "paper", lone)
    view = SnapshotStore(store, "paper")
    with pytest.raises(ConfigurationError, match="is a snapshot, which does not change"):
        push_package(view, [node("new")])
    with pytest.raises(ConfigurationError, match="does not change"):
        view.delete_manifest(tag_of(lone))


def test_prune_keeps_what_a_snapshot_has(store, nodes, lone):
    snapshot(store, "paper", nodes[1])
    contents = read_contents(store)
    plan = plan_prune(store, contents, Keep(), snapshots=read_snapshots(store, contents))
    assert plan.kept[tag_of(nodes[1])] == "in the snapshot paper" and set(plan.doomed) == {
        tag_of(nodes[0]),
        tag_of(lone),
    }
    for now in (1e9, 1e9 + 4000):
        prune(store, now)
    assert packages(store) == {tag_of(n) for n in nodes[1:]} and SNAPSHOT_PREFIX + "paper" in set(store.tags())


def test_a_snapshot_that_is_made_in_the_grace_period_saves_what_it_has(store, nodes, lone):
    contents = read_contents(store)
    prune(store, 1e9, named=frozenset({nodes[0]["hash"]}))
    make_snapshot(store, contents, "paper", {lone["hash"]})  # of an index that was read before
    contents = read_contents(store)
    plan = plan_prune(store, contents, Keep(named=frozenset({nodes[0]["hash"]})), now=1e9 + 4000)
    result = condemn(store, plan, QUICK, now=1e9 + 4000)
    result = delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=3600, now=1e9 + 4000)
    assert result.reprieved == [tag_of(lone)] and not result.deleted
    assert lone["hash"] in read_contents(store).index


def test_garbage_of_a_layout_keeps_what_only_a_snapshot_names(tmp_path, nodes, lone):
    layout = filled(open_layout(LayoutDirectory(str(tmp_path / "cache")), create=True), nodes, lone)
    snapshot(layout, "paper", lone)
    push_readable(layout, [lone], annotations={"built": "anew"})
    held = held_by_snapshots(read_snapshots(layout, read_contents(layout)))
    collect_garbage(layout, grace=-10, roots=held)
    view = SnapshotStore(layout, "paper")
    assert not verify_cache(view, read_contents(view), Level.CONTENT).findings


def test_a_snapshot_is_copied_as_what_it_has(store, nodes):
    snapshot(store, "paper", nodes[1])
    view, there = SnapshotStore(store, "paper"), MemoryStore("oci://elsewhere.example/cache")
    both = compare(view, there)
    result = execute_copy(view, there, both.found, plan_copy(both, Selection()), QUICK)
    assert not result.failed and packages(there) == {tag_of(n) for n in nodes[1:]}
    assert there.resolve(tag_of(nodes[1])).digest == store.resolve(tag_of(nodes[1])).digest


def test_urls_of_snapshots(tmp_path):
    url = "oci://ghcr.io/org/cache:paper-2026"
    assert parse_url(url) == Repository("ghcr.io", "org/cache", snapshot="paper-2026") and parse_url(url).url == url
    assert parse_url("oci+http://localhost:5000/c:s").url == "oci+http://localhost:5000/c:s"
    assert parse_url("oci://localhost:5000/c").snapshot == ""
    open_layout(LayoutDirectory(str(tmp_path / "cache")), create=True)
    url = f"oci+file://{tmp_path}/cache:paper"
    assert parse_url(url) == LayoutDirectory(str(tmp_path / "cache"), "paper") and parse_url(url).url == url
    assert layout_at(f"{tmp_path}/cache:paper").url == url
    # a directory may have a colon in its name
    (tmp_path / "cache:old").mkdir()
    assert parse_url(f"oci+file://{tmp_path}/cache:old") == LayoutDirectory(f"{tmp_path}/cache:old")
    assert parse_url(f"oci+file://{tmp_path}/new:name") == LayoutDirectory(f"{tmp_path}/new:name")


@pytest.fixture
def signed(nodes, lone):
    """A cache whose packages and index the team has signed, with the signed snapshots ``paper`` and ``talk``."""
    store, team = filled(MemoryStore("oci://registry.example/team/cache"), nodes, lone), signer("team")
    written = [outcome.written for outcome in sign_packages(store, sorted(packages(store)), team)]
    update_index(store, QUICK._replace(signatures=IndexSigning(store, written, team)))
    for name, root in (("paper", nodes[1]), ("talk", lone)):
        snapshot(store, name, root, sign=IndexSigning(store, (), team).snapshot_statement(name))
    return store


def fetched(store, directory):
    """The index of a cache or snapshot, as a machine reads it that requires the team's signature."""
    policy = Policy("require", (signer("team").public,))
    return TrustedIndex(policy, store, Generations(str(directory)), now=lambda: 2e9).fetch(store)


def test_a_snapshot_of_a_signed_cache_is_read_under_its_policy(signed, nodes, tmp_path):
    view = SnapshotStore(signed, "paper")
    assert set(fetched(view, tmp_path).entries()) == {n["hash"] for n in nodes[1:]}
    guard = Guard(Policy("require", (signer("team").public,)), view)
    guard.demand(find_package(view, tag_of(nodes[1])))


@pytest.mark.parametrize(
    "offered, asked_for, message",
    [
        (f"{SNAPSHOT_PREFIX}paper", "", "is signed as the snapshot paper"),
        (DOCUMENT_TAG, "paper", "is signed as the index of a whole cache"),
        (f"{SNAPSHOT_PREFIX}talk", "paper", "is signed as the snapshot talk"),
    ],
)
def test_what_is_signed_as_one_part_of_a_cache_is_not_taken_for_another(signed, offered, asked_for, message, tmp_path):
    view = SnapshotStore(signed, asked_for) if asked_for else signed
    signed.tagged[SNAPSHOT_PREFIX + asked_for if asked_for else DOCUMENT_TAG] = signed.tagged[offered]
    with pytest.raises(BadSignature, match=message):
        fetched(view, tmp_path)


def test_a_snapshot_that_was_signed_as_an_index_has_to_be_made_anew(signed, nodes, lone, tmp_path):
    """As it was signed before snapshots had statements of their own."""
    fetched(signed, tmp_path)  # that of the index has remained as it was
    sign = IndexSigning(signed, (), signer("team")).statement(None)
    snapshot(signed, "paper", nodes[1], sign=sign)
    with pytest.raises(BadSignature, match="makes it anew with `spack oci snapshot`, also if an older spack-oci"):
        fetched(SnapshotStore(signed, "paper"), tmp_path)


def test_a_snapshot_is_newer_than_the_one_of_its_name_that_was_seen(signed, nodes, tmp_path):
    seen = Generations(str(tmp_path))
    seen.saw("registry.example/team/cache:paper", 2_000_000_000)
    sign = IndexSigning(signed, (), signer("team"), seen, now=lambda: 1_900_000_000).snapshot_statement("paper")
    snapshot(signed, "paper", nodes[1], sign=sign)
    fetched(SnapshotStore(signed, "paper"), tmp_path)
