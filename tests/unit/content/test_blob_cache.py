# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import errno
import fcntl
import io
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
import time

import pytest
from spack_oci.content import cached_fetch, put_bytes
from spack_oci.content.blob_cache import BlobCache, CachedBlob, KnownLayer, LayerKey, with_room
from spack_oci.content.cached_fetch import fetch_into_cache, use_cached
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor, sha256_digest
from spack_oci.errors import DigestMismatch, StorageError
from support.memory_store import MemoryStore

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
    past = time.time() - 3700
    os.utime(os.path.join(tmp, "crashed"), (past, past))

    class Slow(io.BytesIO):
        def read(self, size=-1):
            cache.clean()
            return super().read(size)

    digest = sha256_digest(b"slow")
    assert cache.add(digest, Slow(b"slow")) == cache.get(digest)
    assert os.listdir(tmp) == ["young"]


def modes(root):
    """Of all files and directories below, and of the root, without setgid."""
    paths = [root, *(os.path.join(parent, n) for parent, names, files in os.walk(root) for n in names + files)]
    return {(os.path.isdir(path), stat.S_IMODE(os.stat(path).st_mode) & 0o777) for path in paths}


def fill(cache, tmp_path):
    """By each way in which a file comes to be there."""
    put(cache, b"stream")
    (tmp_path / "layer").write_bytes(b"file")
    cache.add(sha256_digest(b"file"), str(tmp_path / "layer"))
    cache.remember_layer(KEY, layer())
    store = MemoryStore()
    fetch_into_cache(store, put_bytes(store, b"fetched", OCI_LAYER_GZIP), cache)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_cached_is_for_its_owner_alone(cache, tmp_path, umask):
    """Packages may be restricted to some users."""
    before = os.umask(umask)
    try:
        fill(cache, tmp_path)
    finally:
        os.umask(before)
    assert modes(cache.root) == {(True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_cache_made_for_a_group_is_shared_in_it(cache, tmp_path, umask):
    os.mkdir(cache.root)
    os.chmod(cache.root, 0o2770)
    before = os.umask(umask)
    try:
        fill(cache, tmp_path)
    finally:
        os.umask(before)
    assert modes(cache.root) == {(True, 0o770), (False, 0o660)}
    assert os.stat(os.path.join(cache.root, "blobs", "sha256")).st_mode & stat.S_ISGID


def test_a_cache_that_an_earlier_version_left_readable_is_closed(cache):
    os.mkdir(cache.root, 0o755)
    put(cache, b"content")
    assert stat.S_IMODE(os.stat(cache.root).st_mode) == 0o700


def test_a_cache_that_may_only_be_read_is_read(cache, monkeypatch):
    digest = put(cache, b"content")
    monkeypatch.setattr(os, "utime", raising(errno.EROFS))
    assert cache.get(digest) == cache.path(digest)
    assert cache.get(sha256_digest(b"never")) is None


def raising(number):
    def fail(*arguments, **_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(cache, tmp_path, monkeypatch, number):
    """Lustre mounted with noflock, NFS without a lock daemon."""
    monkeypatch.setattr(fcntl, "flock", raising(number))
    fill(cache, tmp_path)
    old = put(cache, b"o" * 900, used=1000)
    put(cache, b"n" * 900)
    assert cache.get(old) is None
    assert cache.clean()[0]


def test_housekeeping_that_fails_is_no_reason_to_lose_what_was_fetched(cache, monkeypatch):
    monkeypatch.setattr(os, "walk", raising(errno.EIO))
    digest = put(cache, b"x" * 2000)
    assert cache.get(digest)


def test_blobs_are_removed_under_the_lock(cache):
    """Two that remove at the same time would remove twice as much as has to go."""
    put(cache, b"content")
    with open(os.path.join(cache.root, "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cleaning = threading.Thread(target=cache.clean)
        cleaning.start()
        cleaning.join(0.3)
        assert cleaning.is_alive() and cache.usage() == (1, 7)
    cleaning.join(10)
    assert cache.usage() == (0, 0)


class Full:
    """A file system that is full until the cache has given something up."""

    def __init__(self, cache, monkeypatch, number=errno.ENOSPC, forever=False):
        self.cache, self.number, self.forever, self.fails = cache, number, forever, 0
        self.before = cache.usage()
        monkeypatch.setattr(cached_fetch, "save_blob", self.save)

    def save(self, store, descriptor, file, progress):
        if self.forever or self.cache.usage() == self.before:
            self.fails += 1
            raise OSError(self.number, os.strerror(self.number))
        file.write(store.blobs[descriptor.digest])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_what_was_not_used_for_longest_makes_room(cache, monkeypatch, number):
    old, young = put(cache, b"old", used=1000), put(cache, b"young", used=2000)
    full = Full(cache, monkeypatch, number)
    store = MemoryStore()
    assert fetch_into_cache(store, put_bytes(store, b"new", OCI_LAYER_GZIP), cache)
    assert full.fails == 1 and cache.get(old) is None and cache.get(young)


def test_a_disk_that_stays_full_is_named_with_path_and_sizes(cache, monkeypatch):
    put(cache, b"old")
    Full(cache, monkeypatch, forever=True)
    store = MemoryStore()
    with pytest.raises(StorageError) as error:
        fetch_into_cache(store, put_bytes(store, b"x" * 3000, OCI_LAYER_GZIP), cache)
    message = str(error.value)
    for said in ("3.0 kB", "No space left on device", cache.root, " free of ", "free some space"):
        assert said in message
    assert os.listdir(os.path.join(cache.root, "fetching")) == []


class FullTree:
    """What writes elsewhere on the same file system, which is full until so many blobs are gone."""

    def __init__(self, cache, left, error):
        self.cache, self.left, self.error, self.tries = cache, left, error, 0

    def __call__(self, layer=None):
        self.tries += 1
        data = layer.read() if layer else b""
        if self.cache.usage()[0] > self.left:
            raise self.error
        return data


def pickled(error):
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        StorageError.from_os_error("extracting", OSError(errno.EDQUOT, "quota")),
        pickled(StorageError.from_os_error("packing, in another process", OSError(errno.ENOSPC, "full"))),
    ],
)
def test_room_for_what_is_written_elsewhere(cache, tmp_path, error):
    """An install tree or a stage on the same disk: the blob that is being extracted goes last."""
    old, young = put(cache, b"o" * 300, used=1000), put(cache, b"y" * 300, used=2000)
    store = MemoryStore()
    layer = put_bytes(store, b"layer", OCI_LAYER_GZIP)
    extract = FullTree(cache, 1, error)
    assert use_cached(store, layer, cache, extract, str(tmp_path / "tree" / "prefix")) == b"layer"
    assert extract.tries == 3 and not cache.get(old) and not cache.get(young) and cache.get(layer.digest)


def test_when_no_blob_is_left_that_could_go_the_failure_is_told(cache, tmp_path):
    put(cache, b"old")
    extract = FullTree(cache, 0, OSError(errno.ENOSPC, "full"))
    store = MemoryStore()
    with pytest.raises(OSError, match="full"):
        use_cached(store, put_bytes(store, b"layer", OCI_LAYER_GZIP), cache, extract, str(tmp_path))
    assert cache.usage() == (1, 5)


def test_another_failure_costs_no_blob(cache, tmp_path):
    old = put(cache, b"old")
    with pytest.raises(OSError, match="broken"):
        with_room(cache, str(tmp_path), 10, FullTree(cache, 0, OSError(errno.EIO, "broken")))
    assert cache.get(old)


def test_a_damaged_blob_is_fetched_once_more(cache, tmp_path):
    store = MemoryStore()
    layer = put_bytes(store, b"layer", OCI_LAYER_GZIP)
    fetch_into_cache(store, layer, cache)
    with open(cache.path(layer.digest), "wb") as file:
        file.write(b"LAYER")
    assert use_cached(store, layer, cache, lambda reader: reader.read(), str(tmp_path)) == b"layer"


def test_room_is_not_made_for_another_file_system(cache, tmp_path, monkeypatch):
    digest = put(cache, b"content")
    real = os.stat
    elsewhere = os.stat_result((0o40755, 1, real(tmp_path).st_dev + 1, *[0] * 7))
    monkeypatch.setattr(os, "stat", lambda path, **_: elsewhere if path == "/elsewhere" else real(path))
    assert cache.is_on_disk_of(str(tmp_path)) and not cache.is_on_disk_of("/elsewhere")
    full = FullTree(cache, 0, OSError(errno.ENOSPC, "full"))
    with pytest.raises(OSError, match="full"):
        with_room(cache, "/elsewhere", 7, full)
    assert full.tries == 1 and cache.free(7, keep=cache.path(digest)) == 0 and cache.get(digest)
    assert cache.free(7) == 7 and not cache.get(digest)


def test_room_that_somebody_else_has_made_meanwhile_is_used(cache, tmp_path):
    """Both found the disk full, and there was one blob to remove."""
    digest = put(cache, b"content")

    class FreedByAnother(FullTree):
        def __call__(self, layer=None):
            try:
                return super().__call__(layer)
            finally:
                if cache.get(digest):
                    os.unlink(cache.path(digest))

    full = FreedByAnother(cache, 0, OSError(errno.ENOSPC, "full"))
    assert with_room(cache, str(tmp_path), 7, full) == b"" and full.tries == 2


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
