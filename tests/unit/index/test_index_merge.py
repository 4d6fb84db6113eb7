# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Several writers of one index at the same time, in memory."""

import pytest
from spack_oci.errors import IndexUpdateError
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import Backoff, merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package, quick, tag_of
from support.packages.index_checks import cached, installs, pushed


@pytest.fixture
def store():
    return MemoryStore()


def test_merge_needs_no_reading_of_what_was_pushed(store):
    package = pushed(store, chain("p", 2))
    store.reset()
    result = merge_pushed(store, [package], QUICK)
    assert (result.total, result.added, result.writes) == (1, 1, 1)
    assert not [tag for verb, tag in store.log if verb == "get_manifest" and tag.endswith(".spack")]


@pytest.mark.parametrize("with_ours", [False, True])
def test_first_merge_into_a_cache_of_spack_loses_nothing_meanwhile(store, with_ours):
    """Not for a moment is there an index without the packages that Spack's had."""
    others = [node(f"other{number}") for number in range(5)]
    if with_ours:
        update_index(store, QUICK)
    for package in others:
        push_package(store, [package])
    overwrite_as_spack(store, [package["hash"] for package in others])
    mine = pushed(store, [node("mine")])
    seen = []
    store.before["tags"] = lambda _: seen.append(set(installs(store)))
    merge_pushed(store, [mine], QUICK)
    assert all({package["hash"] for package in others} <= index for index in seen)
    assert seen[-1] == {package["hash"] for package in others} | {mine.dag_hash}


def in_line():
    """What happens in the first wait of a pusher that sees packages of others: nothing."""


def test_merge_leaves_what_others_are_pushing_to_them(store):
    """Their packages are not read at once: in most cases they merge them themselves in a moment."""
    push_package(store, [node("first")])
    update_index(store, QUICK)
    other = node("other")
    push_package(store, [other])
    mine = pushed(store, [node("mine")])

    def other_merges():
        merge_pushed(store, [read_package(store, tag_of(other))], QUICK)
        store.reset()

    waits = [other_merges, in_line]
    result = merge_pushed(store, [mine], quick(backoff=Backoff(sleep=lambda seconds: waits.pop()())))
    assert not waits
    assert not [tag for verb, tag in store.log if verb == "get_manifest" and tag == tag_of(other)]
    assert cached(store) == {node("first")["hash"], other["hash"], mine.dag_hash}
    assert result.writes == 1


def test_merge_replaces_a_package_that_was_pushed_again(store):
    push_package(store, [node("p")], layer=b"old")
    update_index(store, QUICK)
    push_package(store, [node("p")], layer=b"new")
    merge_pushed(store, [read_package(store, tag_of(node("p")))], QUICK)
    entry = fetch_index(store).entries()[node("p")["hash"]]
    assert entry.manifest == store.resolve(tag_of(node("p")))


def test_stale_writer_finds_that_it_overwrote_another(store):
    """Between our reading of the index and our writing, another pusher comes and is done."""
    mine, other = pushed(store, [node("mine")]), node("other")

    def intrude(tag):
        if tag == DATABASE_TAG:
            store.before.clear()
            push_package(store, [other])
            update_index(store, QUICK)

    store.before["put_manifest"] = intrude
    result = merge_pushed(store, [mine], QUICK)
    assert result.total == 2
    assert cached(store) == {mine.dag_hash, other["hash"]}


@pytest.mark.parametrize("victim", [DATABASE_TAG, DOCUMENT_TAG])
def test_writes_of_two_that_are_mixed_are_found(store, victim):
    """Another's write lands between our two, or between the two of another's after ours."""
    mine = pushed(store, [node("mine")])
    others = pushed(store, [node("other")])
    merge_pushed(store, [others], QUICK)
    stale = store.tagged[victim]

    def overwrite(_):
        if victim in store.tagged and store.tagged[victim] != stale:
            store.before.clear()
            store.tagged[victim] = stale

    store.before["tags"] = overwrite
    merge_pushed(store, [mine], QUICK)
    assert fetch_index(store).source == DOCUMENT_TAG
    assert cached(store) == {mine.dag_hash, others.dag_hash}


def test_others_that_push_all_the_time_do_not_keep_us(store):
    """A tag appears before every listing, so that no look is ever complete. What was there when it had written is read
    once, as nobody else writes who would see to it; the rest is left to who pushes it."""
    counter = iter(range(1000))
    store.before["tags"] = lambda _: push_package(store, [node(f"other{next(counter)}")])
    mine = pushed(store, [node("mine")])
    store.reset()
    result = merge_pushed(store, [mine], QUICK)
    assert len([tag for verb, tag in store.log if verb == "get_manifest" and tag.startswith("other")]) == 3
    # one in the first look, one while it waited for its turn, one in the look after its write
    assert cached(store) == {mine.dag_hash, *(node(f"other{number}")["hash"] for number in range(3))}
    assert (len(result.pending), result.writes) == (7, 2)


def test_what_a_prune_takes_away_while_its_pusher_waits_does_not_come_back(store):
    """It is the last that has written, and waits for who has pushed the other; the prune writes the index, too."""
    push_package(store, [node("first")])
    update_index(store, QUICK)
    others = pushed(store, [node("other")])
    mine = pushed(store, [node("mine"), node("dependency")])

    def prune():
        store.delete_manifest(store.resolve(mine.entry.tag).digest)
        merge_pushed(store, [others], QUICK)

    waits = [prune, in_line]
    waiting = Backoff(sleep=lambda seconds: waits.pop()() if waits else None)
    merge_pushed(store, [mine], quick(backoff=waiting))
    assert not waits
    assert mine.dag_hash not in cached(store)


def test_others_that_have_gone_are_read_by_the_next_pusher(store):
    """Nothing moves while it waits: nobody is there who would merge them."""
    push_package(store, [node("first")])
    update_index(store, QUICK)
    push_package(store, [node("left")])
    mine = pushed(store, [node("mine")])
    result = merge_pushed(store, [mine], QUICK)
    assert cached(store) == {node(name)["hash"] for name in ("first", "left", "mine")}
    assert not result.pending


def test_pusher_that_is_overwritten_after_it_has_looked_merges_again(store):
    """Another has looked before it wrote, and writes after that; it leaves what it does not know to others."""
    base = chain("base", 2)
    push_package(store, base)
    update_index(store, QUICK)
    stale = {tag: store.tagged[tag] for tag in (DATABASE_TAG, DOCUMENT_TAG)}
    mine = pushed(store, [node("mine")])
    push_package(store, [node("other")])

    def overwrite():
        """As long as the pusher waits, the index becomes one without its package."""
        store.tagged.update(stale)

    waits = [overwrite, in_line]
    waiting = Backoff(sleep=lambda seconds: waits.pop()() if waits else None)
    merge_pushed(store, [mine], quick(backoff=waiting))
    assert not waits
    assert mine.dag_hash in cached(store)


def test_lone_pusher_waits_for_nobody(store):
    waits = []
    update_index(store, QUICK)
    merge_pushed(store, [pushed(store, [node("mine")])], quick(backoff=Backoff(sleep=waits.append)))
    assert not waits


def test_endless_overwriting_is_an_error(store):
    """Something that always wins and never has our package is no writer of ours."""
    mine = pushed(store, [node("mine")])
    store.before["resolve"] = lambda _: overwrite_as_spack(store)
    with pytest.raises(IndexUpdateError, match="update-index"):
        merge_pushed(store, [mine], quick(backoff=Backoff(attempts=3, sleep=lambda seconds: None)))


def test_what_was_just_read_is_not_replaced_by_an_older_index(store):
    """While ``full`` writes, a stale writer puts the index back that has the old layer of a package."""
    package = node("p")
    push_package(store, [package], layer=b"old")
    update_index(store, QUICK)
    stale = {tag: store.tagged[tag] for tag in (DATABASE_TAG, DOCUMENT_TAG)}
    push_package(store, [package], layer=b"new")
    push_package(store, [node("mine")])

    def put_back(tag):
        if tag == DOCUMENT_TAG and store.tagged[tag] != stale[tag]:
            store.before.clear()
            store.tagged.update(stale)

    store.before["get_manifest"] = put_back
    update_index(store, QUICK, full=True)
    assert fetch_index(store).entries()[package["hash"]].manifest == store.resolve(tag_of(package))


def test_backoff_grows_with_the_cycle_and_is_bounded():
    slept = []
    backoff = Backoff(sleep=slept.append, uniform=lambda low, high: high, limit=5.0)
    for attempt in range(5):
        backoff.wait(attempt, 0.5)
    assert slept == [0.5, 1.0, 2.0, 4.0, 5.0]
    backoff.wait(0, 0.0)
    assert slept[-1] > 0
