# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What pushers that merge their packages at the same time ask of a registry, in a time that is computed: the counts do
not depend on the machine."""

import collections
from typing import Counter, Dict, List, NamedTuple

import pytest
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed
from spack_oci.index.update.read_package import read_package
from spack_oci.index.update.settings import Backoff, UpdateSettings
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, node, push_package, tag_of
from support.virtual_time import TimedStore, VirtualTime, at_once

SHARED, OWN = 6, 14
#: HTTP requests: POST and PUT of two blobs, and the manifest
PUSH_OF_A_PACKAGE = 5


class Outcome(NamedTuple):
    #: of all writers
    requests: Counter[str]
    #: when the last one ended
    seconds: float


def nodes_of(writer: int) -> List[Dict]:
    """The closure of a pusher: its own chain, on top of what all have."""
    found = chain("shared", SHARED)
    for number in range(OWN):
        found.insert(0, node(f"job{writer}-p{number}", dependencies=found[:1]))
    return found


def push_all_at_once(writers: int, request_time: float, left_behind: int = 0) -> Outcome:
    """``left_behind``: packages of a pusher that was killed before it merged."""
    store, time = MemoryStore(), VirtualTime(writers, 1)
    for number in range(left_behind):
        push_package(store, [node(f"left{number}")])

    def push(writer: int, timed: TimedStore) -> None:
        nodes = nodes_of(writer)
        there = set(timed.tags())
        pushed = []
        for number in reversed(range(len(nodes))):
            if tag_of(nodes[number]) in there:
                continue
            time.sleep(writer, PUSH_OF_A_PACKAGE * request_time * time.randoms[writer].uniform(0.5, 1.5))
            timed.requests["push"] += PUSH_OF_A_PACKAGE
            # each has built it with other paths in it
            push_package(store, nodes[number:], layer=f"{writer} {nodes[number]['hash']}".encode())
            pushed.append(read_package(store, tag_of(nodes[number])))
        backoff = Backoff(
            sleep=lambda seconds: time.sleep(writer, seconds),
            uniform=time.randoms[writer].uniform,
            clock=lambda: time.now,
        )
        merge_pushed(timed, pushed, UpdateSettings(jobs=1, backoff=backoff))

    stores = at_once(store, time, writers, request_time, push)
    indexed = {entry.tag: entry for entry in fetch_index(store).entries().values()}
    assert indexed.keys() == {tag for tag in store.tags() if tag.endswith(".spack") and tag != "index.spack"}
    return Outcome(sum((timed.requests for timed in stores), collections.Counter()), time.now)


@pytest.mark.parametrize("request_time", [0.01, 0.2], ids=["near", "far"])
@pytest.mark.parametrize("writers", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_pushers_at_once_make_hardly_more_requests_a_package_than_one(writers, request_time):
    alone = sum(push_all_at_once(1, request_time).requests.values())
    together = push_all_at_once(writers, request_time).requests
    assert sum(together.values()) / writers <= 1.5 * alone, (alone, together)


def test_a_pusher_does_not_wait_long_for_pushers_that_were_killed():
    """However many packages they left, and it adds those as well."""
    alone = push_all_at_once(1, 0.01, left_behind=500)
    assert alone.seconds < 60, alone
