# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What keeps a layout whole: order of writing, locks, garbage collection against pushes, damaged and foreign files."""

import errno
import fcntl
import json
import multiprocessing
import os
import threading
import time

import pytest
from spack_oci.content import put_bytes, read_blob
from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, sha256_digest
from spack_oci.errors import DigestMismatch, InvalidContent, NotFound, SpackOciError, StorageError
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.layout.gc import collect_garbage
from spack_oci.reference import LayoutDirectory
from spack_oci.util.concurrency import locks

#: local functions are the work of a process, whatever Python's default is
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path):
    return open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)


def manifest_of(store, *layers, **changes):
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put_bytes(store, b"{}", OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, layer, OCI_LAYER_GZIP).to_dict() for layer in layers],
        **changes,
    }
    return json.dumps(document).encode()


def path_of(store, content):
    return os.path.join(store.path, "blobs", "sha256", sha256_digest(content).partition(":")[2])


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


# Making one


@pytest.mark.parametrize("there", [["blobs"], ["blobs", ".spack-oci"], ["blobs", ".spack-oci", "index.json"]])
def test_a_layout_whose_making_was_cut_is_not_there_yet_and_the_next_writer_makes_it(tmp_path, there):
    directory = LayoutDirectory(str(tmp_path / "layout"))
    for name in there:
        os.makedirs(os.path.join(directory.path, name)) if name != "index.json" else None
    if "index.json" in there:
        (tmp_path / "layout" / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    with pytest.raises(NotFound, match="not complete yet"):
        open_layout(directory)
    assert list(open_layout(directory, create=True).tags()) == []


@pytest.mark.parametrize("there", [[], ["blobs", "something"]])
def test_a_directory_that_nobody_began_to_make_a_layout_of_is_no_empty_one(tmp_path, there):
    for name in ["", *there]:
        (tmp_path / "layout" / name).mkdir()
    with pytest.raises(StorageError, match="there is no OCI layout"):
        open_layout(LayoutDirectory(str(tmp_path / "layout")))


@pytest.mark.parametrize("create", [False, True])
def test_a_bundle_is_no_layout_directory_and_what_makes_one_of_it_is_told(tmp_path, create):
    bundle = tmp_path / "cache.tar"
    bundle.write_bytes(b"tar")
    with pytest.raises(StorageError, match="is a file") as error:
        open_layout(LayoutDirectory(str(bundle)), create=create)
    assert f"`spack oci copy {bundle} ./DIRECTORY`" in error.value.remedy


# Order of writing


def test_blobs_are_on_the_disk_before_their_name_and_the_tag_comes_last(store, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        steps.append(("sync", relative(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def renamed(source, target):
        steps.append(("rename", relative(source), relative(target)))
        replace(source, target)

    def relative(path):
        return os.path.relpath(path, store.path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    store.put_manifest(manifest_of(store, b"layer"), OCI_MANIFEST, "v1")

    renames = [step for step in steps if step[0] == "rename"]
    assert len(renames) == 4 and renames[-1][2] == "index.json"
    for rename in renames:
        # the file's own content
        assert ("sync", rename[1]) in steps[: steps.index(rename)]
    # then the names of the blobs, before the index names them, and the index's own name
    last = steps.index(renames[-1])
    assert ("sync", "blobs/sha256") in steps[steps.index(renames[-2]) : last]
    assert ("sync", ".") in steps[last:]


def test_children_that_vanish_before_the_lock_is_held_are_noticed(store, monkeypatch):
    data = manifest_of(store, b"layer")
    change = store.table.change

    def collected_meanwhile(apply):
        os.unlink(path_of(store, b"layer"))
        change(apply)

    monkeypatch.setattr(store.table, "change", collected_meanwhile)
    with pytest.raises(InvalidContent, match="which is not there"):
        store.put_manifest(data, OCI_MANIFEST, "v1")
    assert list(store.tags()) == []


def test_a_manifest_that_vanishes_before_the_lock_is_held_is_written_again(store, monkeypatch):
    data = manifest_of(store, b"layer")
    change = store.table.change

    def collected_meanwhile(apply):
        os.unlink(path_of(store, data))
        change(apply)

    monkeypatch.setattr(store.table, "change", collected_meanwhile)
    store.put_manifest(data, OCI_MANIFEST, "v1")
    assert store.get_manifest("v1")[1] == data


# Locks


def held_by_another_process(path):
    """A process that holds the lock of a layout, and an event that makes it give it back."""
    ready, release = FORK.Event(), FORK.Event()

    def hold():
        with LayoutStore(LayoutDirectory(path)).table.lock():
            ready.set()
            release.wait(20)

    process = FORK.Process(target=hold)
    process.start()
    assert ready.wait(20)
    return process, release


@pytest.mark.parametrize("work", ["garbage", "tag"])
def test_garbage_is_collected_and_tags_are_written_only_under_the_lock(store, work):
    data = manifest_of(store, b"layer")
    process, release = held_by_another_process(store.path)

    def run():
        if work == "garbage":
            collect_garbage(store, grace=-1)
        else:
            store.put_manifest(data, OCI_MANIFEST, "v1")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and os.path.exists(path_of(store, b"layer"))
    release.set()
    thread.join(20)
    process.join(20)
    assert not thread.is_alive()
    assert os.path.exists(path_of(store, b"layer")) == (work == "tag")


def unsupported(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture(params=["flock", "flock and record locks"])
def without_locks(request, monkeypatch):
    """As on a Lustre that is mounted without them; child processes inherit it."""
    monkeypatch.setattr(fcntl, "flock", unsupported)
    if request.param != "flock":
        monkeypatch.setattr(fcntl, "lockf", unsupported)
    return request.param


def _write_tags(path, start, count):
    store = LayoutStore(LayoutDirectory(path), durable=False)
    for number in range(start, start + count):
        store.put_manifest(manifest_of(store, b"%d" % number), OCI_MANIFEST, f"t{number}")


def test_without_flock_no_tag_of_several_processes_is_lost(without_locks, store):
    workers = [FORK.Process(target=_write_tags, args=(store.path, 100 * n, 10)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0] * 4
    assert set(store.tags()) == {f"t{100 * n + i}" for n in range(4) for i in range(10)}
    assert set(os.listdir(os.path.join(store.path, ".spack-oci"))) == {"lock", "tmp"}


def test_without_flock_threads_keep_each_other_out(without_locks, tmp_path):
    """Record locks belong to a process."""
    inside, seen = [], []

    def work():
        for _ in range(20):
            with locks.exclusive_lock(str(tmp_path / "lock")):
                inside.append(1)
                time.sleep(0.001)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 80


@pytest.fixture
def lock_files_only(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", unsupported)
    monkeypatch.setattr(fcntl, "lockf", unsupported)


def test_the_lock_file_of_a_process_that_was_killed_is_taken_over(lock_files_only, store):
    data = manifest_of(store, b"layer")
    process, _ = held_by_another_process(store.path)
    process.kill()
    process.join()
    held = os.path.join(store.path, ".spack-oci", "lock.held")
    assert os.path.exists(held)
    store.put_manifest(data, OCI_MANIFEST, "v1")
    assert not os.path.exists(held)


def test_the_lock_file_of_another_machine_is_waited_for_and_named(lock_files_only, store, monkeypatch):
    data = manifest_of(store, b"layer")
    held = os.path.join(store.path, ".spack-oci", "lock.held")
    with open(held, "w") as f:
        f.write("elsewhere.example 1 abc")
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    with pytest.raises(StorageError, match="elsewhere.example 1 abc has held this lock.*remove the file"):
        store.put_manifest(data, OCI_MANIFEST, "v1")
    age(held, 3600)
    store.put_manifest(data, OCI_MANIFEST, "v1")


def test_a_lock_that_fails_otherwise_is_an_error(store, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    data = manifest_of(store, b"layer")
    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(StorageError):
        store.put_manifest(data, OCI_MANIFEST, "v1")


# Garbage collection


def test_garbage_that_a_push_uses_again_is_kept(store):
    """The push looks first, and so sends nothing; its manifest comes later."""
    put_bytes(store, b"layer", OCI_LAYER_GZIP)
    for use in (
        lambda: store.has_blob(sha256_digest(b"layer")),
        lambda: put_bytes(LayoutStore(store.directory), b"layer", OCI_LAYER_GZIP),
    ):
        age(path_of(store, b"layer"), 1e6)
        use()
        assert collect_garbage(store) == (0, 0)
    age(path_of(store, b"layer"), 1e6)
    assert collect_garbage(store)[0] == 1


def test_a_blob_that_is_used_while_it_is_collected_comes_back(store, monkeypatch):
    put_bytes(store, b"layer", OCI_LAYER_GZIP)
    path = path_of(store, b"layer")
    age(path, 1e6)
    rename = os.rename

    def used_meanwhile(source, target):
        if source == path:
            os.utime(path)
        rename(source, target)

    monkeypatch.setattr(os, "rename", used_meanwhile)
    assert collect_garbage(store) == (0, 0)
    assert store.has_blob(sha256_digest(b"layer"))


def test_what_a_deeply_nested_index_reaches_is_no_garbage(store):
    inner = store.put_manifest(manifest_of(store, b"layer"), OCI_MANIFEST)
    for _ in range(1200):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.to_dict()]}
        inner = LayoutStore(store.directory, durable=False).put_manifest(json.dumps(document).encode(), OCI_INDEX)
    assert collect_garbage(store, grace=-1) == (0, 0)


def test_nothing_is_collected_when_a_manifest_cannot_be_understood(store):
    """It may need what looks like garbage."""
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": 5}).encode()
    put_bytes(store, data, OCI_MANIFEST)
    put_bytes(store, b"layer", OCI_LAYER_GZIP)
    write_index(store, [{"mediaType": OCI_MANIFEST, "digest": sha256_digest(data), "size": len(data)}])
    with pytest.raises(InvalidContent, match=f"the manifest {sha256_digest(data)} of .* has manifests, layers"):
        collect_garbage(store, grace=-1)
    assert store.has_blob(sha256_digest(b"layer"))


# Damage


def test_a_damaged_blob_of_the_right_size_is_replaced_when_it_is_stored_again(store):
    descriptor = put_bytes(store, b"content", OCI_LAYER_GZIP)
    with open(path_of(store, b"content"), "r+b") as f:
        f.write(b"CONTENT")
    with pytest.raises(DigestMismatch, match="push it anew with --force"):
        read_blob(store, descriptor)
    put_bytes(LayoutStore(store.directory), b"content", OCI_LAYER_GZIP)
    assert read_blob(store, descriptor) == b"content"


def test_a_damaged_manifest_of_the_right_size_is_replaced_when_it_is_stored_again(store):
    data = manifest_of(store, b"layer")
    store.put_manifest(data, OCI_MANIFEST, "v1")
    with open(path_of(store, data), "r+b") as f:
        f.write(b"X")
    again = LayoutStore(store.directory)
    again.put_manifest(data, OCI_MANIFEST, "v1")
    assert again.get_manifest("v1")[1] == data


def test_a_blob_that_was_checked_is_not_read_again(store, monkeypatch):
    put_bytes(store, b"content", OCI_LAYER_GZIP)
    monkeypatch.setattr("spack_oci.layout.store.VerifyingReader", None)
    put_bytes(store, b"content", OCI_LAYER_GZIP)


# What others have written


def write_index(store, manifests, **changes):
    with open(os.path.join(store.path, "index.json"), "w") as f:
        json.dump({"schemaVersion": 2, "manifests": manifests, **changes}, f)


DESCRIPTOR = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": 5}


@pytest.mark.parametrize(
    "manifests",
    [
        5,
        ["text"],
        [{}],
        [{**DESCRIPTOR, "size": "5"}],
        [{**DESCRIPTOR, "digest": "sha256:../../x"}],
        [{**DESCRIPTOR, "annotations": ["a"]}],
        [{**DESCRIPTOR, "annotations": {"org.opencontainers.image.ref.name": 5}}],
        [{**DESCRIPTOR, "mediaType": None}],
        [{**DESCRIPTOR, "platform": "linux"}],
    ],
)
def test_an_index_that_is_none_is_an_error_that_names_it(store, manifests):
    write_index(store, manifests)
    with pytest.raises(InvalidContent, match="index.json of oci"):
        list(store.tags())
    with pytest.raises(InvalidContent, match="index.json of oci"):
        store.put_manifest(manifest_of(store, b"layer"), OCI_MANIFEST, "v1")


def test_an_index_with_null_instead_of_a_list_is_empty(store):
    write_index(store, None)
    assert list(store.tags()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 5},
        {"layers": ["x"]},
        {"layers": [{"digest": "x"}]},
        {"config": [5]},
        {"config": "x"},
        {"manifests": {"a": 5}},
    ],
)
def test_a_manifest_that_is_none_is_not_stored(store, changes):
    with pytest.raises(InvalidContent, match="the manifest sha256:"):
        store.put_manifest(manifest_of(store, b"layer", **changes), OCI_MANIFEST, "v1")


@pytest.mark.parametrize("subject", ["text", 5, [], {}, {"digest": 5}, {"digest": "sha256:0"}])
@pytest.mark.parametrize("annotations", [{"a": 5}, ["a"], {"a": "b"}])
def test_odd_manifests_do_not_hide_the_referrers_of_others(store, subject, annotations):
    root = store.put_manifest(manifest_of(store, b"layer"), OCI_MANIFEST, "v1")
    store.put_manifest(manifest_of(store, b"odd", subject=subject, annotations=annotations), OCI_MANIFEST)
    store.put_manifest(manifest_of(store, b"signature", subject=root.to_dict(), annotations=annotations), OCI_MANIFEST)
    assert [d.annotations for d in store.referrers(root.digest)] == [{"a": "b"} if annotations == {"a": "b"} else {}]


def test_a_list_of_referrers_that_is_none_is_an_error(store):
    root = store.put_manifest(manifest_of(store, b"layer"), OCI_MANIFEST, "v1")
    document = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    store.put_manifest(document, OCI_INDEX, root.digest.replace(":", "-"))
    assert store.referrers(root.digest) == []
    broken = json.dumps({"schemaVersion": 2, "manifests": 5}).encode()
    put_bytes(store, broken, OCI_INDEX)
    name = {"org.opencontainers.image.ref.name": root.digest.replace(":", "-")}
    entry = Descriptor(OCI_INDEX, sha256_digest(broken), len(broken), name)
    write_index(store, [entry.to_dict()])
    with pytest.raises(SpackOciError, match="the list of referrers of .* manifests is a number"):
        store.referrers(root.digest)
