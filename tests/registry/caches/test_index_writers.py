# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Many processes that push to one cache and merge its index, on a registry and on a layout; some are killed."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import Backoff, UpdateSettings, merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.layout import LayoutStore
from spack_oci.package.record import is_package_tag
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from support.packages.cache_builder import chain, node, push_package, tag_of
from support.registries.docker_registry import docker_registry

WRITERS, PACKAGES = 8, 10
#: seconds; a writer that takes longer has hung
PATIENCE = 600


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture(params=["registry", "layout"])
def new_url(request, tmp_path):
    """A function that gives the URL of a cache that nobody has used."""
    if request.param == "layout":
        return lambda name: LayoutDirectory(str(tmp_path / name)).url
    running = request.getfixturevalue("registry")
    return lambda name: running.mirror_url(f"{name}-{os.urandom(4).hex()}")


def open_store(url):
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        # the syncing makes the processes wait for the disk, and less of each other
        store = LayoutStore(location, durable=False)
        store.create()
        return store
    return open_repository(location)


def names(writer):
    return [f"w{writer}-p{number}" for number in range(PACKAGES)]


def packages(writer):
    """Each with two dependencies, one of which all writers share."""
    shared = chain("shared", 2)
    return [[node(name, dependencies=shared[:1]), *shared] for name in names(writer)]


def push_and_merge(url, writer, barrier, batch=PACKAGES):
    """What `push --update-index` does, ``batch`` packages at a time."""
    store = open_store(url)
    pushed = []
    barrier.wait()
    for number, nodes in enumerate(packages(writer), 1):
        push_package(store, nodes)
        pushed.append(read_package(store, tag_of(nodes[0])))
        if number % batch == 0 or number == PACKAGES:
            merge_pushed(store, pushed, UpdateSettings(jobs=4, backoff=Backoff(settle=0.5)))
            pushed = []


def run_writers(url, batch=PACKAGES, killed=(), kill_after=None):
    """``killed``: writers that are killed at some moment of their work."""
    open_store(url)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WRITERS)
    processes = [
        context.Process(target=push_and_merge, args=(url, number, barrier, batch)) for number in range(WRITERS)
    ]
    for process in processes:
        process.start()
    if killed:
        kill_after()
        for number in killed:
            os.kill(processes[number].pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
    alive = [number for number, process in enumerate(processes) if process.is_alive()]
    for number in alive:
        processes[number].kill()
    assert not alive
    assert [p.exitcode for n, p in enumerate(processes) if n not in killed] == [0] * (WRITERS - len(killed))


def indexed_names(index):
    records = json.loads(index.data)["database"]["installs"].values()
    return {record["spec"]["name"] for record in records if record["in_buildcache"]}


def check_round(url):
    store = open_store(url)
    index = fetch_index(store)
    assert index.source == DOCUMENT_TAG
    assert indexed_names(index) == {name for writer in range(WRITERS) for name in names(writer)}
    assert len(index.entries()) == WRITERS * PACKAGES
    assert fetch_index(store, index.known).digest == index.digest


def test_every_package_of_every_writer_is_in_the_index(new_url):
    """One of the twenty rounds that ``test_twenty_rounds`` runs."""
    url = new_url("round")
    run_writers(url)
    check_round(url)


def test_writers_that_merge_often(new_url):
    url = new_url("often")
    run_writers(url, batch=PACKAGES // 2)
    check_round(url)


@pytest.mark.slow
def test_twenty_rounds(new_url):
    for number in range(20):
        url = new_url(f"round{number}")
        run_writers(url, batch=random.choice([PACKAGES, PACKAGES, 3]))
        check_round(url)


def killed_writers(url, seed):
    """Two writers are killed at a random moment; the survivors go on."""
    chance = random.Random(seed)
    killed = chance.sample(range(WRITERS), 2)
    store = open_store(url)

    def wait_for_some_tags():
        wanted = chance.randrange(10, WRITERS * PACKAGES // 2)
        deadline = time.monotonic() + PATIENCE
        while sum(map(is_package_tag, store.tags())) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))

    run_writers(url, batch=PACKAGES // 2, killed=killed, kill_after=wait_for_some_tags)
    index = fetch_index(store)
    survivors = {name for writer in range(WRITERS) if writer not in killed for name in names(writer)}
    assert survivors <= indexed_names(index)
    # what the killed ones had tagged is not lost either; the registry may be ending their last requests still
    deadline = time.monotonic() + PATIENCE
    while True:
        result = update_index(store)
        tags = {tag for tag in store.tags() if is_package_tag(tag)}
        if (result.total == len(tags) and not result.unreadable) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert result.total == len(tags) and not result.unreadable
    assert {entry.tag for entry in fetch_index(store).entries().values()} == tags


def test_writers_killed_in_the_middle(new_url):
    killed_writers(new_url("killed"), seed=1)


@pytest.mark.slow
def test_writers_killed_in_the_middle_twenty_times(new_url):
    for seed in range(20):
        killed_writers(new_url(f"killed{seed}"), seed)


def test_killed_between_the_two_documents_is_repaired(new_url):
    """A writer dies after ``index.spack`` and before ours."""
    url = new_url("torn")
    store = open_store(url)
    push_package(store, [node("first")])
    update_index(store)
    push_package(store, [node("second")])
    script = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from spack_oci.index.update.loop import update_index\n"
        "import test_index_writers\n"
        "store = test_index_writers.open_store(sys.argv[1])\n"
        "put = store.put_manifest\n"
        "def die(data, media_type, tag=None):\n"
        "    if tag == 'spack-oci.index': os._exit(9)\n"
        "    return put(data, media_type, tag)\n"
        "store.put_manifest = die\n"
        "update_index(store)\n"
    )
    paths = [os.path.dirname(os.path.abspath(__file__)), *sys.path]
    assert subprocess.run([sys.executable, "-c", script, url, *paths]).returncode == 9
    torn = fetch_index(open_store(url))
    assert torn.source == DATABASE_TAG
    assert indexed_names(torn) == {"first", "second"}
    assert update_index(store).writes == 1
    assert fetch_index(open_store(url)).source == DOCUMENT_TAG


def test_index_that_spack_overwrote_is_repaired_by_the_next_push(new_url):
    store = open_store(new_url("overwritten"))
    push_package(store, [node("first")])
    update_index(store)
    manifest = {
        "mediaType": OCI_MANIFEST,
        "schemaVersion": 2,
        "config": put_bytes(store, b"{}", OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, b'{"database":{"version":"8","installs":{}}}', OCI_LAYER_GZIP).to_dict()],
    }
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, DATABASE_TAG)
    push_package(store, [node("second")])
    result = merge_pushed(store, [read_package(store, tag_of(node("second")))])
    assert (result.total, result.writes) == (2, 1)
    assert indexed_names(fetch_index(store)) == {"first", "second"}


def test_exactly_a_page_of_tags_is_not_listed_for_ever(registry, monkeypatch):
    """docker-registry ignores ``n`` and ``last``: it has no second page, and gives the first again."""
    monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 3)
    store = open_store(registry.mirror_url(f"page-{os.urandom(4).hex()}"))
    for number in range(3):
        push_package(store, [node(f"p{number}")])
    assert len(list(store.tags())) == 3


def test_client_downloads_what_changed_of_an_index(new_url, tmp_path, monkeypatch):
    url = new_url("ranges")
    store = open_store(url)
    for number in range(60):
        push_package(store, chain(f"p{number}", 3))
    update_index(store)
    indexes = IndexCache(str(tmp_path / "indexes"))
    whole = refresh_index(indexes, url, store)
    push_package(store, [node("new")])
    update_index(store)
    read = []
    read_range = type(store).read_range

    def counted(self, descriptor, start, stop):
        read.append(stop - start)
        return read_range(self, descriptor, start, stop)

    monkeypatch.setattr(type(store), "read_range", counted)
    changed = refresh_index(indexes, url, open_store(url))
    assert changed.document == fetch_index(store).document != whole.document
    assert 0 < sum(read) < len(changed.document) / 3


def test_requests_of_an_incremental_update(registry):
    """Ten new packages: at most forty requests, and a HEAD for each that the index knows unless it is told not to."""
    url = registry.mirror_url(f"count-{os.urandom(4).hex()}")
    store = open_store(url)
    for number in range(60):
        push_package(store, chain(f"p{number}", 2))
    update_index(store)
    for number in range(10):
        push_package(store, [node(f"new{number}")])
    before = len(registry.requests())
    result = update_index(open_store(url), compare_digests=False)
    requests = registry.requests()[before:]
    assert result.added == 10
    assert len(requests) <= 40, requests
    before = len(registry.requests())
    assert update_index(open_store(url)).compared == 70
    compared = [line for line in registry.requests()[before:] if line.startswith("HEAD") and "index" not in line]
    assert len(compared) == 70
