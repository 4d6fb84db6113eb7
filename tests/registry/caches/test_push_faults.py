# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A push into a real registry that is killed, interrupted or abandoned by the registry, and then run again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.errors import NotFound, PrefixChanged, SpackOciError
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.outcome import FAILED, PUSHED
from spack_oci.reference import parse_url
from spack_oci.registry.http.retry import RetryPolicy
from spack_oci.registry.settings import RegistrySettings
from spack_oci.registry.store import open_repository
from spack_oci.util.progress import Silent
from support.packages.prefixes import make_package
from support.registries.docker_registry import docker_registry, free_port

pytestmark = pytest.mark.registry


def make_stack(root, count=12):
    """Packages of different sizes, each depending on the one before."""
    generator = random.Random(1)
    packages = []
    for number in range(count):
        data = generator.randbytes(generator.choice([1000, 30_000, 400_000, 3_000_000]))
        packages.append(make_package(root, f"package{number}", packages[-1:], files={"share/data": data}))
    return packages


def open_store(url, **kwargs):
    return open_repository(parse_url(url), RegistrySettings(**kwargs) if kwargs else None)


def settled_manifest(store, tag, patience=60.0):
    """The registry lists a tag a moment before it can be read, and ends the request of a client that is gone."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return store.get_manifest(tag)[1]
        except NotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def no_dangling_tags(store):
    """Every tag's manifest names blobs that are there. Returns the number of tags."""
    tags = list(store.tags())
    for tag in tags:
        manifest = json.loads(settled_manifest(store, tag))
        for blob in [manifest["config"], *manifest["layers"]]:
            assert store.has_blob(blob["digest"]), f"{tag} names {blob['digest']}, which is missing"
    return len(tags)


PUSH = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[5]).parent))
from test_push_faults import make_stack, open_store
from spack_oci.content.blob_cache import BlobCache
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push

root = Path(sys.argv[1])
cache = BlobCache(str(root / "cache")) if sys.argv[3] else None
settings = PushSettings(stage=str(root / "stage"), cache=cache, fork=bool(sys.argv[4]))
store = open_store(sys.argv[2])
packages = make_stack(root / "store")
print("ready", flush=True)
result = execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
sys.exit(len(result.failed))
"""


def start_push(root, url, cached, processes=False):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [
        sys.executable,
        "-c",
        PUSH,
        str(root),
        url,
        "cached" if cached else "",
        "yes" if processes else "",
        __file__,
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cached, processes", [(False, False), (True, False), (True, True)])
def test_sigkill_at_random_moments(tmp_path, cached, processes, kills):
    """Kills in a row: no tag names a missing blob, what was tagged is not sent again, and the end is complete."""
    generator = random.Random(2 + cached)
    with docker_registry() as registry:
        url = registry.mirror_url("killed")
        store = open_store(url)
        started = time.monotonic()
        process = start_push(tmp_path / "timing", registry.mirror_url("timing"), cached, processes)
        assert process.wait(600) == 0
        usual = time.monotonic() - started
        tagged = 0
        for _ in range(kills):
            process = start_push(tmp_path, url, cached, processes)
            time.sleep(generator.uniform(0, usual / 3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            now = no_dangling_tags(store)
            assert now >= tagged
            tagged = now
        before = len(registry.requests())
        assert start_push(tmp_path, url, cached, processes).wait(600) == 0
        manifests = [line for line in registry.requests()[before:] if line.startswith("PUT") and "/manifests/" in line]
        # the last requests of a push that was killed may end after the look at the tags
        assert len(manifests) <= 12 - tagged
        assert no_dangling_tags(store) == 12


def stored(requests):
    """Digests of the blobs whose upload was completed."""
    done = [line for line in requests if line.startswith("PUT") and line.endswith(" 201") and "digest=" in line]
    return {line.split("digest=")[1].split(" ")[0] for line in done}


@pytest.mark.parametrize("processes", [False, True])
def test_a_push_goes_on_where_it_was_killed(tmp_path, processes):
    """Layers that arrived are not sent again, although no tag names them yet."""
    with docker_registry() as registry:
        store = open_store(registry.mirror_url("resumed"))
        packages = make_stack(tmp_path / "store")

        class Dying(Silent):
            def finished(self, name, line=""):
                raise KeyboardInterrupt

        settings = PushSettings(stage=str(tmp_path / "stage"), transfer_jobs=2, fork=processes)
        with pytest.raises(KeyboardInterrupt):
            execute_push(plan_push(store, packages, settings=settings), store, settings=settings, reporter=Dying())
        assert os.listdir(tmp_path / "stage") == []
        there, before = stored(registry.requests()), len(registry.requests())
        result = execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
        assert not result.failed and no_dangling_tags(store) == 12
        again = stored(registry.requests()[before:])
        assert there and not there & again


def test_the_registry_restarts_during_a_push(tmp_path):
    packages = make_stack(tmp_path / "store", 20)
    port, directory = free_port(), tmp_path / "registry"
    directory.mkdir()
    settings = PushSettings(stage=str(tmp_path / "stage"), pack_jobs=1, transfer_jobs=1)
    with docker_registry(port=port, directory=directory) as registry:
        store = open_store(registry.mirror_url("restarted"), retry=RetryPolicy(attempts=8, base=0.3, cap=2))
        restarted = threading.Event()

        class Restarting(Silent):
            """Stops the registry when the third package is done, and starts it again a little later."""

            seen = 0

            def finished(self, name, line=""):
                self.seen += 1
                if self.seen == 3:
                    registry.stop()
                    threading.Thread(target=restart).start()

        def restart():
            time.sleep(0.5)
            with docker_registry(port=port, directory=directory):
                restarted.set()
                done.wait(600)

        done = threading.Event()
        result = execute_push(
            plan_push(store, packages, settings=settings), store, settings=settings, reporter=Restarting()
        )
        assert restarted.wait(120)
        # what could not wait for the registry is reported; the next run does the rest
        assert all(isinstance(outcome.error, SpackOciError) for outcome in result.failed)
        again = execute_push(plan_push(store, packages, settings=settings), store, settings=settings)
        assert not again.failed
        # a manifest whose answer was lost with the registry is there
        assert len(again.pushed) <= len(result.failed)
        assert no_dangling_tags(store) == 20
        done.set()


def test_a_prefix_that_vanishes_meanwhile(tmp_path):
    packages = make_stack(tmp_path / "store")
    with docker_registry() as registry:
        store = open_store(registry.mirror_url("vanished"))

        class Removing(Silent):
            def begin(self, work):
                shutil.rmtree(packages[5].prefix)

        settings = PushSettings(stage=str(tmp_path / "stage"))
        result = execute_push(
            plan_push(store, packages, settings=settings), store, settings=settings, reporter=Removing()
        )
        assert [outcome.status for outcome in result.outcomes].count(FAILED) == 1
        assert isinstance(result.outcomes[5].error, PrefixChanged)
        assert no_dangling_tags(store) == 11


@pytest.mark.parametrize("processes", [False, True])
def test_sigterm_during_an_upload(tmp_path, processes):
    """A process that is told to end does so at once and leaves nothing in its stage."""
    with docker_registry() as registry:
        process = start_push(tmp_path, registry.mirror_url("terminated"), False, processes)
        stage = tmp_path / "stage"
        while process.poll() is None and not (stage.exists() and os.listdir(stage)):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
        # 0 and -15: the push was over before the signal came
        assert code in (128 + signal.SIGTERM, 0, -signal.SIGTERM)
        assert os.listdir(stage) == []
        no_dangling_tags(open_store(registry.mirror_url("terminated")))


@pytest.mark.parametrize("processes", [False, True])
def test_requests_of_a_push(tmp_path, processes):
    """5 a package to push it (POST, PUT of its layer; POST, PUT of its config; PUT of its manifest), none when it is
    there, 3 HEAD to push it again unchanged; and 3 more where the layer is there, but not the tag."""
    packages = make_stack(tmp_path / "store")
    cache = BlobCache(str(tmp_path / "cache"))
    settings = PushSettings(stage=str(tmp_path / "stage"), cache=cache, fork=processes, transfer_jobs=1)
    with docker_registry() as registry:
        store = open_store(registry.mirror_url("counted"))
        counts = []
        for force, lost in ((False, None), (False, None), (True, None), (False, packages[-1].tag)):
            if lost:
                store.delete_manifest(store.resolve(lost).digest)
            before = len(registry.requests())
            result = execute_push(plan_push(store, packages, force=force, settings=settings), store, settings=settings)
            assert not result.failed
            counts.append(len(registry.requests()) - before)
            if force:
                assert {outcome.status for outcome in result.outcomes} == {PUSHED}
                assert result.bytes_read == result.bytes_sent == 0
    # one for the list of tags; and HEAD of the first layer, and its mount, by which it learns how to look for others;
    # where packages are there, one for what a prune is going to delete, and another one before they are tagged again
    assert counts[:3] == [5 * 12 + 3, 2, 3 * 12 + 2]
    # the manifests and configs of the layers that the image has in it; HEAD of layer and config, PUT of the manifest
    assert counts[3] == 2 + 2 * 11 + 3
