# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Registries that contradict themselves, whose tags cannot be moved, or that have nothing under a mistyped name."""

import pytest
from spack_oci.errors import Forbidden, IndexUpdateError, NotFound, UnexpectedResponse
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.index.update.read_tags import LOOKS
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, node, push_package, quick, tag_of

P, Q = node("p"), node("q")


@pytest.fixture
def store():
    result = MemoryStore()
    push_package(result, [P])
    push_package(result, [Q])
    update_index(result, QUICK)
    return result


def lose(store, tag, times=None):
    """The listing names the tag, and its manifest is 404."""
    for verb in ("resolve", "get_manifest"):
        store.fail(verb, NotFound(f"{tag}: 404"), times, when=lambda reference: reference == tag)


def test_listed_tag_that_is_404_for_a_moment_is_asked_for_again(store):
    new = node("new")
    push_package(store, [new])
    lose(store, tag_of(new), times=LOOKS - 1)
    result = update_index(store, QUICK)
    assert (result.total, result.unreadable, result.kept) == (3, {}, {})


def test_listed_tag_that_is_404_keeps_its_entry_and_is_named(store):
    lose(store, tag_of(Q))
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert (result.total, result.removed, list(result.kept)) == (2, 0, [tag_of(Q)])
    assert tag_of(Q) in warnings[0] and "kept as the index had it" in warnings[0]
    assert set(fetch_index(store).entries()) == {P["hash"], Q["hash"]}
    assert store.calls["get_manifest"] < 20


def test_listed_tag_that_is_404_and_new_is_named(store):
    new = node("new")
    push_package(store, [new])
    lose(store, tag_of(new))
    result = update_index(store, QUICK)
    assert (result.total, list(result.unreadable)) == (2, [tag_of(new)])


def test_tag_that_is_deleted_while_it_is_read_is_gone_and_not_named(store):
    listed = store.tags

    def delete(tag):
        if tag == tag_of(Q):
            store.before.clear()
            store.delete_manifest(tag)

    store.before["resolve"] = delete
    warnings = []
    result = update_index(store, quick(warn=warnings.append))
    assert (result.total, result.removed, result.kept, result.unreadable, warnings) == (1, 1, {}, {}, [])
    assert tag_of(Q) not in list(listed())


@pytest.mark.parametrize(
    "error",
    [
        UnexpectedResponse("400 tag invalid: The image tag already exists", status=400, codes=["TAG_INVALID"]),
        Forbidden("403: tag index.spack is immutable", status=403, codes=["DENIED"]),
        UnexpectedResponse("412: configured as immutable, cannot be updated", status=412, codes=["PRECONDITION"]),
    ],
)
def test_immutable_tags_are_named_with_what_to_do(store, error):
    new = node("new")
    push_package(store, [new])
    store.fail("put_manifest", error, when=lambda tag: tag in (DATABASE_TAG, DOCUMENT_TAG))
    for update in (
        lambda: update_index(store, QUICK),
        lambda: merge_pushed(store, [read_package(store, tag_of(new))], QUICK),
    ):
        with pytest.raises(IndexUpdateError, match="immutable") as e:
            update()
        assert DATABASE_TAG in e.value.remedy and DOCUMENT_TAG in e.value.remedy
        assert "oci:index:repository" in e.value.remedy


def test_other_refusals_stay_what_they_are(store):
    push_package(store, [node("new")])
    store.fail("put_manifest", Forbidden("403: read-only", status=403), when=lambda tag: tag == DATABASE_TAG)
    with pytest.raises(Forbidden):
        update_index(store, QUICK)


@pytest.mark.parametrize("full", [True, False])
def test_update_that_finds_nothing_new_writes_nothing(store, full):
    """So that it succeeds where tags cannot be moved."""
    store.fail("put_manifest", UnexpectedResponse("400", status=400, codes=["TAG_INVALID"]))
    store.fail("put_blob", UnexpectedResponse("400", status=400))
    assert update_index(store, QUICK, full=full).writes == 0


def test_index_in_another_repository(store):
    index_store = MemoryStore("oci://memory.example/cache-index")
    settings = quick(index_store=index_store)
    result = update_index(store, settings)
    assert (result.total, result.writes) == (2, 1)
    assert set(index_store.tagged) == {DATABASE_TAG, DOCUMENT_TAG}
    push_package(store, [node("new")])
    merge_pushed(store, [read_package(store, tag_of(node("new")))], settings)
    assert len(fetch_index(index_store).entries()) == 3
    assert update_index(store, settings).writes == 0


def test_nothing_under_a_mistyped_name_gets_no_index():
    empty = MemoryStore()
    with pytest.raises(NotFound, match="neither packages nor an index"):
        update_index(empty, QUICK, create=False)
    assert not empty.tagged and not empty.blobs
    assert update_index(empty, QUICK).total == 0
    # what has an index may have lost its last package
    assert update_index(empty, QUICK, create=False).total == 0
