# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import io
import os
import random
import subprocess
import sys
import time

import pytest
from spack_oci.content.blob_cache import BlobCache, CachedBlob, KnownLayer, LayerKey
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor, sha256_digest
from spack_oci.errors import DigestMismatch, StorageError

KEY = LayerKey("hash", "isal:2", "state")
DIFF_ID = "sha256:" + "1" * 64


@pytest.fixture
def cache(tmp_path):
    return BlobCache(str(tmp_path / "cache"), max_size=1000)


def put(cache, data, used=None):
    digest = sha256_digest(data)
    path = cache.add(digest, io.BytesIO(data))
    if used is not None:
        os.utime(path, (used, used))
    return digest


def layer(data=b"layer"):
    return KnownLayer(Descriptor.of(data, OCI_LAYER_GZIP), DIFF_ID, 10240, {"prefix_length": 42})


def test_a_stream_is_kept_and_found(cache):
    digest = put(cache, b"content")
    with open(cache.get(digest), "rb") as file:
        assert file.read() == b"content"
    assert cache.usage() == (1, 7)


def test_a_file_is_moved_in(cache, tmp_path):
    source = tmp_path / "layer"
    source.write_bytes(b"content")
    path = cache.add(sha256_digest(b"content"), str(source))
    assert not source.exists()
    assert path == cache.get(sha256_digest(b"content"))


def test_a_file_of_another_file_system_is_copied(cache, tmp_path, monkeypatch):
    source = tmp_path / "layer"
    source.write_bytes(b"content")
    replace = os.replace

    def other_device(old, new):
        if str(old) == str(source):
            raise OSError(18, "Invalid cross-device link")
        replace(old, new)

    monkeypatch.setattr(os, "replace", other_device)
    path = cache.add(sha256_digest(b"content"), str(source))
    with open(path, "rb") as file:
        assert file.read() == b"content"
    assert not source.exists()


def test_what_is_not_there(cache):
    assert cache.get(sha256_digest(b"never")) is None
    assert cache.lookup_layer(KEY) is None
    assert cache.usage() == (0, 0)
    assert cache.clean() == (0, 0)


def test_a_stream_with_another_digest_is_refused(cache):
    with pytest.raises(DigestMismatch):
        cache.add(sha256_digest(b"one"), io.BytesIO(b"two"))
    assert cache.get(sha256_digest(b"one")) is None
    assert os.listdir(os.path.join(cache.root, "tmp")) == []


def test_the_least_recently_used_blobs_go_first(cache):
    old = put(cache, b"a" * 400, used=1000)
    middle = put(cache, b"b" * 400, used=2000)
    assert cache.get(old)  # now it is the youngest
    new = put(cache, b"c" * 400)
    assert cache.get(middle) is None
    assert cache.get(old) and cache.get(new)


def test_a_blob_larger_than_the_cache_stays_until_the_next_one(cache):
    small = put(cache, b"s" * 10)
    large = put(cache, b"l" * 5000)
    assert cache.get(large) and not cache.get(small)
    put(cache, b"n" * 10)
    assert not cache.get(large)


def test_the_size_stays_bounded_over_many_small_blobs(cache):
    for number in range(200):
        put(cache, number.to_bytes(2, "big") * 20)
        assert cache.usage()[1] <= 1000


def test_a_removed_blob_stays_readable_for_who_has_it_open(cache):
    digest = put(cache, b"content")
    with open(cache.get(digest), "rb") as file:
        cache.clean()
        assert file.read() == b"content"
    assert cache.get(digest) is None


def test_layers_are_remembered_by_what_they_were_made_of(cache):
    cache.remember_layer(KEY, layer())
    assert cache.lookup_layer(KEY) == layer()
    for other in (LayerKey("x", "isal:2", "state"), LayerKey("hash", "x", "state"), LayerKey("hash", "isal:2", "x")):
        assert cache.lookup_layer(other) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"descriptor": {}}', b"\xff"])
def test_a_damaged_memory_is_no_memory(cache, content):
    cache.remember_layer(KEY, layer())
    with open(os.path.join(cache.root, "layers", KEY.name + ".json"), "wb") as file:
        file.write(content)
    assert cache.lookup_layer(KEY) is None


def test_clean_removes_blobs_and_memories(cache):
    put(cache, b"content")
    cache.remember_layer(KEY, layer())
    assert cache.clean() == (1, 7)
    assert cache.lookup_layer(KEY) is None
    assert cache.usage() == (0, 0)


def test_leftovers_of_a_crash_go_and_files_being_written_stay(cache):
    put(cache, b"x")
    tmp = os.path.join(cache.root, "tmp")
    for name in ("crashed", "young"):
        with open(os.path.join(tmp, name), "wb") as file:
            file.write(b"half")
    past = time.time() - 3600
    os.utime(os.path.join(tmp, "crashed"), (past, past))

    class Slow(io.BytesIO):
        def read(self, size=-1):
            for name in os.listdir(tmp):
                if name not in ("crashed", "young"):
                    os.utime(os.path.join(tmp, name), (past, past))
            cache.clean()
            return super().read(size)

    digest = sha256_digest(b"slow")
    assert cache.add(digest, Slow(b"slow")) == cache.get(digest)
    assert os.listdir(tmp) == ["young"]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    cache = BlobCache(str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError):
        put(cache, b"content")
    with pytest.raises(StorageError):
        cache.remember_layer(KEY, layer())
    assert cache.get(sha256_digest(b"content")) is None
    assert cache.lookup_layer(KEY) is None


def test_a_cached_blob_is_checked_while_it_is_sent(cache):
    digest = put(cache, b"content")
    blob = CachedBlob(cache.get(digest), Descriptor(OCI_LAYER_GZIP, digest, 7))
    with blob.open() as stream:
        assert stream.read(3) + stream.read(100) == b"content"
    with open(blob.path, "wb") as file:
        file.write(b"CONTENT")
    with blob.open() as stream, pytest.raises(DigestMismatch):
        stream.read(7)
    cache.drop(digest)
    cache.drop(digest)
    with pytest.raises(FileNotFoundError):
        blob.open()


WORKER = """
import io, random, sys
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import sha256_digest

cache = BlobCache(sys.argv[1], max_size=20_000)
generator = random.Random(int(sys.argv[2]))
for _ in range(150):
    data = generator.randrange(40).to_bytes(2, "big") * 1000
    digest = sha256_digest(data)
    path = cache.get(digest)
    try:
        if path is None:
            path = cache.add(digest, io.BytesIO(data))
        with open(path, "rb") as file:
            assert file.read() == data
    except FileNotFoundError:
        pass
"""


def test_several_processes_at_once(tmp_path):
    root = str(tmp_path / "cache")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, root, str(random.randrange(1000))], env=environment)
        for _ in range(3)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    BlobCache(root, max_size=20_000).add(sha256_digest(b"last"), io.BytesIO(b"last"))
    assert BlobCache(root).usage()[1] <= 20_000
    assert os.listdir(os.path.join(root, "tmp")) == []
