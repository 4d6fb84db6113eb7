# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Downloads that break, lie, trickle or never end: they complete, or end in one error. Requests are counted."""

import errno
import gzip
import io
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from spack_oci.content import read_blob
from spack_oci.content.blob_cache import BlobCache
from spack_oci.content.cached_fetch import fetch_into_cache
from spack_oci.descriptor import sha256_digest
from spack_oci.errors import (
    ConnectionLost,
    DigestMismatch,
    Forbidden,
    InvalidContent,
    TimedOut,
    UnexpectedResponse,
    Unreachable,
)
from spack_oci.reference import Repository
from spack_oci.registry import RetryPolicy, open_repository
from spack_oci.registry.downloads import WRITER, BackgroundWriter
from support.limits import threads_at_most
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, MANIFEST, NAME, SMALL, fetch, keep, layer, settings_for, store_at


@pytest.mark.parametrize("how", ["truncate", "reset_after"])
def test_download_goes_on_where_it_broke(how):
    cut = 1_000_000
    with fault_registry(Fault("GET", "/blobs/", **{how: cut}), Fault("GET", "/blobs/", **{how: cut})) as registry:
        keep(registry, LARGE)
        assert fetch(store_at(registry), LARGE) == LARGE
        assert registry.methods() == ["GET 200", "GET 206", "GET 206"]
        second, third = (headers for _, _, headers in registry.seen[1:])
        assert second["If-Range"] == f'"{sha256_digest(LARGE)}"'
        assert second["Range"] == f"bytes={cut}-" and third["Range"] == f"bytes={2 * cut}-"


def test_download_where_ranges_are_ignored():
    with fault_registry(
        Fault("GET", "/blobs/", truncate=1_000_000), Fault("GET", "/blobs/", ignore_range=True)
    ) as registry:
        keep(registry, LARGE)
        assert fetch(store_at(registry), LARGE) == LARGE
        assert registry.methods() == ["GET 200", "GET 200"]


def test_download_with_the_wrong_range():
    with fault_registry(
        Fault("GET", "/blobs/", truncate=1_000_000), Fault("GET", "/blobs/", wrong_range=True)
    ) as registry:
        keep(registry, LARGE)
        with pytest.raises(UnexpectedResponse, match="asked for bytes 1000000-, got Content-Range 'bytes 0-"):
            fetch(store_at(registry), LARGE)
        assert registry.methods() == ["GET 200", "GET 206"]


def test_download_that_never_gets_anywhere():
    with fault_registry(Fault("GET", "/blobs/", truncate=0, times=99)) as registry:
        keep(registry, LARGE)
        with pytest.raises(ConnectionLost, match=r"4 tries, 0 of \d+ bytes"):
            fetch(store_at(registry), LARGE)
        assert registry.methods() == ["GET 200"] * 4


@pytest.mark.parametrize("how", ["truncate", "reset_after"])
def test_file_goes_on_where_its_download_broke(how, tmp_path):
    cut, moved = 1_500_000, []
    with fault_registry(Fault("GET", "/blobs/", **{how: cut})) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f:
            store_at(registry).save_blob(layer(LARGE), f, moved.append)
        assert (tmp_path / "blob").read_bytes() == LARGE and sum(moved) == len(LARGE)
        assert registry.methods() == ["GET 200", "GET 206"]
        assert registry.seen[1][2]["Range"] == f"bytes={cut}-"


class _File(io.BytesIO):
    """Counts the bytes of each write; ``room``: how many there is room for."""

    def __init__(self, room=1 << 40):
        super().__init__()
        self.room, self.sizes = room, []

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.sizes.append(len(data))
        return super().write(data)


def test_file_is_written_in_moderate_pieces():
    """Very large writes make some file systems look for very large pieces of memory."""
    with fault_registry() as registry:
        keep(registry, LARGE)
        file = _File()
        store_at(registry).save_blob(layer(LARGE), file)
    assert file.getvalue() == LARGE
    assert max(file.sizes) == 256 << 10 and len(file.sizes) <= len(LARGE) / (256 << 10) + 2


@pytest.mark.parametrize("room", [0, 1 << 20, len(LARGE) - 1])
def test_full_disk(room):
    """Said as it is, wherever it happens, also with the last bytes; nothing is fetched again, and no thread stays."""
    with fault_registry() as registry:
        keep(registry, LARGE)
        with store_at(registry) as store, pytest.raises(OSError, match="No space left"):
            store.save_blob(layer(LARGE), _File(room))
        assert registry.methods() == ["GET 200"]
    assert WRITER not in [thread.name for thread in threading.enumerate()]


def test_memory_is_bounded_where_the_file_is_slow():
    """The network waits for the file: what is received and not yet written is a few MiB."""
    data, ahead = bytes(32 << 20), []

    class Slow(io.BytesIO):
        def write(self, chunk):
            time.sleep(0.002)
            ahead.append(sum(moved) - self.tell())
            return super().write(chunk)

    moved = []
    with fault_registry() as registry:
        keep(registry, data)
        store_at(registry).save_blob(layer(data), Slow(), moved.append)
    assert max(ahead) <= 8 << 20


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_reading_in_both_ways(data):
    with fault_registry() as registry:
        keep(registry, data)
        with store_at(registry).open_blob(layer(data)) as reader:
            buffer = bytearray(4)
            assert reader.read(5) == data[:5]
            assert reader.readinto(buffer) == 4 and buffer == data[5:9]
            assert reader.read() == data[9:]


def test_small_blob_damaged_once():
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, SMALL)
        assert read_blob(store_at(registry), layer(SMALL)) == SMALL
        assert registry.methods() == ["GET 200", "GET 200"]


def test_small_blob_damaged_always():
    with fault_registry(Fault("GET", "/blobs/", corrupt=True, times=9)) as registry:
        keep(registry, SMALL)
        with pytest.raises(DigestMismatch):
            read_blob(store_at(registry), layer(SMALL))
        assert registry.methods() == ["GET 200", "GET 200"]


def test_large_blob_damaged_once(tmp_path):
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f:
            store_at(registry).save_blob(layer(LARGE), f)
        assert (tmp_path / "blob").read_bytes() == LARGE
        assert registry.methods() == ["GET 200", "GET 200"]


@pytest.mark.parametrize(
    "faults, statuses",
    [
        ([], {"GET 206": 3}),
        ([Fault("GET", "/blobs/", truncate=1000)], {"GET 206": 4}),
        ([Fault("GET", "/blobs/", ignore_range=True, times=3)], {"GET 200": 4}),
        ([Fault("GET", "/blobs/", corrupt=True)], {"GET 206": 6}),
    ],
)
def test_parallel_ranges(faults, statuses, tmp_path, monkeypatch):
    monkeypatch.setattr("spack_oci.registry.downloads.MIN_PART", 1 << 20)
    moved = []
    with fault_registry(*[replace(f) for f in faults]) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f:
            store_at(registry, parallel_ranges=3).save_blob(layer(LARGE), f, moved.append)
        assert (tmp_path / "blob").read_bytes() == LARGE
        assert dict(Counter(registry.methods())) == statuses
        assert sum(moved) == len(LARGE)


@pytest.mark.parametrize("parts, requests", [(1, 2), (3, 6)])
def test_fetch_of_a_layer_that_is_damaged_once(parts, requests, tmp_path, monkeypatch):
    """The way that installs take; the first bytes are looked at once, however they come."""
    monkeypatch.setattr("spack_oci.registry.downloads.MIN_PART", 1 << 20)
    cache, shown = BlobCache(str(tmp_path), 1 << 30), []
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, LARGE)
        assert fetch_into_cache(store_at(registry, parallel_ranges=parts), layer(LARGE), cache, peek=shown.append)
        assert len(registry.requests()) == requests
    assert Path(cache.path(sha256_digest(LARGE))).read_bytes() == LARGE
    assert len(shown) == 1 and shown[0][1:100] == LARGE[1:100]


def test_peek_that_stops_a_fetch(tmp_path):
    def peek(data):
        raise InvalidContent("not this one")

    with fault_registry() as registry:
        keep(registry, LARGE)
        cache = BlobCache(str(tmp_path), 1 << 30)
        with pytest.raises(InvalidContent, match="not this one"):
            fetch_into_cache(store_at(registry), layer(LARGE), cache, peek=peek)
        assert registry.methods() == ["GET 200"]
        assert cache.get(sha256_digest(LARGE)) is None and os.listdir(tmp_path / "fetching") == []


def test_large_blob_damaged_always(tmp_path):
    with fault_registry(Fault("GET", "/blobs/", corrupt=True, times=9)) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f, pytest.raises(DigestMismatch):
            store_at(registry).save_blob(layer(LARGE), f)
        assert registry.methods() == ["GET 200", "GET 200"]


@pytest.mark.parametrize("how", ["truncate", "reset_after"])
@pytest.mark.parametrize("path", ["/manifests/", "/tags/", "/referrers/"])
def test_document_that_breaks_off(path, how):
    """It is asked for again; without end, one error says so."""
    with fault_registry() as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry)
        operations = {
            "/manifests/": lambda: store.get_manifest("1")[1] == MANIFEST,
            "/tags/": lambda: list(store.tags()) == ["1"],
            "/referrers/": lambda: store.referrers(sha256_digest(SMALL)) == [],
        }
        registry.faults.append(Fault("GET", path, **{how: 10}, times=2))
        assert operations[path]()
        assert registry.methods() == ["GET 200"] * 3
        registry.faults.append(Fault("GET", path, **{how: 10}, times=99))
        with pytest.raises(ConnectionLost, match=r"\(4 tries\)"):
            operations[path]()
        assert registry.methods() == ["GET 200"] * 7


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_proxy_that_compresses_blobs_is_named(content):
    body = gzip.compress(content)
    fault = Fault("GET", "/blobs/", status=200, headers={"Content-Encoding": "gzip"}, body=body, times=99)
    with fault_registry(fault) as registry, pytest.raises(DigestMismatch) as raised:
        store_at(registry).save_blob(layer(content), io.BytesIO())
    assert "Content-Encoding gzip: a proxy" in str(raised.value)
    assert len(registry.log) <= 2


def test_a_store_that_calls_content_compressed_and_sends_it_as_it_is_serves():
    """Object stores keep the field that an upload came with."""
    fault = Fault("GET", "/blobs/", status=200, headers={"Content-Encoding": "gzip"}, body=SMALL)
    with fault_registry(fault) as registry:
        store_at(registry).save_blob(layer(SMALL), io.BytesIO())


def test_manifest_damaged():
    with fault_registry(Fault("GET", "/manifests/", corrupt=True)) as registry:
        keep(registry, manifest=MANIFEST)
        assert store_at(registry).get_manifest("1")[1] == MANIFEST
        registry.faults.append(Fault("GET", "/manifests/", corrupt=True, times=9))
        with pytest.raises(DigestMismatch, match="came back with the digest"):
            store_at(registry).get_manifest(sha256_digest(MANIFEST))
        assert registry.methods() == ["GET 200"] * 4


@pytest.mark.parametrize("path", ["/blobs/", "/manifests/", "/tags/"])
def test_endless_body(path):
    with fault_registry(Fault("GET", path, endless=True)) as registry:
        keep(registry, LARGE, manifest=MANIFEST)
        store = store_at(registry)
        with pytest.raises((DigestMismatch, InvalidContent), match="more than"):
            if path == "/blobs/":
                fetch(store, LARGE)
            elif path == "/manifests/":
                store.get_manifest("1")
            else:
                list(store.tags())
        assert registry.methods() == ["GET 200"]


def test_endless_body_of_an_error():
    with fault_registry(Fault("GET", "/manifests/", status=403, endless=True)) as registry:
        with pytest.raises(Forbidden):
            store_at(registry).get_manifest("1")
        assert registry.methods() == ["GET 403", "GET 200"]  # and whether it wants credentials


def test_slow_loris():
    """A byte now and then is silence."""
    with fault_registry(Fault("GET", "/manifests/", dribble=0.05, times=9)) as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry, read_timeout=0.4, retry=RetryPolicy(attempts=2, base=0.01))
        with pytest.raises(TimedOut, match=r"no answer in time \(2 tries\)"):
            store.get_manifest("1")
        assert registry.methods() == ["GET 200", "GET 200"]


@pytest.mark.parametrize("data", [LARGE, LARGE[:20000]], ids=["large", "small"])
def test_slow_loris_in_a_body(data):
    """A few bytes for each request do not make the next one the first again: it would go on for days."""
    with fault_registry(Fault("GET", "/blobs/", dribble=0.02, dribble_after=1500, times=99)) as registry:
        keep(registry, data)
        retry = RetryPolicy(attempts=3, base=0.01)
        store = store_at(registry, read_timeout=0.3, retry=retry, minimum_rate=100_000)
        with pytest.raises(TimedOut, match=r"\(3 tries, \d+ of \d+ bytes arrived\)"):
            fetch(store, data)
        assert registry.methods() == ["GET 200", "GET 206", "GET 206"]


def test_slow_registry_that_is_fast_enough():
    """Any number of time-outs, as long as there is something to show for each."""
    faults = [Fault("GET", "/blobs/", dribble=0.05, dribble_after=500_000) for _ in range(5)]
    with fault_registry(*faults) as registry:
        keep(registry, LARGE)
        store = store_at(registry, read_timeout=0.3, retry=RetryPolicy(attempts=2, base=0.01), minimum_rate=1_000_000)
        assert fetch(store, LARGE) == LARGE
        assert registry.methods() == ["GET 200"] + ["GET 206"] * 5


def test_registry_that_restarts():
    """Refused connections are retried once the registry has been seen alive; at first sight they are an error."""
    with fault_registry() as registry:
        keep(registry, SMALL)
        store = store_at(registry)
        assert store.has_blob(sha256_digest(SMALL))
        port = int(registry.host.rpartition(":")[2])
    again = []

    def restart(seconds):
        again.append(fault_registry(port=port))
        keep(again[0].__enter__(), SMALL)

    settings = settings_for(registry, retry=RetryPolicy(attempts=2, base=0.01, sleep=restart))
    store.client.settings = settings
    assert store.has_blob(sha256_digest(SMALL))
    again[0].__exit__(None, None, None)
    with pytest.raises(Unreachable):
        open_repository(Repository("127.0.0.1:1", NAME, "http"), settings).has_blob(sha256_digest(SMALL))


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_download_is_written_with_as_many_threads_as_the_system_allows(monkeypatch, allowed):
    target, data = io.BytesIO(), os.urandom(10_000_000)
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
    with BackgroundWriter(target) as writer:
        rest = memoryview(data)
        while rest:
            buffer = writer.buffer()
            count = min(len(buffer), len(rest))
            buffer[:count] = rest[:count]
            writer.write(buffer, count)
            rest = rest[count:]
    assert target.getvalue() == data
