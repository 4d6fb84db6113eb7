# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import contextlib
import errno
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.content import Presence, read_blob
from spack_oci.content.blob_cache import BlobCache
from spack_oci.descriptor import OCI_LAYER_ZSTD, sha256_digest
from spack_oci.errors import DigestMismatch, Forbidden, PrefixChanged, ServerFailure, StorageError
from spack_oci.layout import open_layout
from spack_oci.operations.push import execute as engine
from spack_oci.operations.push import packing
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.outcome import FAILED, PUSHED, SKIPPED
from spack_oci.operations.push.tagging import created_from_environment
from spack_oci.reference import LayoutDirectory
from spack_oci.util.progress import Silent
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from support.packages.push_cases import push


def image(store, package):
    manifest = json.loads(store.get_manifest(package.tag)[1])
    return manifest, json.loads(store.blobs[manifest["config"]["digest"]])


def test_what_a_push_leaves_in_the_store(packages, settings):
    store = MemoryStore()
    result = push(store, packages, settings)
    assert [outcome.status for outcome in result.outcomes] == [PUSHED] * 3
    assert sorted(store.tagged) == sorted(package.tag for package in packages)
    manifest, config = image(store, packages[2])
    assert len(manifest["layers"]) == 3
    layers = [result.layers[package.dag_hash] for package in packages]
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.descriptor.digest for layer in layers]
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
    assert config["binary_cache_checksum"]["hash"] == layers[2].descriptor.digest.partition(":")[2]
    assert config["spec"]["nodes"][0]["hash"] == packages[2].dag_hash
    assert config["buildcache_layout_version"] == 2
    assert manifest["annotations"]["org.opencontainers.image.description"] == "gamma@1.0"
    annotation = manifest["annotations"]["org.spack-oci.relocation.prefix-length"]
    assert annotation == str(len(packages[2].prefix))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(store.blobs[manifest["layers"][-1]["digest"]]))) as archive:
        assert f"{packages[2].prefix}/bin/gamma".lstrip("/") in archive.getnames()


def test_manifests_come_behind_all_their_blobs(packages, settings):
    """The memory store refuses a manifest whose blobs are missing; slow blobs must not be overtaken."""
    store = MemoryStore()
    store.before["put_blob"] = lambda digest: time.sleep(0.02)
    assert not push(store, packages, settings).failed


def test_same_input_same_digests_whatever_the_threads(tmp_path, packages):
    stores = []
    for pack_jobs, transfer_jobs in ((1, 1), (4, 3)):
        store = MemoryStore()
        push(store, packages, PushSettings(pack_jobs=pack_jobs, transfer_jobs=transfer_jobs))
        stores.append((store.tagged, set(store.blobs)))
    assert stores[0] == stores[1]


def test_the_time_stamp_is_that_of_source_date_epoch(packages, settings, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    store = MemoryStore()
    push(store, packages, settings)
    assert image(store, packages[0])[1]["archive_timestamp"] == "1970-01-01T00:00:00+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    push(store, packages, settings, force=True)
    assert image(store, packages[0])[1]["archive_timestamp"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("value", ["", "yesterday", "\u00b2", "9" * 30, pytest.param("9" * 5000, id="digits")])
def test_a_source_date_epoch_that_is_no_time_is_left_out(value, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    assert created_from_environment() == "1970-01-01T00:00:00+00:00"


def test_zstd(packages):
    store = MemoryStore()
    push(store, packages, PushSettings(compression=Compression("zstd")))
    manifest, config = image(store, packages[1])
    assert {layer["mediaType"] for layer in manifest["layers"]} == {OCI_LAYER_ZSTD}
    assert config["archive_compression"] == "zstd"


def test_what_is_there_is_skipped_and_its_layer_used(packages, settings):
    store = MemoryStore()
    push(store, packages[:2], settings)
    store.reset()
    result = push(store, packages, settings)
    assert [outcome.status for outcome in result.outcomes] == [SKIPPED, SKIPPED, PUSHED]
    assert len(image(store, packages[2])[0]["layers"]) == 3
    assert store.calls["put_manifest"] == 1


def test_force_with_unchanged_prefixes_packs_nothing_and_sends_nothing(packages, settings, monkeypatch):
    store = MemoryStore()
    first = push(store, packages, settings)
    tagged = dict(store.tagged)
    store.reset()
    result = push(store, packages, settings, force=True)
    assert len(result.pushed) == 3
    assert result.bytes_read == result.bytes_sent == 0
    assert result.bytes_saved == first.bytes_sent > 0
    assert store.tagged == tagged


def test_a_second_store_gets_layers_from_the_cache(packages, settings):
    push(MemoryStore(), packages, settings)
    store = MemoryStore()
    result = push(store, packages, settings)
    assert result.bytes_read == 0 and result.bytes_sent > 0
    assert len(store.tagged) == 3


def test_a_layer_that_left_the_cache_but_is_in_the_store_is_not_packed(packages, settings):
    store = MemoryStore()
    result = push(store, packages, settings)
    for layer in result.layers.values():
        os.unlink(settings.cache.path(layer.descriptor.digest))
    again = push(store, packages, settings, force=True)
    assert again.bytes_read == 0 and len(again.pushed) == 3
    other = push(MemoryStore(), packages, settings, force=True)
    assert other.bytes_read == result.bytes_read and len(other.pushed) == 3


@pytest.mark.parametrize("cached", [True, False])
def test_force_repairs_a_damaged_layer_of_the_right_size_in_a_layout(packages, settings, tmp_path, cached):
    directory = LayoutDirectory(str(tmp_path / "layout"))
    result = push(open_layout(directory, create=True), packages, settings)
    layer = result.layers[packages[0].dag_hash].descriptor
    path = tmp_path / "layout/blobs" / layer.digest.replace(":", "/")
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    if not cached:
        os.unlink(settings.cache.path(layer.digest))
    with pytest.raises(DigestMismatch, match="push it anew with --force"):
        read_blob(open_layout(directory), layer)
    assert not push(open_layout(directory), packages, settings, force=True).failed
    assert path.read_bytes() == content


def test_a_cached_layer_that_is_evicted_before_it_is_sent_is_packed_again(packages, settings):
    first = push(MemoryStore(), packages, settings)
    store = MemoryStore()

    def evict(digest):
        for layer in first.layers.values():
            with contextlib.suppress(FileNotFoundError):  # several threads send, and so evict
                os.unlink(settings.cache.path(layer.descriptor.digest))

    store.before["put_blob"] = evict
    result = push(store, packages, settings)
    assert len(result.pushed) == 3, [str(outcome.error) for outcome in result.failed]


def test_a_damaged_cache_entry_is_packed_again(packages, settings):
    first = push(MemoryStore(), packages, settings)
    for layer in first.layers.values():
        Path(settings.cache.path(layer.descriptor.digest)).write_bytes(b"x" * layer.descriptor.size)
    store = MemoryStore()
    result = push(store, packages, settings)
    assert not result.failed and len(store.tagged) == 3
    for layer in result.layers.values():
        assert settings.cache.get(layer.descriptor.digest)


def test_one_failure_does_not_stop_the_others(packages, settings):
    store = MemoryStore()
    shutil.rmtree(packages[1].prefix)
    result = push(store, packages, settings)
    assert [outcome.status for outcome in result.outcomes] == [PUSHED, FAILED, PUSHED]
    assert isinstance(result.failed[0].error, PrefixChanged)
    # as Spack does, the layer of the dependency is left out
    assert len(image(store, packages[2])[0]["layers"]) == 2
    assert packages[1].tag not in store.tagged


@pytest.mark.parametrize("verb", ["put_blob", "put_manifest"])
def test_a_refusal_of_one_thing(packages, settings, verb):
    store = MemoryStore()
    seen = []

    def first(reference):
        seen.append(reference)
        return len(seen) == 1

    store.fail(verb, Forbidden("denied", status=403), when=first)
    result = push(store, packages, settings)
    assert len(result.failed) == 1 and len(result.pushed) == 2
    assert isinstance(result.failed[0].error, Forbidden)
    result = push(store, packages, settings)
    assert len(result.pushed) == 1 and len(result.skipped) == 2
    assert len(store.tagged) == 3


def test_the_prefix_vanishes_between_plan_and_push(packages, settings):
    store = MemoryStore()
    plan = plan_push(store, packages, settings=settings)
    shutil.rmtree(packages[0].prefix)
    result = execute_push(plan, store, settings=settings)
    assert [outcome.status for outcome in result.outcomes] == [FAILED, PUSHED, PUSHED]


def test_fail_fast(tmp_path, settings):
    many = [make_package(tmp_path / "store", f"package{number}") for number in range(20)]
    store = MemoryStore()
    store.fail("put_blob", ServerFailure("down", status=500))
    fast = PushSettings(stage=settings.stage, fail_fast=True, pack_jobs=1, transfer_jobs=1)
    result = push(store, many, fast)
    assert len(result.failed) == 20
    assert store.calls["put_blob"] == 1
    assert sum("stopped" in str(outcome.error) for outcome in result.failed) == 19


def test_a_full_stage(packages, settings, monkeypatch):
    real = open

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    def opening(path, mode="r", *args, **kwargs):
        if str(path).endswith(".layer") and "w" in mode:
            return Full(path, "w")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr("spack_oci.operations.push.packing.open", opening, raising=False)
    store = MemoryStore()
    result = push(store, packages, settings)
    assert len(result.failed) == 3
    assert all(isinstance(outcome.error, StorageError) for outcome in result.failed)
    assert "free some space" in str(result.failed[0].error)
    assert not store.tagged and os.listdir(settings.stage) == []


def test_a_stage_that_cannot_be_made(packages, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="directory for layers"):
        push(MemoryStore(), packages, PushSettings(stage=str(tmp_path / "file" / "stage")))


def test_a_cache_that_cannot_be_written_is_only_a_warning(packages, tmp_path):
    (tmp_path / "file").write_text("")
    settings = PushSettings(stage=str(tmp_path / "stage"), cache=BlobCache(str(tmp_path / "file" / "cache")))
    warnings = []

    class Recorder(Silent):
        def warn(self, message):
            warnings.append(message)

    store = MemoryStore()
    result = push(store, packages, settings, reporter=Recorder())
    assert len(result.pushed) == 3 and warnings
    assert os.listdir(settings.stage) == []


def test_on_a_full_disk_cached_blobs_make_room_for_packing(packages, settings, monkeypatch):
    """A temporary directory on the disk of the blob cache."""
    old = settings.cache.add(sha256_digest(b"old"), io.BytesIO(b"old"))
    real = packing.pack_prefix

    def full(prefix, **options):
        if os.path.exists(old):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(prefix, **options)

    monkeypatch.setattr(packing, "pack_prefix", full)
    assert len(push(MemoryStore(), packages, settings).pushed) == 3


def test_nothing_is_left_in_the_stage(packages, settings):
    push(MemoryStore(), packages, settings)
    assert os.listdir(settings.stage) == []


def test_an_interruption_leaves_nothing_and_the_next_run_completes(packages, settings):
    store = MemoryStore()

    class Interrupting(Silent):
        def finished(self, name, line=""):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(store, packages, settings, reporter=Interrupting())
    assert os.listdir(settings.stage) == []
    assert threading.active_count() == 1 or not [
        t for t in threading.enumerate() if t.name.startswith(("pack", "send"))
    ]
    result = push(store, packages, settings)
    assert not result.failed and len(store.tagged) == 3


def test_an_interruption_does_not_wait_for_a_server_that_hangs(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    large = make_package(tmp_path / "store", "large", files={"data": os.urandom(200_000)})
    small = make_package(tmp_path / "store", "small")
    hanging, answer = threading.Event(), threading.Event()

    class Hanging(MemoryStore):
        def put_blob(self, descriptor, source, progress=None, presence=Presence.POSSIBLE):
            if descriptor.size > 100_000:
                hanging.set()
                answer.wait(900)
            assert hanging.wait(120)
            return super().put_blob(descriptor, source, progress, presence)

    class Interrupting(Silent):
        def finished(self, name, line=""):
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        push(Hanging(), [large, small], settings._replace(pack_jobs=2), reporter=Interrupting())
    assert time.monotonic() - started < 300
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("send"))
    answer.set()


def test_a_defect_fails_its_package_alone(packages, settings):
    store = MemoryStore()
    store.fail("put_manifest", ZeroDivisionError("a bug"), times=1)
    result = push(store, packages, settings)
    (failed,) = result.failed
    assert len(result.pushed) == 2 and isinstance(failed.error.__cause__, ZeroDivisionError)
    assert str(failed.error) == (
        f"pushing {failed.package.label}: ZeroDivisionError: a bug: this is a defect: please report it"
    )
    assert os.listdir(settings.stage) == []


def test_half_of_a_surrogate_pair_fails_its_package_alone_and_says_where_it_is(packages, settings):
    odd = replace(packages[1], description="beta@1.0 flavor=\ud800")
    result = push(MemoryStore(), [packages[0], odd, packages[2]], settings)
    assert [outcome.status for outcome in result.outcomes] == [PUSHED, FAILED, PUSHED]
    error = str(result.failed[0].error)
    assert error.startswith(f"pushing {odd.label}: ") and r"flavor=\ud800" in error and "correct" in error
    assert error.encode("ascii")


def test_blobs_in_flight_are_limited(tmp_path):
    many = [make_package(tmp_path / "store", f"package{number}") for number in range(30)]
    store = MemoryStore()
    seen = []
    stage = tmp_path / "stage"

    def look(_):
        seen.append(len([name for _, _, names in os.walk(stage) for name in names]))
        time.sleep(0.01)

    store.before["put_blob"] = look
    push(store, many, PushSettings(stage=str(stage), pack_jobs=2, transfer_jobs=1))
    assert 0 < max(seen) <= 3


def test_large_packages_start_first_and_the_others_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("spack_oci.operations.push.level.LARGE", 50_000)
    sizes = {"small0": 10, "huge": 200_000, "small1": 40_000, "large": 100_000, "small2": 20}
    packages = [make_package(tmp_path / "store", name, files={"data": b"x" * size}) for name, size in sizes.items()]
    order = []

    class Recorder(Silent):
        def started(self, name):
            order.append(name)

    push(MemoryStore(), packages, PushSettings(pack_jobs=1), reporter=Recorder())
    assert order == ["huge", "large", "small0", "small1", "small2"]


def test_a_large_prefix_is_compressed_by_several_threads_to_the_same_bytes(tmp_path, monkeypatch):
    package = make_package(tmp_path / "store", "big", files={"data": os.urandom(1000) * 5000})
    digests = set()
    for limit in (1 << 40, 0):
        monkeypatch.setattr("spack_oci.operations.push.packing.LARGE", limit)
        result = push(MemoryStore(), [package], PushSettings(pack_jobs=3))
        digests.add(result.layers[package.dag_hash].descriptor.digest)
    assert len(digests) == 1


def test_the_result_as_a_document(packages, settings):
    store = MemoryStore()
    push(store, packages[:1], settings)
    shutil.rmtree(packages[1].prefix)
    document = push(store, packages, settings).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert [entry["status"] for entry in document["packages"]] == [SKIPPED, FAILED, PUSHED]
    assert document["packages"][2]["layer"]["digest"].startswith("sha256:")
    assert document["packages"][2]["manifest"]["size"] > 0
    assert "error" in document["packages"][1]


class Warnings(Silent):
    def __init__(self):
        self.seen = []

    def warn(self, message):
        self.seen.append(message)


def test_short_prefixes_are_warned_of_once(tmp_path, packages, settings):
    length = max(len(package.prefix) for package in packages)
    for short_prefix, expected in ((0, 0), (length + 1, 1)):
        reporter = Warnings()
        push(MemoryStore(), packages, settings._replace(short_prefix=short_prefix), reporter=reporter)
        assert len(reporter.seen) == expected
    assert "padded_length" in reporter.seen[0]


def test_who_pushed_is_in_the_manifest(packages, settings):
    store = MemoryStore()
    push(store, packages[:1], settings)
    assert image(store, packages[0])[0]["annotations"]["org.spack-oci.pusher"].startswith("spack-oci ")


def test_memory_limits_the_number_of_packers():
    assert PushSettings(pack_jobs=64, compression=Compression("zstd", 19)).packers <= 3
    assert PushSettings(pack_jobs=16, compression=Compression("zstd")).packers >= 8
    assert PushSettings(pack_jobs=12).packers == 12
    assert PushSettings(pack_jobs=4, memory=1).packers == 1


SIGNAL_IN_A_PUSH = """
import os, signal, sys, time
from pathlib import Path
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.reference import LayoutDirectory
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push

root, number = Path(sys.argv[1]), getattr(signal, sys.argv[2])
packages = [make_package(root / "store", f"package{number}") for number in range(8)]
store = MemoryStore()


def terminate(digest):
    if len(store.blobs) >= 4:
        os.kill(os.getpid(), number)
        time.sleep(0.2)


store.before["put_blob"] = terminate
settings = PushSettings(stage=str(root / "stage"))
try:
    execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
finally:
    print("handler restored" if signal.getsignal(number) is signal.SIG_DFL else "handler left")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing_behind(tmp_path, name):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = subprocess.run(
        [sys.executable, "-c", SIGNAL_IN_A_PUSH, tmp_path, name], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert found.returncode == 128 + getattr(signal, name)
    assert found.stdout == "handler restored\n"
    assert os.listdir(tmp_path / "stage") == []


def test_a_transfer_that_is_under_way_is_cut_off(tmp_path):
    """An interruption does not wait for the end of a large upload."""
    package = make_package(tmp_path / "store", "large", files={"data": os.urandom(3 << 20)})
    other = make_package(tmp_path / "store", "small")
    read = []

    class Slow(MemoryStore):
        def put_blob(self, descriptor, source, progress=None, presence=Presence.POSSIBLE):
            if descriptor.size < 1 << 20:
                raise Forbidden("no", status=403)
            with source.open() as stream:
                while stream.read(1 << 16):
                    read.append(1)
                    time.sleep(0.1)
            return True

    settings = PushSettings(stage=str(tmp_path / "stage"), fail_fast=True, pack_jobs=1, transfer_jobs=2)
    result = push(Slow(), [other, package], settings)
    assert len(result.failed) == 2
    assert len(read) < 40
