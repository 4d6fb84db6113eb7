# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The OCI image layout as a content store; read back with skopeo where it is installed."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import threading
import time

import pytest
from spack_oci.content import BytesSource, FileSource, put_bytes, read_blob
from spack_oci.descriptor import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    sha256_digest,
)
from spack_oci.errors import ConfigurationError, DigestMismatch, InvalidContent, NotFound, StorageError
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.layout.gc import collect_garbage
from spack_oci.reference import LayoutDirectory

TAG = "zlib-1.3.1-abcdefghijklmnopqrstuvwxyz234567.spack"


@pytest.fixture
def store(tmp_path):
    result = LayoutStore(LayoutDirectory(str(tmp_path / "layout")), durable=False)
    result.create()
    return result


def image(store, tag=None, content=b"layer", subject=None, artifact_type=None):
    """Store a one layer image that skopeo accepts."""
    layer = put_bytes(store, content, OCI_LAYER_GZIP)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256_digest(content)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put_bytes(store, json.dumps(config).encode(), OCI_CONFIG).to_dict(),
        "layers": [layer.to_dict()],
    }
    if artifact_type:
        manifest["artifactType"] = artifact_type
    if subject:
        manifest["subject"] = subject.to_dict()
    return store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, tag)


def entries(store):
    with open(os.path.join(store.path, "index.json")) as f:
        return json.load(f)["manifests"]


def test_manifest_comes_back_by_tag_and_by_digest(store):
    descriptor = image(store, TAG)
    assert store.resolve(TAG) == descriptor == store.resolve(descriptor.digest)
    assert store.get_manifest(TAG) == store.get_manifest(descriptor.digest)
    assert list(store.tags()) == [TAG]


def test_a_tag_moves(store):
    image(store, TAG, b"old")
    new = image(store, TAG, b"new")
    assert store.resolve(TAG) == new
    assert len(entries(store)) == 1


def test_missing_things_are_not_found(store):
    digest = "sha256:" + "0" * 64
    for call in (store.resolve, store.get_manifest, store.delete_manifest):
        for reference in ("nothing", digest):
            with pytest.raises(NotFound):
                call(reference)
    with pytest.raises(NotFound):
        store.open_blob(Descriptor(OCI_LAYER_GZIP, digest, 1))
    assert store.has_blob(digest) is False


def test_a_blob_is_no_manifest(store):
    config = put_bytes(store, b'{"architecture": "amd64"}', OCI_CONFIG)
    with pytest.raises(NotFound):
        store.resolve(config.digest)


def test_blob_is_stored_once_and_verified(store, tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "file").write_bytes(data)
    descriptor = Descriptor.of(data, OCI_LAYER_GZIP)
    moved = []
    assert store.put_blob(descriptor, FileSource(str(tmp_path / "file")), moved.append) is True
    assert sum(moved) == len(data)
    assert store.put_blob(descriptor, BytesSource(b"not read")) is False
    assert read_blob(store, descriptor) == data


def test_wrong_blob_is_refused_and_leaves_nothing(store):
    with pytest.raises(DigestMismatch):
        store.put_blob(Descriptor.of(b"right", OCI_LAYER_GZIP), BytesSource(b"wrong"))
    assert os.listdir(os.path.join(store.path, "blobs", "sha256")) == []
    assert os.listdir(os.path.join(store.path, ".spack-oci", "tmp")) == []


def test_truncated_blob_is_replaced(store):
    descriptor = put_bytes(store, b"content", OCI_LAYER_GZIP)
    path = os.path.join(store.path, "blobs", *descriptor.digest.split(":"))
    with open(path, "wb") as f:
        f.write(b"con")
    with pytest.raises(DigestMismatch):
        read_blob(store, descriptor)
    assert store.put_blob(descriptor, BytesSource(b"content")) is True
    assert read_blob(store, descriptor) == b"content"


def test_manifest_needs_its_blobs(store):
    manifest = {"schemaVersion": 2, "config": Descriptor.of(b"{}", OCI_EMPTY).to_dict(), "layers": []}
    with pytest.raises(InvalidContent, match="not there"):
        store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, TAG)
    assert list(store.tags()) == []


def test_untagged_manifest_is_listed_until_something_reaches_it(store):
    descriptor = image(store)
    assert [e.get("annotations") for e in entries(store)] == [None]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor.to_dict()]}
    store.put_manifest(json.dumps(index).encode(), OCI_INDEX, "v1")
    assert len(entries(store)) == 1
    image(store, "v2")
    assert sorted(store.tags()) == ["v1", "v2"]
    image(store)  # tagged already: no second entry
    assert len(entries(store)) == 2


def test_deleting_a_tag_and_a_digest(store):
    one = image(store, "a")
    image(store, "b")
    store.delete_manifest("a")
    assert list(store.tags()) == ["b"]
    image(store, "a")
    store.delete_manifest(one.digest)
    assert list(store.tags()) == []
    with pytest.raises(NotFound):
        store.resolve(one.digest)


def test_referrers(store):
    subject = image(store, TAG)
    signature = image(store, None, b"sig", subject, "application/x-signature")
    image(store, None, b"sbom", subject, "application/x-sbom")
    image(store, "other", b"other")
    assert {d.artifact_type for d in store.referrers(subject.digest)} == {
        "application/x-signature",
        "application/x-sbom",
    }
    assert store.referrers(subject.digest, "application/x-signature") == [signature]
    assert store.referrers(signature.digest) == []


@pytest.mark.parametrize("asked", [None, "application/x-signature"])
def test_to_find_referrers_no_manifest_is_read_that_cannot_be_one(store, monkeypatch, asked):
    """There may be a hundred thousand, and what refers to one of them has no tag, or another one."""
    subject = image(store, "p-1.0-abc.spack")
    for number in range(20):
        package = image(store, f"q-{number}-abc.spack", b"%d" % number)
        image(store, f"{package.digest.replace(':', '-')}.sig", b"signed %d" % number)
        if asked:
            image(store, None, b"sbom", package, "application/x-sbom")
    signature = image(store, None, b"sig", subject, "application/x-signature")
    again = LayoutStore(LayoutDirectory(store.path), durable=False)
    opened, really_open = [], open
    monkeypatch.setattr(
        "builtins.open", lambda path, *args, **named: opened.append(path) or really_open(path, *args, **named)
    )
    assert again.referrers(subject.digest, asked) == [signature]
    monkeypatch.undo()
    assert {os.path.basename(p) for p in opened if "/blobs/" in str(p)} == {signature.digest.partition(":")[2]}


def test_referrers_of_the_fallback_tag(store):
    subject = image(store, TAG)
    signature = image(store, None, b"sig", None, "application/x-signature")
    listed = {**signature.to_dict(), "artifactType": "application/x-signature"}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed]}
    store.put_manifest(json.dumps(index).encode(), OCI_INDEX, subject.digest.replace(":", "-"))
    assert store.referrers(subject.digest) == [signature]


def test_index_does_not_depend_on_the_order_of_writing(tmp_path):
    results = []
    for order in (("a", "b", "c"), ("c", "a", "b")):
        store = open_layout(LayoutDirectory(str(tmp_path / "".join(order))), create=True)
        for tag in order:
            image(store, tag, tag.encode())
        results.append(json.dumps(entries(store)))
    assert results[0] == results[1]


def test_a_directory_without_layout_is_an_error_not_a_miss(tmp_path):
    with pytest.raises(StorageError, match="no OCI layout"):
        open_layout(LayoutDirectory(str(tmp_path / "absent")))


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigurationError, match="thesis.tex"):
        open_layout(LayoutDirectory(str(tmp_path)), create=True)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_newer_layout_version_is_refused(store):
    with open(os.path.join(store.path, "oci-layout"), "w") as f:
        f.write('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(InvalidContent, match=r"2\.0\.0"):
        open_layout(store.directory)


def test_broken_index_is_an_error(store):
    with open(os.path.join(store.path, "index.json"), "w") as f:
        f.write('{"manifests": [')
    with pytest.raises(InvalidContent):
        list(store.tags())


def test_disk_full(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="free some space"):
        put_bytes(store, b"content", OCI_LAYER_GZIP)
    assert os.listdir(os.path.join(store.path, ".spack-oci", "tmp")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(store):
    os.chmod(os.path.join(store.path, ".spack-oci", "tmp"), 0o500)
    with pytest.raises(StorageError, match="may not write"):
        put_bytes(store, b"content", OCI_LAYER_GZIP)


def test_group_may_write_everywhere_if_it_may_to_the_layout(tmp_path):
    (tmp_path / "layout").mkdir()
    os.chmod(tmp_path / "layout", 0o2775)
    store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
    for parts in (("blobs",), ("blobs", "sha256"), (".spack-oci", "tmp")):
        assert os.stat(os.path.join(store.path, *parts)).st_mode & 0o7777 == 0o2775


def test_layout_of_another_tool_is_written_to(store):
    shutil.rmtree(os.path.join(store.path, ".spack-oci"))
    image(store, TAG)
    assert list(open_layout(store.directory).tags()) == [TAG]


def _write_tags(path, start, count):
    store = LayoutStore(LayoutDirectory(path), durable=False)
    for number in range(start, start + count):
        image(store, f"t{number}", b"%d" % number)


def test_replacement_in_the_same_tick_is_seen(store):
    """Same inode number, size and time: two replacements within a tick of the clock may look like none."""
    image(store, TAG, b"one")
    assert store.resolve(TAG)
    with open(os.path.join(store.path, "index.json"), "r+b") as f:
        status = os.fstat(f.fileno())
        data = f.read()
        digest = store.resolve(TAG).digest.encode()
        f.seek(0)
        f.write(data.replace(digest, b"sha256:" + b"0" * 64))
        f.flush()
        os.utime(f.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.resolve(TAG).digest == "sha256:" + "0" * 64


def test_settled_index_is_not_parsed_again(store):
    descriptor = image(store, TAG)
    path = os.path.join(store.path, "index.json")
    os.utime(path, (1, 1))
    store.resolve(TAG)
    with open(path, "r+b") as f:  # another content of the same file, size and time
        f.write(b"?" * os.path.getsize(path))
    os.utime(path, (1, 1))
    assert store.resolve(TAG) == descriptor


def test_many_processes_write_tags(store):
    workers = [multiprocessing.Process(target=_write_tags, args=(store.path, 100 * n, 20)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0] * 6
    assert set(store.tags()) == {f"t{100 * n + i}" for n in range(6) for i in range(20)}


def test_many_threads_share_replacements(store, monkeypatch):
    replaced = []
    replace = store.table.replace

    def slow(entries):
        replaced.append(len(entries))
        time.sleep(0.02)
        replace(entries)

    monkeypatch.setattr(store.table, "replace", slow)
    threads = [threading.Thread(target=image, args=(store, f"t{n}", b"%d" % n)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.tags()) == {f"t{n}" for n in range(30)}
    assert len(replaced) < 15


def test_garbage(store):
    kept = image(store, TAG)
    old = image(store, "old", b"old")
    image(store, None, b"sig of old", old, "application/x-signature")
    signature = image(store, None, b"sig of kept", kept, "application/x-signature")
    second = image(store, None, b"sig of sig", signature, "application/x-signature")
    store.delete_manifest("old")
    assert collect_garbage(store, grace=3600) == (0, 0)
    assert store.has_blob(old.digest)
    count, size = collect_garbage(store, grace=-1)
    assert (count, store.has_blob(old.digest)) == (6, False) and size > 0
    assert store.referrers(kept.digest) == [signature]
    assert store.referrers(signature.digest) == [second]
    assert collect_garbage(store, grace=-1) == (0, 0)


def test_garbage_of_killed_writers(store):
    leftover = os.path.join(store.path, ".spack-oci", "tmp", "x")
    open(leftover, "w").close()
    collect_garbage(store)
    assert os.path.exists(leftover)
    collect_garbage(store, grace=-1)
    assert not os.path.exists(leftover)


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
def test_skopeo_reads_it(store):
    for number in range(50):
        image(store, f"p{number}-1.0-abcdefghijklmnopqrstuvwxyz234567.spack", b"%d" % number)
    descriptor = image(store, TAG)
    image(store, None, b"sig", descriptor, "application/x-signature")
    output = subprocess.run(["skopeo", "inspect", f"oci:{store.path}:{TAG}"], stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(output)["Digest"] == descriptor.digest


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
def test_skopeo_writes_to_it(store):
    descriptor = image(store, TAG)
    source, target = f"oci:{store.path}:{TAG}", f"oci:{store.path}:copy"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", source, target], check=True)
    assert store.resolve("copy") == descriptor == store.resolve(TAG)


@pytest.mark.parametrize("directory, file", [(0o2775, 0o644), (0o750, 0o640), (0o700, 0o600)])
def test_who_may_read_a_layout_may_still_after_somebody_with_a_private_umask_wrote_there(store, directory, file):
    os.chmod(store.path, directory)
    before = os.umask(0o077)
    try:
        image(store, TAG)
    finally:
        os.umask(before)
    blob = os.path.join("blobs", *store.resolve(TAG).digest.split(":"))
    for name in ("index.json", blob):
        assert os.stat(os.path.join(store.path, name)).st_mode & 0o777 == file
