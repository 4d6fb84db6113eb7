# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Large layers are extracted while they arrive, and nothing is installed that did not arrive whole and right."""

import contextlib
import errno
import os
import random
import signal
import time

import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.content.cached_fetch import open_arriving
from spack_oci.descriptor import OCI_LAYER_GZIP, Descriptor, VerifyingReader, sha256_digest
from spack_oci.errors import ConnectionLost, DigestMismatch, PrefixTooLong, StorageError
from spack_oci.operations.install.execute import InstallLimits, install_all
from spack_oci.operations.install.outcome import FAILED, INSTALLED, SKIPPED, InstallItem
from spack_oci.store.install import InstallPlan, StoreSteps
from spack_oci.store.source import Source
from spack_oci.store.store import Store
from spack_oci.util.concurrency.cancellation import Cancelled
from support.memory_store import MemoryStore
from support.packages.cache_builder import node, push_package
from support.packages.layers import HASH, Layer
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import store_at

#: seconds until what must happen counts as never
PATIENCE = 120


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


# -- the engine: who is extracted on the way ---------------------------------------------------------------------------


class Steps:
    """Packages are directories that say how they were made. ``gates[name]``: what a fetch does after its beginning."""

    finish_needs_dependencies = False

    def __init__(self, root, gates=None, on_the_way=lambda item, check: None):
        self.root = str(root)
        self.gates = gates or {}
        self.on_the_way = on_the_way
        self.begun = set()
        self.registered = []

    def fetch(self, item, progress, begun):
        if item.dag_hash in self.gates:
            if item.size > 1:
                begun("beginning")
                self.begun.add(item.dag_hash)
            self.gates[item.dag_hash]()
        return "whole"

    def extract(self, item, fetched):
        self._make(item, fetched)

    def extract_arriving(self, item, begun, check):
        assert begun == "beginning"
        self.on_the_way(item, check)
        self._make(item, "on the way")

    def _make(self, item, how):
        os.makedirs(item.prefix, exist_ok=True)
        with open(os.path.join(item.prefix, "made"), "a") as file:
            file.write(how)

    def finish(self, item):
        pass

    def register(self, items):
        self.registered += [item.dag_hash for item in items]

    def discard(self, item):
        if os.path.isdir(item.prefix):
            os.unlink(os.path.join(item.prefix, "made"))
            os.rmdir(item.prefix)

    def is_made(self, name):
        return os.path.exists(os.path.join(self.root, name, "made"))


def item(root, name, size, *needs):
    return InstallItem(name, name, os.path.join(str(root), name), frozenset(needs), size)


def waiting(directory):
    """An extraction for which nothing comes; ``begun`` and ``told`` are there when it has begun and was told so."""

    def wait(item, check):
        (directory / "begun").mkdir()
        with pytest.raises(Cancelled):
            wait_until(check, "nobody says that no more will come")
        (directory / "told").mkdir()
        raise Cancelled

    return wait


def made(root):
    return {name: (root / name / "made").read_text() for name in os.listdir(root)}


@pytest.mark.parametrize("first", ["large", "larger"])
def test_the_largest_is_extracted_while_it_arrives_and_one_process_is_left_for_the_others(tmp_path, first):
    def until_made(name):
        return lambda: wait_until(lambda: steps.is_made(name), f"{name} waits for a large one that arrives")

    def follow(item, check):
        (tmp_path / f"{item.dag_hash} is followed").mkdir()
        if item.dag_hash == "larger":
            until_made("large")()

    tree = tmp_path / "tree"
    gates = {"larger": until_made("large"), "large": until_made("small"), "small": lambda: None}
    steps = Steps(tree, gates, follow)
    if first == "large":
        fetch = steps.fetch

        def later(item, *rest):
            if item.dag_hash == "larger":
                wait_until(lambda: "large" in steps.begun, "the other one did not begin")
            return fetch(item, *rest)

        steps.fetch = later
    plan = [item(tree, "small", 1), item(tree, "large", 10), item(tree, "larger", 20)]
    outcomes = install_all(plan, steps, InstallLimits(workers=2, transfers=8))
    assert [o.status for o in outcomes] == [INSTALLED] * 3
    assert made(tree) == {"larger": "on the way", "large": "whole", "small": "whole"}
    assert sorted(os.listdir(tmp_path)) == ["larger is followed", "tree"]


def test_with_one_process_only_the_last_package_is_extracted_while_it_arrives(tmp_path):
    def others(item, check):
        assert steps.is_made("b"), "b waits for a"

    steps = Steps(tmp_path, {"a": lambda: wait_until(lambda: steps.is_made("a"), "a is not begun")}, others)
    install_all([item(tmp_path, "a", 9), item(tmp_path, "b", 1)], steps, InstallLimits(workers=1))
    assert made(tmp_path) == {"a": "on the way", "b": "whole"}


def test_without_processes_nothing_is_extracted_before_it_is_there(tmp_path, monkeypatch):
    def refuse():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    steps = Steps(tmp_path, {"a": lambda: None})
    assert [o.status for o in install_all([item(tmp_path, "a", 9)], steps)] == [INSTALLED]
    assert made(tmp_path) == {"a": "whole"}


def test_a_fetch_that_fails_ends_the_extraction_and_its_error_is_told(tmp_path):
    def fail():
        wait_until((tmp_path / "begun").exists, "not extracted while it arrives")
        raise ConnectionLost("cut")

    tree = tmp_path / "tree"
    steps = Steps(tree, {"a": fail}, waiting(tmp_path))
    plan = [item(tree, "a", 9), item(tree, "b", 1, "a"), item(tree, "c", 1)]
    outcomes = install_all(plan, steps, InstallLimits(workers=2))
    assert [o.status for o in outcomes] == [FAILED, SKIPPED, INSTALLED] and isinstance(
        outcomes[0].error, ConnectionLost
    )
    assert steps.registered == ["c"] and made(tree) == {"c": "whole"} and (tmp_path / "told").exists()


def test_a_fetch_that_fails_after_the_extraction_was_done_takes_the_package_away(tmp_path):
    def fail():
        wait_until(lambda: steps.is_made("a"), "not extracted while it arrives")
        raise StorageError("no room for the blob")

    steps = Steps(tmp_path, {"a": fail})
    outcomes = install_all([item(tmp_path, "a", 9)], steps)
    assert outcomes[0].status == FAILED and steps.registered == [] and os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), DigestMismatch("another"), PrefixTooLong("no")])
def test_an_extraction_that_fails_on_the_way_is_done_again_when_all_is_there(tmp_path, error):
    def fail(item, check):
        raise error

    steps = Steps(tmp_path, {"a": lambda: None}, fail)
    assert install_all([item(tmp_path, "a", 9)], steps)[0].status == INSTALLED
    assert made(tmp_path) == {"a": "whole"}


def test_a_download_that_another_one_has_replaced_is_not_waited_for(tmp_path):
    """The first mirror broke off, the second one had it all."""
    tree = tmp_path / "tree"

    def from_another_mirror():
        wait_until((tmp_path / "begun").exists, "not extracted while it arrives")

    steps = Steps(tree, {"a": from_another_mirror}, waiting(tmp_path))
    assert install_all([item(tree, "a", 9)], steps)[0].status == INSTALLED
    assert made(tree) == {"a": "whole"} and (tmp_path / "told").exists()


def test_a_process_that_is_killed_on_the_way_fails_its_package(tmp_path):
    def die(item, check):
        os.kill(os.getpid(), signal.SIGKILL)

    def go_on():
        wait_until(lambda: steps.is_made("b"), "b waits for a")

    steps = Steps(tmp_path, {"a": go_on}, die)
    outcomes = install_all([item(tmp_path, "a", 9), item(tmp_path, "b", 1)], steps, InstallLimits(workers=2))
    assert [o.status for o in outcomes] == [FAILED, INSTALLED] and "signal 9" in str(outcomes[0].error)
    assert made(tmp_path) == {"b": "whole"}


def test_what_is_skipped_while_it_arrives_is_not_waited_for(tmp_path):
    """Its process ends with the install, although its download would go on for ever."""

    def fail():
        wait_until((tmp_path / "begun").exists, "not extracted while it arrives")
        raise PrefixTooLong("no")

    tree = tmp_path / "tree"
    steps = Steps(tree, {"a": lambda: time.sleep(900), "b": fail}, waiting(tmp_path))
    outcomes = install_all([item(tree, "a", 9, "b"), item(tree, "b", 1)], steps, InstallLimits(workers=2))
    assert [o.status for o in outcomes] == [SKIPPED, FAILED] and (tmp_path / "told").exists()


# -- packages of a store -----------------------------------------------------------------------------------------------

#: of which gzip leaves as much as there is; more than a registry's blobs that are read whole before anything is used
SIZE = 3 << 20
PACKAGE = node("tool", hash=HASH)
LAYER_OF_A_TEST = Descriptor.of(b"the layer", OCI_LAYER_GZIP)


@pytest.fixture(scope="module")
def layer():
    content = random.Random(1).randbytes(SIZE)
    return Layer().file("first", "small").file("bin/tool", content, 0o755).file("share/last", content[::-1]).gzip()


class GatedStore(MemoryStore):
    """Has the package, and calls ``gate`` in the middle of its layer."""

    def __init__(self, layer, gate):
        super().__init__()
        self.gate = gate
        push_package(self, [PACKAGE], layer=layer)

    def open_blob(self, descriptor):
        reader = super().open_blob(descriptor)
        if descriptor.size < SIZE:
            return reader
        return VerifyingReader(GatedStream(reader, descriptor.size // 2, self.gate), descriptor)


class GatedStream:
    def __init__(self, stream, gate_at, gate):
        self.stream, self.left, self.gate = stream, gate_at, gate
        self.close = stream.close

    def read(self, size=-1):
        if self.left <= 0 and self.gate:
            gate, self.gate = self.gate, None
            gate()
        data = self.stream.read(min(size, 256 << 10))
        self.left -= len(data)
        return data


class Tree:
    """A store that is installed into, from ``content``."""

    def __init__(self, path, monkeypatch):
        monkeypatch.setattr("spack_oci.content.cached_fetch.LARGE", 1)
        self.store = Store.open_or_create(str(path / "sw"))
        self.store.prepare()
        self.prefix = self.store.layout.prefix_of(PACKAGE)
        self.cache = BlobCache(str(path / "cache"))

    def staged(self):
        """Files that the extraction has written so far."""
        parent = os.path.dirname(self.prefix)
        hidden = [name for name in os.listdir(parent) if name.startswith(".")] if os.path.isdir(parent) else []
        return [name for top in hidden for _, _, names in os.walk(os.path.join(parent, top)) for name in names]

    def is_staged(self):
        wait_until(lambda: "first" in self.staged(), "nothing is extracted while the layer arrives")

    def install(self, content, once=None):
        """``once``: "on the way" or "when it is there": the other one would be an error."""
        source = Source(content.url, {HASH: PACKAGE}, {HASH}, lambda: content)
        plan = InstallPlan([PACKAGE], [PACKAGE], [], {HASH: self.prefix}, {HASH: 2 * SIZE})
        steps = StoreSteps(self.store, plan, source, {HASH}, self.cache)
        if once == "on the way":
            steps.extract = None
        elif once:
            steps.extract_arriving = lambda *_: os._exit(1)
        return install_all(steps.items(), steps, InstallLimits(workers=2))[0]

    def is_clean(self):
        """Nothing of the package is there, nor of its download."""
        fetching = os.path.join(self.cache.root, "fetching")
        parent = os.path.dirname(self.prefix)
        assert not os.path.isdir(fetching) or os.listdir(fetching) == []
        assert not os.path.isdir(parent) or os.listdir(parent) == []
        assert self.store.database.read().by_hash == {}
        return True

    def is_complete(self):
        assert self.staged() == [] and self.store.database.read().is_installed(HASH)
        return os.path.getsize(os.path.join(self.prefix, "share", "last")) == SIZE


@pytest.mark.parametrize("content", [b"another layer", b"the layer and more"])
def test_whoever_reads_a_blob_to_its_end_while_it_arrives_has_verified_it(tmp_path, content):
    path = tmp_path / "part"
    path.write_bytes(content)
    with pytest.raises(DigestMismatch), open_arriving(str(path), LAYER_OF_A_TEST, lambda: None) as reader:
        reader.read()


def test_whoever_waits_for_more_of_a_blob_is_told_that_none_will_come(tmp_path):
    def check():
        raise Cancelled

    path = tmp_path / "part"
    path.write_bytes(b"the lay")
    with open_arriving(str(path), LAYER_OF_A_TEST, check) as reader:
        assert reader.read(7) == b"the lay"
        with pytest.raises(Cancelled):
            reader.read(7)


def test_what_came_last_is_read_before_it_is_believed_that_no_more_will_come(tmp_path):
    """The end of a download is told when all of it is in the file, which may have been looked at just before."""

    def check():
        path.write_bytes(b"the layer")
        raise Cancelled

    path = tmp_path / "part"
    path.write_bytes(b"the ")
    with open_arriving(str(path), LAYER_OF_A_TEST, check) as reader:
        assert reader.read(4) + reader.read(5) == b"the layer"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    return Tree(tmp_path, monkeypatch)


def test_a_layer_is_extracted_before_its_second_half_is_there(tree, layer):
    store = GatedStore(layer, tree.is_staged)
    assert tree.install(store, once="on the way").status == INSTALLED and tree.is_complete()
    assert tree.cache.get(sha256_digest(layer)), "the next install needs no download"


def test_a_layer_whose_digest_is_wrong_is_never_installed(tree, layer):
    """All of it unpacks, and only the time in the header of gzip is another."""
    store = GatedStore(layer, tree.is_staged)
    store.blobs[sha256_digest(layer)] = layer[:4] + b"time" + layer[8:]
    outcome = tree.install(store)
    assert outcome.status == FAILED and isinstance(outcome.error, DigestMismatch) and tree.is_clean()


def test_a_download_that_breaks_off_for_good_leaves_nothing(tree, layer):
    def fail():
        tree.is_staged()
        raise ConnectionLost("cut")

    outcome = tree.install(GatedStore(layer, fail))
    assert outcome.status == FAILED and isinstance(outcome.error, ConnectionLost) and tree.is_clean()


def test_an_interrupt_in_the_middle_leaves_nothing(tree, layer):
    def interrupt():
        tree.is_staged()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(900)

    with pytest.raises(KeyboardInterrupt):
        tree.install(GatedStore(layer, interrupt))
    parent = os.path.dirname(tree.prefix)
    assert not os.path.isdir(parent) or os.listdir(parent) == []
    assert tree.store.database.read().by_hash == {}


@pytest.mark.parametrize("whole_group", [False, True], ids=["alone", "with-its-processes"])
def test_an_install_that_is_killed_in_the_middle_leaves_what_the_next_one_takes_away(
    tree, layer, tmp_path, whole_group
):
    def wait_for_the_end():
        tree.is_staged()
        (tmp_path / "staged").mkdir()
        time.sleep(900)

    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            tree.install(GatedStore(layer, wait_for_the_end))
        finally:
            os._exit(1)
    try:
        wait_until((tmp_path / "staged").exists, "nothing is extracted while the layer arrives")
        os.killpg(pid, signal.SIGKILL) if whole_group else os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert not os.path.lexists(tree.prefix) and tree.store.database.read().by_hash == {}
        if not whole_group:  # the process that extracts sees it, and ends
            wait_until(lambda: not tree.staged(), "a process goes on without the one that it works for")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    assert tree.install(GatedStore(layer, None)).status == INSTALLED and tree.is_complete()
    assert os.listdir(os.path.dirname(tree.prefix)) == [os.path.basename(tree.prefix)]


def registry_with(layer, *faults):
    return fault_registry(*(Fault("GET", f"/blobs/{sha256_digest(layer)}", **fault) for fault in faults))


@pytest.mark.parametrize("again", [{}, {"ignore_range": True}], ids=["range", "range-ignored"])
def test_a_download_that_is_resumed_is_followed_to_its_end(tree, layer, again):
    with registry_with(layer, {"truncate": 4_000_000}, again) as registry:
        # a small download may be over before a process has opened its file
        store = store_at(registry, sleeps=lambda seconds: tree.is_staged())
        push_package(store, [PACKAGE], layer=layer)
        assert tree.install(store, once="on the way").status == INSTALLED and tree.is_complete()
        assert sum(sha256_digest(layer) in line for line in registry.requests() if line.startswith("GET")) == 2


def test_a_download_that_begins_anew_is_extracted_anew(tree, layer):
    with registry_with(layer, {"corrupt": True}) as registry:
        store = store_at(registry)
        push_package(store, [PACKAGE], layer=layer)
        assert tree.install(store).status == INSTALLED and tree.is_complete()


def test_a_layer_that_comes_in_parts_is_extracted_when_it_is_there(tree, layer, monkeypatch):
    """Its file has holes until then; also where the parts are refused, and it comes in one piece after all."""
    monkeypatch.setattr("spack_oci.registry.downloads.MIN_PART", 1 << 20)
    with registry_with(layer, {"ignore_range": True}) as registry:
        store = store_at(registry, parallel_ranges=3)
        push_package(store, [PACKAGE], layer=layer)
        assert tree.install(store, once="when it is there").status == INSTALLED and tree.is_complete()


def test_a_small_layer_is_extracted_when_it_is_there(tree, layer, monkeypatch):
    monkeypatch.setattr("spack_oci.content.cached_fetch.LARGE", len(layer) + 1)
    assert tree.install(GatedStore(layer, None), once="when it is there").status == INSTALLED
