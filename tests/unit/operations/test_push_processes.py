# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pushes that plan, pack and tag in other processes: the same comes of them, and nothing is left of the processes."""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.errors import Forbidden, PrefixChanged
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.operations.progress import Silent
from spack_oci.operations.push import execute as engine
from spack_oci.operations.push import plan, tagging
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.outcome import FAILED, PUSHED
from spack_oci.reference import LayoutDirectory
from spack_oci.util.cancellation import Cancelled
from support.limits import at_most, threads_at_most
from support.memory_store import MemoryStore
from support.prefixes import make_package
from support.push_cases import push


class TestProcesses:
    """The same push with worker processes."""

    @pytest.fixture
    def settings(self, tmp_path):
        return PushSettings(stage=str(tmp_path / "stage"), processes=True, pack_jobs=2)

    @pytest.mark.parametrize("compression", ["gzip", "zstd:1"])
    def test_same_digests_as_with_threads(self, tmp_path, packages, settings, compression):
        packages = [*packages, make_package(tmp_path / "store", "big", files={"data": os.urandom(1000) * 20_000})]
        stores = []
        for processes in (False, True):
            store = MemoryStore()
            how = replace(settings, processes=processes, compression=Compression.parse(compression))
            result = push(store, packages, how)
            assert not result.failed
            stores.append((store.tagged, set(store.blobs), [outcome.facts for outcome in result.outcomes]))
            assert result.bytes_read == sum(item.size for item in plan_push(MemoryStore(), packages).packages)
        assert stores[0] == stores[1]
        assert os.listdir(settings.stage) == []

    def test_errors_come_back_with_their_type_and_remedy(self, packages, settings):
        plan = plan_push(MemoryStore(), packages, settings=settings)
        shutil.rmtree(packages[1].prefix)
        result = execute_push(plan, MemoryStore(), settings=settings)
        assert [outcome.status for outcome in result.outcomes] == [PUSHED, FAILED, PUSHED]
        error = result.failed[0].error
        assert isinstance(error, PrefixChanged) and error.remedy and packages[1].prefix in str(error)

    def test_names_that_are_not_utf8(self, tmp_path, settings):
        package = make_package(tmp_path / "store", "odd", files={"share/\udcff-é": b"0123456789"})
        layers = []
        for processes in (False, True):
            store = MemoryStore()
            layers.append(push(store, [package], replace(settings, processes=processes)).outcomes[0].layer)
        assert layers[0] == layers[1]

    def test_an_interruption_ends_the_workers(self, tmp_path, settings):
        package = make_package(tmp_path / "store", "large", files={"data": os.urandom(1 << 20) * 60})
        small = make_package(tmp_path / "store", "small")
        pids = []

        class Interrupting(Silent):
            def moved(self, package, read=0, sent=0):
                pids.extend(
                    pack_worker._process.pid for pack_worker in push_of["it"]._packing._workers if pack_worker._process
                )

            def finished(self, outcome):
                raise KeyboardInterrupt

        store = MemoryStore()
        plan = plan_push(store, [package, small], settings=settings)
        push_of = {"it": engine._Push(plan, store, settings, Interrupting())}
        with pytest.raises(KeyboardInterrupt):
            push_of["it"].run()
        assert os.listdir(settings.stage) == []
        assert pids
        for pid in set(pids):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    def test_a_worker_that_dies_fails_one_package(self, packages, settings, monkeypatch):
        from spack_oci.operations.push import pack_worker

        program = "import os, sys; sys.stdin.readline(); os._exit(9)"
        monkeypatch.setattr(pack_worker, "_PROGRAM", program)
        result = push(MemoryStore(), packages, settings)
        assert len(result.failed) == 3
        assert "ended with 9" in str(result.failed[0].error)

    def test_a_worker_has_its_next_package_before_its_answer_is_taken(self, packages, tmp_path, monkeypatch):
        from spack_oci.operations.push import pack_worker

        asked = tmp_path / "asked"
        #: answers nothing before it has been asked twice
        program = (
            "import itertools, json, sys; sys.path[:] = json.loads(sys.argv[1])\n"
            "from spack_oci.operations.push.pack_worker import serve\n"
            f"first = sys.stdin.readline(); second = sys.stdin.readline(); open({str(asked)!r}, 'w').close()\n"
            "serve(itertools.chain((first, second), sys.stdin))"
        )
        monkeypatch.setattr(pack_worker, "_PROGRAM", program)
        result = push(
            MemoryStore(), packages[:2], PushSettings(stage=str(tmp_path / "stage"), pack_jobs=1, processes=True)
        )
        assert not result.failed and asked.exists()

    def test_a_worker_is_killed_while_it_is_being_asked(self, monkeypatch):
        """A request that is longer than a pipe holds waits until the package before it is packed."""
        from spack_oci.operations.push import pack_worker

        monkeypatch.setattr(pack_worker, "_PROGRAM", "import time; time.sleep(600)")
        it, failures = pack_worker.PackWorker(), []

        def pack():
            with pytest.raises(Cancelled) as failure:
                it.pack("/p", build_info={}, old_prefixes=["x" * (1 << 20)], compression=Compression(), path="/l")
            failures.append(failure.value)

        asking = threading.Thread(target=pack, daemon=True)
        asking.start()
        while it._process is None:
            time.sleep(0.01)
        time.sleep(0.3)
        killing = threading.Thread(target=it.kill, daemon=True)
        killing.start()
        killing.join(20)
        asking.join(20)
        assert not killing.is_alive() and len(failures) == 1

    def test_little_is_packed_by_threads(self, packages, tmp_path, monkeypatch):
        monkeypatch.setattr("spack_oci.operations.push.packing.PackWorker", None)
        assert not push(MemoryStore(), packages, PushSettings(stage=str(tmp_path / "stage"), pack_jobs=4)).failed
        monkeypatch.setattr("spack_oci.operations.push.packing.WORTH_PROCESSES", 1)
        with pytest.raises(TypeError):
            push(MemoryStore(), packages, PushSettings(stage=str(tmp_path / "stage"), pack_jobs=4))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestInForkedProcesses:
    """The same as in threads, in a store that several processes can write to."""

    @pytest.fixture
    def pushed(self, packages, settings, tmp_path):
        def push_to(name, processes, force=False):
            store = open_layout(LayoutDirectory(str(tmp_path / name)), create=True)
            result = push(store, packages, replace(settings, fork=processes), force=force)
            return store, result

        return push_to

    def test_the_same_tags(self, pushed, packages):
        (by_threads, _), (by_processes, result) = pushed("threads", False), pushed("processes", True)
        assert not result.failed
        for package in packages:
            assert by_threads.resolve(package.tag) == by_processes.resolve(package.tag)
        again = pushed("processes", True, force=True)[1]
        assert [o.manifest for o in again.outcomes] == [o.manifest for o in result.outcomes]

    @pytest.fixture
    def packed_by_processes(self, settings):
        return replace(settings, fork=True, processes=True)

    def test_the_same_layers(self, pushed, packages, packed_by_processes, tmp_path):
        by_threads = pushed("threads", False)[0]
        store = open_layout(LayoutDirectory(str(tmp_path / "packed")), create=True)
        assert not push(store, packages, replace(packed_by_processes, cache=None)).failed
        assert {store.resolve(p.tag) for p in packages} == {by_threads.resolve(p.tag) for p in packages}
        assert os.listdir(packed_by_processes.stage) == []

    def test_a_packer_that_dies_fails_one_package(self, packages, packed_by_processes, tmp_path, monkeypatch):
        from spack_oci.operations.push import pack_worker

        real, parent = pack_worker.pack_prefix, os.getpid()

        def die_of_one(prefix, **how):
            assert os.getpid() != parent
            return os._exit(9) if prefix == packages[1].prefix else real(prefix, **how)

        monkeypatch.setattr(pack_worker, "pack_prefix", die_of_one)
        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        result = push(store, packages, replace(packed_by_processes, pack_jobs=2))
        # one may have waited behind it, in the same process
        assert packages[1] in [outcome.package for outcome in result.failed] and len(result.failed) < 3
        assert all("ended with 9" in str(outcome.error) for outcome in result.failed)

    def test_an_interruption_ends_the_packers(self, packages, packed_by_processes, tmp_path):
        class Interrupting(Silent):
            def finished(self, outcome):
                raise KeyboardInterrupt

        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        plan = plan_push(store, packages, settings=packed_by_processes)
        it = engine._Push(plan, store, packed_by_processes, Interrupting())
        with pytest.raises(KeyboardInterrupt):
            it.run()
        assert os.listdir(packed_by_processes.stage) == []
        pids = [pack_worker._process.pid for pack_worker in it._packing._workers if pack_worker._process]
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    def test_packers_end_with_their_parent(self, tmp_path):
        """Also when it is killed, and others that were forked after them have inherited their pipes."""
        program = (
            "import os, signal, sys\n"
            "from spack_oci.operations.push.forked_packer import forked_workers\n"
            "from spack_oci.util.processes import ForkedPool\n"
            "workers = forked_workers(2); pool = ForkedPool(print, 2, 1, 'x')\n"
            "print(*(w._process.pid for w in workers), *(c._process.pid for c in pool._children), flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, timeout=60)
        pids = [int(pid) for pid in done.stdout.split()]
        deadline = time.monotonic() + 20
        while any(map(_runs, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(pids) == 4 and not any(map(_runs, pids))

    def test_what_a_child_cannot_tag_is_named(self, pushed, packages, monkeypatch):
        real = LayoutStore.put_manifest

        def refuse_one(store, data, media_type, tag):
            if tag == packages[1].tag:
                raise Forbidden("not this one", status=403)
            return real(store, data, media_type, tag)

        monkeypatch.setattr(LayoutStore, "put_manifest", refuse_one)
        store, result = pushed("layout", True)
        assert [(o.package, o.error.message) for o in result.failed] == [(packages[1], "not this one")]
        assert sorted(store.tags()) == sorted([packages[0].tag, packages[2].tag])

    def test_a_defect_there_is_not_a_failed_package_either(self, pushed, monkeypatch):
        monkeypatch.setattr(LayoutStore, "put_manifest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pushed("layout", True)

    def test_the_same_plan(self, packages, settings):
        store = MemoryStore()
        assert not push(store, packages[:1], settings).failed
        made = []
        for processes in (False, True):
            mine = [replace(package) for package in packages]
            plan = plan_push(store, mine, settings=replace(settings, fork=processes))
            assert [item.package for item in plan.packages] == mine
            made.append([replace(item, package=None) for item in plan.packages])
        assert made[0] == made[1]
        assert [item.action for item in made[0]] == ["skip", "pack", "pack"]

    def test_what_was_made_to_plan_is_not_made_again(self, packages, settings):
        asked = []

        class Lazy(type(packages[0])):
            @property
            def build_info(self):
                return vars(self).get("build_info") or asked.append(self.name) or packages[0].build_info

        lazy = Lazy.__new__(Lazy)
        vars(lazy).update({k: v for k, v in vars(packages[0]).items() if k != "build_info"})
        plan = plan_push(MemoryStore(), [lazy], settings=replace(settings, fork=True))
        assert plan.packages[0].key == plan_push(MemoryStore(), packages[:1], settings=settings).packages[0].key
        assert lazy.build_info == packages[0].build_info and asked == []

    def test_a_prefix_that_cannot_be_read_fails_its_package(self, packages, settings):
        shutil.rmtree(packages[1].prefix)
        plan = plan_push(MemoryStore(), packages, settings=replace(settings, fork=True))
        problems = [item.problem for item in plan.packages]
        assert problems[0] is problems[2] is None
        assert isinstance(problems[1], PrefixChanged) and problems[1].remedy

    @pytest.mark.parametrize("processes", [False, True])
    def test_what_will_be_pushed_is_prepared(self, packages, settings, processes):
        store, prepared = MemoryStore(), []
        assert not push(store, packages[:1], settings).failed
        plan = plan_push(
            store,
            packages,
            settings=replace(settings, fork=processes),
            may_be_pushed=lambda package: package is not packages[2],
            prepare=prepared.extend,
        )
        assert prepared == [packages[1]] and plan.refused == [packages[2]]

    @pytest.mark.parametrize("allowed", range(5))
    def test_where_no_more_processes_are_allowed_the_push_goes_on_with_fewer(
        self, packages, packed_by_processes, tmp_path, monkeypatch, allowed
    ):
        """One plans, two pack, two tag; what has no process is done by threads."""
        error_from_response = BlockingIOError(11, "Resource temporarily unavailable")
        monkeypatch.setattr(os, "fork", at_most(allowed, os.fork, error_from_response))
        monkeypatch.setattr(plan, "available_cores", lambda: 2)
        monkeypatch.setattr(tagging, "available_cores", lambda: 2)
        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        result = push(store, packages, replace(packed_by_processes, pack_jobs=2))
        assert not result.failed
        assert sorted(store.tags()) == sorted(package.tag for package in packages)

    @pytest.mark.parametrize("processes", [False, True])
    @pytest.mark.parametrize("allowed", range(0, 12, 3))
    def test_where_no_more_threads_are_allowed_the_push_goes_on_with_fewer(
        self, packages, settings, tmp_path, monkeypatch, allowed, processes
    ):
        """Also while it asks what is there, and when there is something to compress in pieces."""
        monkeypatch.setattr("spack_oci.operations.push.packing.LARGE", 1)
        monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        how = replace(settings, cache=None, pack_jobs=2, fork=processes, processes=processes)
        assert len(push(store, packages, how).pushed) == len(packages)
        assert not push(store, packages, how).pushed
        assert len(push(store, packages, how, force=True).pushed) == len(packages)

    def test_few_packages_are_not_worth_it(self, tmp_path, settings, monkeypatch):
        from spack_oci.util import forked_map

        many = [make_package(tmp_path / "store", f"package{number}") for number in range(3)]
        monkeypatch.setattr(plan, "available_cores", lambda: 2)
        monkeypatch.setattr(tagging, "ForkedPool", None)
        monkeypatch.setattr(forked_map, "ForkedMap", None)
        assert not push(MemoryStore(), many, settings).failed
        monkeypatch.setattr(plan, "WORTH_FORKING", 3)
        monkeypatch.setattr(sys, "platform", "linux")
        with pytest.raises(TypeError):
            push(MemoryStore(), many, settings, force=True)
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not push(MemoryStore(), many, settings, force=True).failed
