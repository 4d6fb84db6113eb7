# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""SIGKILL at random moments of a copy and of a prune, in a layout and in a registry: what is there then works, and the
next run finishes. Fifty of each in `make test-all`."""

import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
from spack_oci.index.publish import DATABASE_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import Backoff, UpdateSettings, update_index
from spack_oci.layout import LayoutStore
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.lifecycle.contents import read_contents, read_current_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from support.packages.cache_builder import chain, push_image, sign, tag_of
from support.packages.readable_packages import layer_of, push_readable
from support.registries.docker_registry import docker_registry

COUNT = 8
NODES = chain("p", COUNT)
#: a chain is kept with all that it needs; the rest of it goes
KEPT = NODES[COUNT // 2 :]
#: seconds
PATIENCE = 60
SETTINGS = UpdateSettings(backoff=Backoff(limit=0.05))

times = [pytest.param(2, id="some"), pytest.param(50, id="fifty", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The URL of a layout with packages, a signature and an image."""
    url = LayoutDirectory(str(tmp_path_factory.mktemp("source") / "cache")).url
    store = open_store(url)
    for number in range(COUNT):
        layer = layer_of(NODES[number:]).file("share/data", random.Random(number).randbytes(200_000))
        push_readable(store, NODES[number:], layer)
    sign(store, store.resolve(tag_of(NODES[0])))
    push_image(store, "tools")
    update_index(store, SETTINGS)
    return url


@pytest.fixture(params=["layout", "registry"])
def new_url(request, tmp_path):
    """A function that gives the URL of a cache that nobody has used."""
    if request.param == "layout":
        return lambda: LayoutDirectory(str(tmp_path / os.urandom(6).hex())).url
    running = request.getfixturevalue("registry")
    return lambda: running.mirror_url(f"killed-{os.urandom(6).hex()}")


def open_store(url):
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        store = LayoutStore(location, durable=False)
        store.create()
        return store
    return open_repository(location)


def copy(source, target):
    store = open_store(target)
    both = compare(open_store(source), store)
    plan = plan_copy(both, Selection())
    result = execute_copy(both.source, store, both.found, plan, SETTINGS, jobs=4)
    assert not result.failed, result.failed
    return plan


def prune(target):
    store = open_store(target)
    contents = read_current_contents(store, SETTINGS)
    plan = plan_prune(store, contents, Keep(named=frozenset({KEPT[0]["hash"]})))
    result = condemn(store, plan, SETTINGS)
    result = delete_condemned(store, lambda: read_current_contents(store, SETTINGS), result, SETTINGS, grace=0)
    assert not result.failed, result.failed
    return result


def killed(function, *arguments, after):
    """Run it in a process of its own, and kill that if it has not ended by itself after so many seconds."""
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    child.join(after)
    if child.exitcode is None:
        os.kill(child.pid, signal.SIGKILL)
    child.join(PATIENCE)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode


def moments(count, prepare, function):
    """So many random moments of a run, which takes as long as it took this time."""
    arguments = prepare()
    started = time.monotonic()
    killed(function, *arguments, after=PATIENCE)
    duration = time.monotonic() - started
    chosen = random.Random(os.urandom(8))
    return [(prepare(), chosen.uniform(0, duration)) for _ in range(count)]


def check(url, expected):
    store = open_store(url)
    assert not verify_cache(store, read_contents(store), Level.CONTENT).findings
    contents = read_contents(store)
    assert contents.packages == {tag_of(node) for node in expected} == set(contents.index.tags)
    assert contents.images == {"tools"}


def check_usable(url, kept):
    """Whatever the index says is there, and what is kept is in it."""
    store = open_store(url)
    entries = fetch_index(store).entries()
    assert {node["hash"] for node in kept} <= entries.keys()
    for entry in entries.values():
        assert store.has_blob(entry.layer.digest)
        assert store.resolve(entry.tag).digest == entry.manifest.digest


@pytest.mark.parametrize("count", times)
def test_a_copy_that_was_killed_runs_again_and_finishes(source, new_url, count):
    for (_, target), after in moments(count, lambda: (source, new_url()), copy):
        killed(copy, source, target, after=after)
        store = open_store(target)
        if DATABASE_TAG in set(store.tags()):
            check_usable(target, ())
        copy(source, target)
        check(target, NODES)
        assert copy(source, target).is_empty
        for node in NODES:
            assert open_store(source).resolve(tag_of(node)) == open_store(target).resolve(tag_of(node))


@pytest.mark.parametrize("count", times)
def test_a_prune_that_was_killed_leaves_a_cache_that_works_and_the_next_one_finishes(source, new_url, count):
    def prepare():
        target = new_url()
        location = parse_url(target)
        if isinstance(location, LayoutDirectory):
            shutil.copytree(parse_url(source).path, location.path)
        else:
            copy(source, target)
        return (target,)

    for (target,), after in moments(count, prepare, prune):
        killed(prune, target, after=after)
        check_usable(target, KEPT)
        prune(target)
        check(target, KEPT)
        assert not prune(target).deleted
