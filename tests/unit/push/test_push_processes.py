# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Pushes that plan, pack and tag in other processes: the same comes of them, and nothing is left of the processes."""

import os
import shutil
import sys
import threading
from dataclasses import replace

import pytest
from spack_oci.archive.codec import Compression
from spack_oci.errors import Forbidden, PrefixChanged
from spack_oci.layout import LayoutStore, open_layout
from spack_oci.operations.push import packing, plan, tagging
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.outcome import FAILED, PUSHED
from spack_oci.reference import LayoutDirectory
from spack_oci.util.progress import Silent
from support.limits import at_most, threads_at_most
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from support.packages.push_cases import push


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
            how = settings._replace(processes=processes, compression=Compression.parse(compression))
            result = push(store, packages, how)
            assert not result.failed
            stores.append((store.tagged, set(store.blobs), [outcome.relocation_summary for outcome in result.outcomes]))
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
            layers.append(push(store, [package], settings._replace(processes=processes)).outcomes[0].layer)
        assert layers[0] == layers[1]

    def test_an_interruption_ends_the_processes(self, tmp_path, settings, monkeypatch):
        package = make_package(tmp_path / "store", "large", files={"data": os.urandom(1 << 20) * 60})
        small = make_package(tmp_path / "store", "small")

        class Interrupting(Silent):
            def finished(self, name, line=""):
                raise KeyboardInterrupt

        store = MemoryStore()
        pids, fork = [], os.fork

        def forking():
            pids.append(fork())
            return pids[-1]

        planned = plan_push(store, [package, small], settings=settings)
        monkeypatch.setattr(os, "fork", forking)
        with pytest.raises(KeyboardInterrupt):
            execute_push(planned, store, settings=settings, reporter=Interrupting())
        assert os.listdir(settings.stage) == []
        assert pids
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    def test_little_is_packed_by_threads(self, packages, tmp_path, monkeypatch):
        monkeypatch.setattr("spack_oci.operations.push.packing.ProcessPool", None)
        assert not push(MemoryStore(), packages, PushSettings(stage=str(tmp_path / "stage"), pack_jobs=4)).failed
        monkeypatch.setattr("spack_oci.operations.push.packing.WORTH_PROCESSES", 1)
        with pytest.raises(TypeError):
            push(MemoryStore(), packages, PushSettings(stage=str(tmp_path / "stage"), pack_jobs=4))


class TestInForkedProcesses:
    """The same as in threads, in a store that several processes can write to."""

    @pytest.fixture
    def pushed(self, packages, settings, tmp_path):
        def push_to(name, processes, force=False):
            store = open_layout(LayoutDirectory(str(tmp_path / name)), create=True)
            result = push(store, packages, settings._replace(fork=processes), force=force)
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
        return settings._replace(fork=True, processes=True)

    def test_the_same_layers(self, pushed, packages, packed_by_processes, tmp_path):
        by_threads = pushed("threads", False)[0]
        store = open_layout(LayoutDirectory(str(tmp_path / "packed")), create=True)
        assert not push(store, packages, packed_by_processes._replace(cache=None)).failed
        assert {store.resolve(p.tag) for p in packages} == {by_threads.resolve(p.tag) for p in packages}
        assert os.listdir(packed_by_processes.stage) == []

    def test_a_packer_that_dies_fails_one_package(self, packages, packed_by_processes, tmp_path, monkeypatch):
        real, parent = packing.pack_prefix, os.getpid()

        def die_of_one(prefix, **settings):
            assert os.getpid() != parent
            return os._exit(9) if prefix == packages[1].prefix else real(prefix, **settings)

        monkeypatch.setattr(packing, "pack_prefix", die_of_one)
        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        result = push(store, packages, packed_by_processes._replace(pack_jobs=2))
        # one may have waited behind it, in the same process
        assert packages[1] in [outcome.package for outcome in result.failed] and len(result.failed) < 3
        assert all("died (exit code 9)" in str(outcome.error) for outcome in result.failed)

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

    def test_a_defect_there_fails_its_packages_too(self, pushed, packages, monkeypatch):
        monkeypatch.setattr(LayoutStore, "put_manifest", lambda *_: 1 / 0)
        _, result = pushed("layout", True)
        assert len(result.failed) == len(packages)
        assert all(isinstance(outcome.error.__cause__, ZeroDivisionError) for outcome in result.failed)

    def test_the_same_plan(self, packages, settings):
        store = MemoryStore()
        assert not push(store, packages[:1], settings).failed
        made = []
        for processes in (False, True):
            mine = [replace(package) for package in packages]
            plan = plan_push(store, mine, settings=settings._replace(fork=processes))
            assert [item.package for item in plan.packages] == mine
            made.append([item._replace(package=None) for item in plan.packages])
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
        plan = plan_push(MemoryStore(), [lazy], settings=settings._replace(fork=True))
        assert plan.packages[0].key == plan_push(MemoryStore(), packages[:1], settings=settings).packages[0].key
        assert lazy.build_info == packages[0].build_info and asked == []

    def test_a_prefix_that_cannot_be_read_fails_its_package(self, packages, settings):
        shutil.rmtree(packages[1].prefix)
        plan = plan_push(MemoryStore(), packages, settings=settings._replace(fork=True))
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
            settings=settings._replace(fork=processes),
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
        result = push(store, packages, packed_by_processes._replace(pack_jobs=2))
        assert not result.failed
        assert sorted(store.tags()) == sorted(package.tag for package in packages)

    @pytest.mark.parametrize("forked", [False, True])
    @pytest.mark.parametrize("allowed", range(0, 12, 3))
    def test_where_no_more_threads_are_allowed_the_push_goes_on_with_fewer(
        self, packages, settings, tmp_path, monkeypatch, allowed, forked
    ):
        """Also while it asks what is there, and when there is something to compress in pieces."""
        monkeypatch.setattr("spack_oci.operations.push.packing.LARGE", 1)
        monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
        store = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        how = settings._replace(cache=None, pack_jobs=2, fork=forked, processes=forked)
        assert len(push(store, packages, how).pushed) == len(packages)
        assert not push(store, packages, how).pushed
        assert len(push(store, packages, how, force=True).pushed) == len(packages)

    def test_few_packages_are_not_worth_it(self, tmp_path, settings, monkeypatch):
        many = [make_package(tmp_path / "store", f"package{number}") for number in range(3)]
        monkeypatch.setattr(plan, "available_cores", lambda: 2)
        monkeypatch.setattr(tagging, "ProcessPool", None)
        monkeypatch.setattr(plan, "mapped_in_processes", None)
        assert not push(MemoryStore(), many, settings).failed
        monkeypatch.setattr(plan, "WORTH_FORKING", 3)
        monkeypatch.setattr(sys, "platform", "linux")
        with pytest.raises(TypeError):
            push(MemoryStore(), many, settings, force=True)
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not push(MemoryStore(), many, settings, force=True).failed
