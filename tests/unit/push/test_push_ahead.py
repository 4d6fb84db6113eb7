# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Large layers are sent while they are packed: same result, nothing packed twice."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from spack_oci.errors import Forbidden, PrefixChanged
from spack_oci.operations.push import ahead
from spack_oci.operations.push.ahead import GrowingFile
from spack_oci.operations.push.execute import plan_push
from spack_oci.operations.push.outcome import FAILED, PUSHED
from spack_oci.operations.push.plan import REUSE
from spack_oci.registry import UploadPolicy
from spack_oci.util.concurrency.cancellation import Cancelled
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from support.packages.push_cases import push
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import NAME, store_at

PIECE = 1 << 20
POLICY = UploadPolicy(chunk_size=PIECE, attempts=3)


@pytest.fixture
def large(tmp_path):
    return make_package(tmp_path / "store", "large", files={"lib/data": os.urandom(3 * PIECE + 1000)})


@pytest.fixture
def eager(settings):
    """Even small prefixes are sent ahead."""
    return settings._replace(ahead_from=1)


def pieces(registry):
    return [line for line in registry.methods() if line.startswith("PATCH")]


@pytest.mark.parametrize("processes", [False, True])
def test_the_result_is_that_of_a_layer_sent_afterwards(large, eager, processes):
    expected = push(MemoryStore(), [large], eager._replace(cache=None)).outcomes[0].layer
    with fault_registry() as registry:
        result = push(store_at(registry, upload=POLICY), [large], eager._replace(processes=processes))
        assert result.outcomes[0].status == PUSHED and result.outcomes[0].layer == expected
        assert result.outcomes[0].sent == expected.descriptor.size
        assert expected.descriptor.digest in registry.repository(NAME).blobs
        assert len(pieces(registry)) == 4 and registry.uploads == {}
    assert eager.cache.get(expected.descriptor.digest) and os.listdir(eager.stage) == []


def test_small_prefixes_are_sent_in_one_piece(large, settings):
    with fault_registry() as registry:
        push(store_at(registry, upload=POLICY), [large], settings)
        assert pieces(registry) == []


def test_a_forced_push_sends_nothing_ahead_of_what_the_tag_has(large, eager):
    with fault_registry() as registry:
        push(store_at(registry, upload=POLICY), [large], eager._replace(cache=None))
        before = len(registry.methods())
        result = push(store_at(registry, upload=POLICY), [large], eager._replace(cache=None), force=True)
        assert result.outcomes[0].status == PUSHED
        assert not [m for m in registry.methods()[before:] if m.startswith(("PATCH", "POST 202"))]


def test_a_layer_whose_upload_failed_for_good_is_not_packed_again(large, settings):
    large_settings = settings._replace(ahead_from=1)
    with open(large.prefix + "/lib/more", "wb") as file:
        file.truncate(17 << 20)  # above what is remembered before it is sent
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=403, times=99)) as registry:
        store = store_at(registry, upload=POLICY)
        failed = push(store, [large], large_settings).outcomes[0]
        assert failed.status == FAILED and isinstance(failed.error, Forbidden)
        registry.faults.clear()
        (planned,) = plan_push(store, [large], settings=large_settings).packages
        assert planned.action == REUSE
        again = push(store, [large], large_settings).outcomes[0]
        assert again.status == PUSHED and again.read == 0


CHILD = """
import os, signal, sys
from pathlib import Path
from spack_oci.content.blob_cache import BlobCache
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.reference import parse_url
from spack_oci.registry import RegistrySettings, UploadPolicy, open_repository
from spack_oci.registry.uploads import Uploader
from support.packages.prefixes import make_package

tree, cache, stage, url = sys.argv[1:]
large = make_package(Path(tree), "large")
settings = PushSettings(cache=BlobCache(cache), stage=stage, ahead_from=1)
Uploader.put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = open_repository(parse_url(url), RegistrySettings(upload=UploadPolicy(chunk_size=1 << 20)))
execute_push(plan_push(store, [large], settings=settings), store, settings=settings)
"""


def test_a_push_that_is_killed_while_it_sends_packs_nothing_again(tmp_path, settings):
    large = make_package(tmp_path / "store", "large", files={"lib/data": os.urandom(17 * PIECE)})
    with fault_registry() as registry:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        arguments = [str(tmp_path / "store"), settings.cache.root, settings.stage, f"oci+http://{registry.host}/{NAME}"]
        killed = subprocess.run([sys.executable, "-c", CHILD, *arguments], env=environment)
        assert killed.returncode == -signal.SIGKILL and len(pieces(registry)) == 17
        again = push(store_at(registry), [large], settings).outcomes[0]
        assert again.status == PUSHED and again.read == 0


def test_a_prefix_that_changes_leaves_no_upload(large, eager, monkeypatch):
    def pack(self, package, size, compression, progress):
        with open(self.path(package), "wb") as file:
            file.write(bytes(2 * PIECE))
        progress(8 * PIECE)
        raise PrefixChanged("it changed")

    monkeypatch.setattr("spack_oci.operations.push.packing.Packing.pack", pack)
    with fault_registry() as registry:
        result = push(store_at(registry, upload=POLICY), [large], eager)
        assert isinstance(result.outcomes[0].error, PrefixChanged)
        assert registry.uploads == {} and registry.repository(NAME).blobs == {}


def test_without_another_thread_a_layer_is_sent_when_it_is_packed(large, eager, monkeypatch):
    class NoThreads(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ahead.threading, "Thread", NoThreads)
    monkeypatch.setattr("spack_oci.util.concurrency.threads.threading.Thread", NoThreads)
    store = MemoryStore()
    store.send_growing = lambda blob, progress=None: pytest.fail("there is no thread for it")
    assert push(store, [large], eager._replace(processes=False)).outcomes[0].status == PUSHED


def test_whatever_goes_wrong_while_a_layer_is_sent_ahead_the_push_sends_it_in_the_usual_way(
    large, eager, monkeypatch, capfd
):
    def broken(*args):
        raise RuntimeError("nobody foresaw this")

    with fault_registry() as registry:
        store = store_at(registry, upload=POLICY)
        monkeypatch.setattr(type(store), "send_growing", broken)
        result = push(store, [large], eager)
        assert result.outcomes[0].status == PUSHED and registry.uploads == {}
    assert "Traceback" not in capfd.readouterr().err


def test_who_waits_for_a_file_to_grow_is_told_when_the_whole_is_stopped(tmp_path):
    def check():
        raise Cancelled

    with pytest.raises(Cancelled):
        GrowingFile(str(tmp_path / "none"), check).wait_for(1)
