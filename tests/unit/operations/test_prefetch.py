# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The blob cache as the meeting place: nothing is fetched twice, and what comes is fetched ahead, within limits."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest
from spack_oci.content import put_bytes
from spack_oci.content.blob_cache import BlobCache
from spack_oci.content.cached_fetch import fetch_into_cache, open_cached
from spack_oci.descriptor import OCI_LAYER_GZIP
from spack_oci.errors import ConnectionLost, DigestMismatch, PrefixTooLong, StorageError
from spack_oci.operations.install import transfer_limiter
from spack_oci.operations.install.prefetch import Prefetch, PrefetchItem, PrefetchLimits, prefetch
from support.limits import at_most, threads_at_most
from support.memory_store import MemoryStore

LAYER = b"layer" * 1000


@pytest.fixture
def cache(tmp_path):
    return BlobCache(str(tmp_path / "cache"))


@pytest.fixture
def store():
    return MemoryStore()


def left_in(cache):
    directory = os.path.join(cache.root, "fetching")
    return os.listdir(directory) if os.path.isdir(directory) else []


def test_one_download_for_many_who_ask_at_once(cache, store):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    store.before["open_blob"] = lambda _: time.sleep(0.1)
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch_into_cache(store, layer, cache))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.calls["open_blob"] == 1 and sorted(results) == [False] * 7 + [True]
    assert left_in(cache) == []


def test_when_the_first_one_fails_the_next_one_tries(cache, store):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    store.fail("open_blob", ConnectionLost("cut"), times=1)
    with pytest.raises(ConnectionLost):
        fetch_into_cache(store, layer, cache)
    assert fetch_into_cache(store, layer, cache) and left_in(cache) == []


def test_what_a_killed_download_left_is_removed(cache, store):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    os.makedirs(os.path.join(cache.root, "fetching"))
    name = layer.digest.replace(":", "-")
    for left in (name + ".0123.part", "sha256-another.0123.part"):
        with open(os.path.join(cache.root, "fetching", left), "w"):
            pass
    fetch_into_cache(store, layer, cache)
    assert left_in(cache) == ["sha256-another.0123.part"]


def test_a_look_at_the_first_bytes_can_stop_the_download(cache, store):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)

    def peek(data):
        assert LAYER.startswith(data) and data
        raise PrefixTooLong("no")

    with pytest.raises(PrefixTooLong):
        fetch_into_cache(store, layer, cache, peek=peek)
    assert cache.get(layer.digest) is None and left_in(cache) == []


def test_a_damaged_entry_is_found_when_it_is_read(cache, store):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    fetch_into_cache(store, layer, cache)
    with open(cache.path(layer.digest), "r+b") as f:
        f.write(b"!")
    with pytest.raises(DigestMismatch, match="blob cache"), open_cached(store, layer, cache) as reader:
        reader.read()
    cache.drop(layer.digest)
    with open_cached(store, layer, cache) as reader:
        assert reader.read() == LAYER


def test_a_cache_that_keeps_nothing_says_so(cache, store, monkeypatch):
    layer = put_bytes(store, LAYER, OCI_LAYER_GZIP)
    add = cache.add

    def evicted(digest, source):
        add(digest, source)
        cache.drop(digest)

    monkeypatch.setattr(cache, "add", evicted)
    with pytest.raises(StorageError, match="max_size") as error:
        open_cached(store, layer, cache)
    assert str(layer.size) in str(error.value)


class Run:
    """Packages whose prefix appears when told to."""

    def __init__(self, root, count, size=10):
        self.fetched = []
        self.wanted = [
            PrefetchItem(str(root / f"p{i}"), size, lambda _, i=i: self.fetched.append(i)) for i in range(count)
        ]

    def install(self, i):
        os.mkdir(self.wanted[i].prefix)

    def until(self, count, limits):
        """Fetch ahead until ``count`` packages were fetched, and a little longer."""
        end = time.monotonic() + 120
        after = []

        def stopped():
            if len(self.fetched) >= count and not after:
                after.append(time.monotonic() + 0.2)
            return time.monotonic() > (after[0] if after else end)

        prefetch(self.wanted, limits, stopped)
        return sorted(self.fetched)


def test_no_more_than_the_limits_ahead(tmp_path):
    run = Run(tmp_path, 10)
    assert run.until(3, PrefetchLimits(count=3)) == [0, 1, 2]
    run = Run(tmp_path, 10)
    assert run.until(2, PrefetchLimits(size=25)) == [0, 1]
    run = Run(tmp_path, 10, size=100)
    assert run.until(1, PrefetchLimits(size=25)) == [0], "a package larger than the limit comes alone"


def test_what_is_installed_makes_room_for_more(tmp_path):
    run = Run(tmp_path, 6)
    thread = threading.Timer(0.3, lambda: [run.install(i) for i in (0, 1)])
    thread.start()
    run.install(3)
    assert run.until(4, PrefetchLimits(count=2)) == [0, 1, 2, 4], "and what is there already is not fetched"


def test_a_failure_is_left_to_the_installer(tmp_path):
    run = Run(tmp_path, 3)

    def fail(progress):
        raise ConnectionLost("cut")

    run.wanted[0] = PrefetchItem(run.wanted[0].prefix, 10, fail)
    assert run.until(2, PrefetchLimits()) == [1, 2]


def test_a_process_of_its_own(tmp_path):
    done = tmp_path / "done"
    with Prefetch([PrefetchItem(str(tmp_path / "p"), 1, lambda _: done.write_text(str(os.getpid())))]) as ahead:
        ahead.wait()
    assert int(done.read_text()) != os.getpid()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_where_no_more_processes_are_allowed_nothing_is_prefetched(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fork", at_most(0, os.fork, OSError(number, os.strerror(number))))
    with Prefetch([PrefetchItem(str(tmp_path / "p"), 1, lambda _: pytest.fail("fetched"))]) as nothing:
        nothing.wait()


@pytest.mark.parametrize("allowed", [0, 1])
def test_with_as_many_threads_as_the_system_allows(tmp_path, monkeypatch, allowed):
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
    assert Run(tmp_path, 3).until(3, PrefetchLimits()) == [0, 1, 2]


def test_it_stops_at_once(tmp_path):
    ahead = Prefetch([PrefetchItem(str(tmp_path / "p"), 1, lambda _: time.sleep(900))])
    started = time.monotonic()
    ahead.stop()
    ahead.stop()
    assert time.monotonic() - started < 300


def test_it_ends_with_the_process_that_started_it(tmp_path):
    script = (
        "import os, sys, time; from spack_oci.operations.install.prefetch import Prefetch, PrefetchItem\n"
        "ahead = Prefetch([PrefetchItem('/nonexistent', 1, id), PrefetchItem('/nonexistent2', 5 << 30, id)])\n"
        "print(ahead._child.pid, flush=True); os._exit(0)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, check=True, timeout=120)
    pid = int(done.stdout)
    for _ in range(2400):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


def test_what_comes_next_is_asked_for_while_the_one_before_is_fetched(tmp_path):
    """To find out where a package is takes time, and there may be hundreds."""
    fetched, asked = [], []

    def wanted():
        for number in range(10):
            asked.append((number, len(fetched)))
            yield PrefetchItem(str(tmp_path / str(number)), 1, lambda _, number=number: fetched.append(number))

    prefetch(wanted(), PrefetchLimits(transfers=1), lambda: False)
    assert fetched == list(range(10))
    assert all(number - done <= 2 for number, done in asked)


class SlowLink:
    """1 MB a second for each package; when each of them began, in bytes of the one before that were there."""

    def __init__(self, root, sizes):
        self.arrived, self.began = [0] * len(sizes), []
        self.wanted = [
            PrefetchItem(str(root / f"p{i}"), n, lambda p, i=i: self.bring(i, p)) for i, n in enumerate(sizes)
        ]

    def bring(self, i, progress):
        self.began.append(self.arrived[i - 1] if i else 0)
        while self.arrived[i] < self.wanted[i].size:
            time.sleep(0.02)
            self.arrived[i] += 20_000
            progress(20_000)


def test_over_a_slow_link_a_large_package_has_it_to_itself_until_it_is_nearly_there(tmp_path, monkeypatch):
    """So that it is there, and being installed, while the next one is on its way."""
    monkeypatch.setattr(transfer_limiter, "FEW", 1_000_000)
    link = SlowLink(tmp_path, [20_000, 1_200_000, 100_000])
    prefetch(link.wanted, PrefetchLimits(transfers=4), lambda: bool(link.arrived[2]))
    assert 500_000 < link.began[2] < 1_200_000
