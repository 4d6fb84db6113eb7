# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writers, readers, a prune and a copy of one cache at the same time: nothing that is kept is lost, nothing that was
pruned comes back, and in the end the index says what the tags say. Ten minutes with 3,000 packages in `make test-all`.
"""

import multiprocessing
import random
import time
import traceback
from typing import NamedTuple

import pytest
from spack_oci.errors import NotFound, SpackOciError
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import Backoff, UpdateSettings, merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.layout import LayoutStore
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.lifecycle.contents import read_contents, read_current_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from support.cache_builder import chain, node, push_package, tag_of
from support.docker_registry import docker_registry

#: seconds between taking out of the index and deleting; readers read the index anew before that is over
GRACE, AGE_OF_INDEX = 2.5, 0.3
SETTINGS = UpdateSettings(backoff=Backoff(limit=0.5))


class Extent(NamedTuple):
    """``kept``, ``doomed``: packages at the start; ``each``: writers, and readers; ``seconds``."""

    kept: int
    doomed: int
    each: int
    seconds: float


SOME = Extent(20, 10, 2, 4)
MANY = Extent(2000, 1000, 8, 600)


@pytest.fixture(params=["layout", "registry"])
def url(request, tmp_path):
    if request.param == "layout":
        yield LayoutDirectory(str(tmp_path / "cache")).url
        return
    with docker_registry() as running:
        yield running.mirror_url("together")


def open_store(url):
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        store = LayoutStore(location, durable=False)
        store.create()
        return store
    return open_repository(location)


def write(url, number, until):
    """Push packages and add them to the index, one after the other; how many."""
    store, count = open_store(url), 0
    while time.time() < until:
        package = [node(f"w{number}-{count}")]
        push_package(store, package)
        merge_pushed(store, [read_package(store, tag_of(package[0]))], SETTINGS)
        count += 1
    return count


def read(url, number, until):
    """Fetch packages that the index names, as installs do; how many."""
    store, count, chosen = open_store(url), 0, random.Random(number)
    while time.time() < until:
        asked_at = time.time()
        entries, read_at = list(fetch_index(store).entries().values()), time.time()
        while entries and time.time() < min(until, read_at + AGE_OF_INDEX):
            try:
                with store.open_blob(chosen.choice(entries).layer) as reader:
                    reader.read()
            except NotFound:
                if time.time() < asked_at + GRACE:
                    raise
                break  # on a busy machine: its index is older than a reader may have it
            count += 1
    return count


def prune(url, number, until):
    """Remove what is called ``old``, again and again; how many."""
    store, count = open_store(url), 0
    while time.time() < until:
        count += len(prune_once(store, GRACE).deleted)
        time.sleep(0.2)
    return count


def prune_once(store, grace):
    contents = read_current_contents(store, SETTINGS)
    wanted = {h for tag, h in contents.index.tags.items() if not tag.startswith("old-")}
    result = condemn(store, plan_prune(store, contents, Keep(named=frozenset(wanted))), SETTINGS)
    result = delete_condemned(store, lambda: read_current_contents(store, SETTINGS), result, SETTINGS, grace=grace)
    assert not result.failed, result.failed
    return result


def copy(url, target, until):
    """Copy the cache again and again; how many packages. What a prune removes meanwhile fails alone."""
    source, store, count = open_store(url), open_store(target), 0
    while time.time() < until:
        both = compare(source, store)
        result = execute_copy(source, store, both.found, plan_copy(both, Selection()), SETTINGS, jobs=2)
        assert all(tag.startswith("old-") for tag in result.failed), result.failed
        count += len(result.copied)
    return count


def run(function, words, results):
    try:
        results.put((function.__name__, function(*words)))
    except (Exception, SpackOciError):
        results.put((function.__name__, traceback.format_exc()))


@pytest.mark.parametrize(
    "extent", [pytest.param(SOME, id="some"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)
def test_writers_readers_a_prune_and_a_copy_at_the_same_time(url, tmp_path, extent):
    store = open_store(url)
    kept = [*chain("keep", 5), *(node(f"keep-lone-{number}") for number in range(extent.kept - 5))]
    for number in range(5):
        push_package(store, kept[number:5])
    for package in [*kept[5:], *(node(f"old-{number}") for number in range(extent.doomed))]:
        push_package(store, [package])
    update_index(store, SETTINGS)
    target = LayoutDirectory(str(tmp_path / "copy")).url
    open_store(target)
    context, until = multiprocessing.get_context("fork"), time.time() + extent.seconds
    results = context.Queue()
    work = [(prune, (url, 0, until)), (copy, (url, target, until))]
    work += [(function, (url, number, until)) for function in (write, read) for number in range(extent.each)]
    children = [context.Process(target=run, args=(function, words, results)) for function, words in work]
    for child in children:
        child.start()
    found = [results.get(timeout=extent.seconds + 120) for _ in children]
    for child in children:
        child.join()
    assert all(isinstance(count, int) for _, count in found), "\n".join(str(c) for _, c in found if isinstance(c, str))
    done = {name: sum(count for other, count in found if other == name) for name, _ in found}
    assert all(done.values()), done
    for _ in range(2):
        prune_once(store, 0)
    contents = read_contents(store)
    written = {tag for tag in contents.packages if tag.startswith("w")}
    assert len(written) == done["write"] and not [tag for tag in contents.packages if tag.startswith("old-")]
    assert {tag_of(package) for package in kept} == contents.packages - written == set(contents.index.tags) - written
    assert not verify_cache(store, contents, Level.BLOBS).findings
    both = compare(store, open_store(target))
    assert not execute_copy(
        store, both.destination, both.found, plan_copy(both, Selection(), delete=True), SETTINGS
    ).failed
    assert read_contents(both.destination).packages == contents.packages
