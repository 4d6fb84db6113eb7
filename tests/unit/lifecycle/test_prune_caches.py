# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pruning: what is kept and why, what goes when, and what others do meanwhile."""

import json
import os
from dataclasses import replace

import pytest
from spack_oci.content import put_bytes
from spack_oci.content.artifacts import write_json_artifact
from spack_oci.content.copy import GraphCopy
from spack_oci.descriptor import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, canonical_json
from spack_oci.errors import ConfigurationError, InvalidContent, NotFound, ServerFailure, UnexpectedResponse
from spack_oci.index.condemned import PLAN_TAG, Condemned, PrunePlan, read_plan, reprieve, write_plan
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.operations.lifecycle.contents import read_contents, read_current_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.lock_files import hashes_of_lock_file, read_lock_file, roots_of_lock
from spack_oci.operations.lifecycle.pins import read_each_pin, read_pins, remove_pin, write_pin
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
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

#: of which the roots can be read
ONLY_CLOSURES = [
    {"roots": [{"hash": "a"}], "concrete_specs": {"a": {"dependencies": [{"hash": "../b", "type": ["link"]}]}}},
    {"roots": [{"hash": "a"}], "concrete_specs": {"a": {"dependencies": [{"hash": "b", "type": 5}]}}},
    {"roots": [{"hash": "a"}], "concrete_specs": {"a": {"build_spec": {"hash": 5}}}},
    {"roots": [{"hash": "a"}], "concrete_specs": {"a": 5}},
]
ODD_LOCKS = [
    b"[" * 100_000,
    b"\xff\xfe",
    b"\0",
    [1],
    {"roots": 5, "concrete_specs": {}},
    *({"roots": [{"hash": h}], "concrete_specs": {}} for h in (5, None, {"a": 1}, "../x", "A" * 32, "x" * 100, "")),
    *ONLY_CLOSURES,
]
HOUR = 3600.0
NOW = 1_800_000_000.0


@pytest.fixture
def nodes():
    return chain("p", 3)


@pytest.fixture
def lone():
    return node("alone")


@pytest.fixture
def store(nodes, lone):
    """p-2 needs p-1 needs p-0; and one that stands alone."""
    store = MemoryStore()
    for number in range(3):
        push_package(store, nodes[number:])
    push_package(store, [lone])
    update_index(store, QUICK)
    return store


def keep(*kept, **more):
    return Keep(named=frozenset(n["hash"] for n in kept), **more)


def plan(store, rules, now=NOW):
    contents = read_contents(store)
    return plan_prune(store, contents, rules, read_pins(store, contents.pins), now)


def prune(store, rules, now=NOW, grace=HOUR):
    result = condemn(store, plan(store, rules, now), QUICK, now=now)
    return delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=grace, now=now)


def packages(store):
    return {tag for tag in store.tags() if tag.endswith(".spack") and tag != "index.spack"}


def indexed(store):
    return set(fetch_index(store).entries())


def test_nothing_to_keep_is_an_error(store):
    with pytest.raises(ConfigurationError, match="nothing says what to keep"):
        plan(store, Keep())


def test_what_is_kept_is_kept_with_what_it_needs(store, nodes, lone):
    planned = plan(store, keep(nodes[1]))
    assert planned.kept == {tag_of(nodes[1]): "named", tag_of(nodes[2]): "needed by what is kept"}
    assert set(planned.doomed) == {tag_of(nodes[0]), tag_of(lone)} and planned.size > 0


def test_in_the_grace_period_packages_are_out_of_the_index_and_still_there(store, nodes, lone):
    before = packages(store)
    result = prune(store, keep(nodes[0]))
    assert result.condemned == [tag_of(lone)] == result.waiting and not result.deleted
    assert packages(store) == before and lone["hash"] not in indexed(store)
    update_index(store, QUICK, full=True)
    assert lone["hash"] not in indexed(store)


def test_after_it_they_are_deleted_with_their_signatures(store, nodes, lone):
    signature = sign(store, store.resolve(tag_of(lone)))
    kept = sign(store, store.resolve(tag_of(nodes[0])), b"other")
    prune(store, keep(nodes[0]))
    result = prune(store, keep(nodes[0]), now=NOW + HOUR)
    assert result.deleted == [tag_of(lone)] and result.attached == 1 and not result.failed
    assert packages(store) == {tag_of(n) for n in nodes}
    assert kept in set(store.tags()) and signature not in set(store.tags())
    assert read_plan(store).condemned == {}


def test_without_grace_one_run_does_it(store, nodes, lone):
    result = prune(store, keep(nodes[0]), grace=0)
    assert result.deleted == [tag_of(lone)] and indexed(store) == {n["hash"] for n in nodes}


def test_what_was_pushed_again_meanwhile_stays(store, nodes, lone):
    prune(store, keep(nodes[0]))
    push_package(store, [lone], layer=b"built anew")
    result = prune(store, keep(nodes[0]), now=NOW + HOUR)
    # it has another manifest, and so a time of its own
    assert not result.deleted and tag_of(lone) in packages(store)


def test_what_its_pusher_has_merged_into_the_index_stays(store, nodes, lone):
    prune(store, keep(nodes[0]))
    planned = plan(store, keep(nodes[0]), NOW + HOUR)
    result = condemn(store, planned, QUICK, now=NOW + HOUR)
    merge_pushed(store, [read_package(store, tag_of(lone))], QUICK)
    result = delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=HOUR, now=NOW + HOUR)
    assert result.reprieved == [tag_of(lone)] and tag_of(lone) in packages(store)


def test_a_prune_that_was_killed_before_it_wrote_the_index_is_finished_by_the_next(store, nodes, lone):
    planned = plan(store, keep(nodes[0]))
    write_plan(store, PrunePlan({tag_of(lone): Condemned(planned.doomed[tag_of(lone)], int(NOW))}))
    # the time counts from now: who has read the index meanwhile may be installing it
    result = prune(store, keep(nodes[0]), now=NOW + HOUR)
    assert result.waiting == [tag_of(lone)] and lone["hash"] not in indexed(store)
    assert prune(store, keep(nodes[0]), now=NOW + 2 * HOUR).deleted == [tag_of(lone)]


def test_an_index_whose_writer_was_killed_between_its_documents_is_updated_first(store, nodes):
    overwrite_as_spack(store)
    assert read_contents(store).index is None
    assert len(read_current_contents(store, QUICK).index) == 4
    store.reset()
    read_current_contents(store, QUICK)
    assert not store.calls["put_manifest"]


def test_a_deletion_whose_answer_was_lost_is_one(store, nodes, lone):
    gone = store.resolve(tag_of(lone)).digest

    def lose_the_answer(reference):
        if reference == gone:
            del store.manifests[gone], store.tagged[tag_of(lone)]

    store.before["delete_manifest"] = lose_the_answer
    result = prune(store, keep(nodes[0]), grace=0)
    assert result.deleted == [tag_of(lone)] and not result.failed


def test_a_tag_that_a_cut_deletion_has_left_without_a_manifest_goes(store, nodes, lone):
    gone = store.resolve(tag_of(lone)).digest

    def cut(reference):
        if reference == gone:
            del store.manifests[gone]

    store.before["delete_manifest"] = cut
    result = prune(store, keep(nodes[0]), grace=0)
    assert result.deleted == [tag_of(lone)] and tag_of(lone) not in set(store.tags())


def test_such_a_tag_goes_also_if_the_deletion_of_what_takes_it_away_is_cut_once(store, nodes, lone):
    prune(store, keep(nodes[0]))

    def cut(reference):
        if store.calls["delete_manifest"] <= 2:
            store.manifests.pop(reference, None)  # the manifest goes, its tags stay
            raise NotFound("the deletion was sent again, because its answer was lost")

    store.before["delete_manifest"] = cut
    prune(store, keep(nodes[0]), NOW + 2 * HOUR)
    assert tag_of(lone) not in packages(store) and lone["hash"] not in indexed(store)


@pytest.fixture
def others(store):
    """Three more that nobody needs, condemned an hour ago."""
    others = [node(f"other-{number}") for number in range(3)]
    for each in others:
        push_package(store, [each])
    update_index(store, QUICK)
    return others


def test_what_is_pushed_again_while_others_are_deleted_stays_though_its_manifest_is_the_same(store, nodes, others):
    prune(store, keep(nodes[0]))
    last = max(others, key=tag_of)

    def push_again(reference):
        store.before.clear()
        reprieve(store, [tag_of(last)])
        push_package(store, [last])
        merge_pushed(store, [read_package(store, tag_of(last))], QUICK)

    store.before["delete_manifest"] = push_again
    result = prune(store, keep(nodes[0]), NOW + 2 * HOUR)
    assert tag_of(last) in result.reprieved and not result.failed
    assert packages(store) >= {tag_of(last)} and last["hash"] in indexed(store)
    assert store.resolve(tag_of(last)) and tag_of(last) not in read_plan(store).condemned


def test_what_is_pushed_again_while_a_prune_makes_its_plan_is_not_put_back_on_it(store, nodes, others):
    prune(store, keep(nodes[0]))
    planned = plan(store, keep(nodes[0]), NOW + 10)
    reprieve(store, [tag_of(others[0])])
    condemn(store, replace(planned, seen={}), QUICK, now=NOW + 10)
    assert tag_of(others[0]) not in read_plan(store).condemned
    assert tag_of(others[1]) in read_plan(store).condemned


def test_what_is_copied_into_the_cache_meanwhile_stays(store, nodes, lone):
    prune(store, keep(nodes[0]))
    source = MemoryStore("oci://elsewhere.example/cache")
    with GraphCopy(store, source) as copier:
        copier.copy(tag_of(lone))
    update_index(source, QUICK)
    both = compare(source, store)
    assert execute_copy(source, store, both.found, plan_copy(both, Selection()), QUICK).copied
    assert lone["hash"] in indexed(store) and not read_plan(store).condemned
    update_index(store, QUICK, full=True)
    assert lone["hash"] in indexed(store)


def test_a_package_that_is_wanted_again_comes_back_into_the_index(store, nodes, lone):
    prune(store, keep(nodes[0]))
    result = prune(store, keep(nodes[0], lone), now=NOW + 2 * HOUR)
    assert result.reprieved == [tag_of(lone)] and not result.deleted
    assert lone["hash"] in indexed(store)


def test_packages_of_images_are_kept(store, nodes, lone):
    push_image(store, "tools", content=f"layer of {lone['hash']}".encode())
    assert plan(store, keep(nodes[0])).kept[tag_of(lone)] == "in the image tools"


def test_a_lock_file_of_another_cache_does_not_delete_all(store, nodes, lone):
    elsewhere = frozenset({"b" * 32})
    for rules in (Keep(locked=elsewhere), Keep(named=elsewhere)):
        with pytest.raises(ConfigurationError, match="nothing of what is to be kept is in .*, so all 4 packages"):
            plan(store, rules)
    write_pin(store, "gone", elsewhere)
    with pytest.raises(ConfigurationError, match="so all 4 packages would be deleted"):
        plan(store, Keep())
    assert len(plan(store, Keep(locked=elsewhere, last=1)).kept) == 4
    # all is old, which is what was asked for
    assert len(plan(store, Keep(locked=elsewhere, newer_than=0.0)).doomed) == 4


@pytest.mark.parametrize("document", ODD_LOCKS, ids=range(len(ODD_LOCKS)))
def test_a_lock_file_that_is_none_is_refused_before_anything_is_pinned(tmp_path, document):
    """A pin with what is no hash could not be read by who prunes."""
    path = tmp_path / "spack.lock"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    with pytest.raises(ConfigurationError, match="no lock file"):
        hashes_of_lock_file(str(path))
    if document not in ONLY_CLOSURES:
        with pytest.raises(ConfigurationError, match="no lock file"):
            roots_of_lock(read_lock_file(str(path)), str(path))


def test_a_pin_is_of_somebody_whose_name_is_no_text(store, lone, monkeypatch):
    monkeypatch.setenv("LOGNAME", os.fsdecode(b"\xe9tienne"))
    assert write_pin(store, "mine", [lone["hash"]]).by.startswith("?tienne@")
    assert [pin.name for pin in read_pins(store, store.tags())] == ["mine"]


def test_lists_of_lists_are_asked_for_what_is_in_them_once(store, nodes, lone):
    """Each names the next one many times; however deep, what is in them is kept."""
    descriptor = push_image(store, "tools", content=f"layer of {lone['hash']}".encode())
    store.delete_manifest("tools")
    for _ in range(6):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor.to_dict()] * 50}
        descriptor = store.put_manifest(canonical_json(document), OCI_INDEX, "lists")
    store.reset()
    assert plan(store, keep(nodes[0])).kept[tag_of(lone)] == "in the image lists"
    assert store.calls["get_manifest"] < 20


def test_pins_keep_until_they_are_over(store, nodes, lone):
    write_pin(store, "paper-2026", [lone["hash"]], until=int(NOW + HOUR))
    assert plan(store, keep(nodes[0])).kept[tag_of(lone)] == "pinned by paper-2026"
    assert tag_of(lone) in plan(store, keep(nodes[0]), NOW + 2 * HOUR).doomed
    write_pin(store, "for-ever", [lone["hash"]])
    assert plan(store, Keep(), NOW + 2 * HOUR).kept == {tag_of(lone): "pinned by for-ever"}
    remove_pin(store, "for-ever")
    with pytest.raises(ConfigurationError):
        plan(store, Keep(), NOW + 2 * HOUR)
    with pytest.raises(NotFound, match="no pin other"):
        remove_pin(store, "other")


def other_document(store, tag, media_type, text):
    """As somebody else may write it."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": media_type,
        "config": put_bytes(store, b"{}", OCI_EMPTY).to_dict(),
        "layers": [put_bytes(store, text.encode(), media_type).to_dict()],
    }
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)


@pytest.mark.parametrize("until", ["9" * 5000, "1e999", "-1", "253402300800", '"2027"', "NaN"])
def test_a_pin_that_cannot_be_read_stops_a_prune_and_can_be_taken_away(store, nodes, lone, until):
    write_pin(store, "good", [nodes[0]["hash"]])
    text = f'{{"version": 1, "name": "Bad", "hashes": ["abc"], "until": {until}}}'
    other_document(store, "spack-oci.pin.Bad", "application/vnd.spack-oci.pin.v1+json", text)
    with pytest.raises(InvalidContent, match=r"spack-oci\.pin\.Bad") as raised:
        plan(store, keep(lone))
    assert raised.value.remedy.endswith(f"`spack oci unpin {store.url} Bad` takes it away")
    outcomes = dict(read_each_pin(store, store.tags()))
    assert isinstance(outcomes["Bad"], InvalidContent) and outcomes["good"].hashes == {nodes[0]["hash"]}
    remove_pin(store, "Bad")
    assert plan(store, Keep()).kept[tag_of(nodes[0])] == "pinned by good"


@pytest.mark.parametrize("field", ["since", "seen"])
@pytest.mark.parametrize("time", ["9" * 5000, "1e999", "-1", "253402300800", '"1800000000"', "NaN", "true"])
def test_times_in_a_plan_are_times(store, lone, field, time):
    digest = store.resolve(tag_of(lone)).digest
    since, seen = (time, "1") if field == "since" else ("1", time)
    text = f'{{"version": 1, "condemned": {{"{tag_of(lone)}": {{"manifest": "{digest}", "since": {since}}}}}, '
    other_document(
        store, PLAN_TAG, "application/vnd.spack-oci.prune.v1+json", f'{text}"seen": {{"{digest}": {seen}}}}}'
    )
    with pytest.raises(InvalidContent, match=PLAN_TAG) as raised:
        read_plan(store)
    assert f"delete the tag {PLAN_TAG}" in raised.value.remedy


def test_a_time_that_is_to_come_is_of_a_clock_that_was_wrong(store, nodes, lone):
    future = int(NOW + 1000 * HOUR)
    condemn(store, plan(store, keep(nodes[0]), future), QUICK, now=future)
    assert read_plan(store).condemned[tag_of(lone)].since == future
    assert prune(store, keep(nodes[0])).waiting == [tag_of(lone)]
    assert read_plan(store).condemned[tag_of(lone)].since == NOW
    assert set(read_plan(store).seen.values()) == {NOW}
    assert prune(store, keep(nodes[0]), now=NOW + 2 * HOUR).deleted == [tag_of(lone)]


def test_age_counts_from_the_first_prune_that_saw_a_package(store, nodes, lone):
    day = 24 * HOUR
    rules = Keep(newer_than=30 * day)
    assert len(plan(store, rules).kept) == 4
    condemn(store, plan(store, rules), QUICK, now=NOW)
    young = node("young")
    push_package(store, [young])
    update_index(store, QUICK)
    planned = plan(store, rules, NOW + 31 * day)
    assert planned.kept == {tag_of(young): "seen less than 30 days ago"} and len(planned.doomed) == 4


def test_the_last_builds_of_a_version_are_kept(store, nodes):
    condemn(store, plan(store, Keep(last=1)), QUICK, now=NOW)
    newer = [node("p-0", package_hash=f"build {number}") for number in range(2)]
    for build in newer:
        push_package(store, [build])
    update_index(store, QUICK)
    planned = plan(store, Keep(last=2), NOW + HOUR)
    assert {tag_of(build) for build in newer} <= planned.kept.keys()
    # the oldest build of p-0 stays because p-1 needs it
    assert planned.kept[tag_of(nodes[2])] == "needed by what is kept"


def test_a_registry_that_does_not_delete_is_asked_once_and_loses_nothing(store, nodes, lone):
    extra = node("extra")
    push_package(store, [extra])
    update_index(store, QUICK)
    store.fail("delete_manifest", UnexpectedResponse("deleting: 405", status=405))
    result = prune(store, keep(nodes[0]), grace=0)
    assert len(result.failed) == 1 and store.calls["delete_manifest"] == 1
    assert set(read_plan(store).condemned) == {tag_of(lone), tag_of(extra)}


def test_a_manifest_that_an_image_tag_names_stays(store, nodes, lone):
    with GraphCopy(store, store) as copier:
        copier.copy(tag_of(lone), tag="by-another-name")
    planned = plan(store, keep(nodes[0]))
    assert tag_of(lone) in planned.kept


def test_a_prune_that_was_killed_is_finished_by_the_next(store, nodes, lone):
    store.fail("delete_manifest", ServerFailure("deleting: 500", status=500), times=1)
    result = prune(store, keep(nodes[0]), grace=0)
    assert list(result.failed) == [tag_of(lone)]
    assert prune(store, keep(nodes[0]), grace=0, now=NOW + 1).deleted == [tag_of(lone)]
    assert packages(store) == {tag_of(n) for n in nodes}


def test_a_tag_that_the_index_does_not_know_is_left_alone(store, nodes):
    late = node("late")
    push_package(store, [late])
    planned = plan(store, keep(nodes[0]))
    assert planned.unknown == (tag_of(late),) and tag_of(late) not in planned.doomed


def test_no_trace_of_a_prune_costs_a_writer_of_the_index_nothing(store):
    store.reset()
    update_index(store, QUICK)
    assert ("get_manifest", PLAN_TAG) not in store.log


def test_a_plan_that_is_none_is_named_and_goes_with_its_tag(store):
    """Anybody who may push can put it there; nobody then knows what an index has to leave out."""
    write_json_artifact(store, PLAN_TAG, "application/vnd.spack-oci.prune.v1+json", {"version": 1, "condemned": 5})
    with pytest.raises(InvalidContent, match=f"{PLAN_TAG}.* is not valid: .*: delete the tag {PLAN_TAG}"):
        update_index(store, QUICK)
    store.delete_manifest(PLAN_TAG)
    assert update_index(store, QUICK).total
