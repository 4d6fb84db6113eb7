# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The bulk install: every package is registered with its dependencies, or gone."""

import os
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.errors import NotFound, PrefixTooLong
from spack_oci.operations.install.execute import (
    FAILED,
    INSTALLED,
    SKIPPED,
    InstallItem,
    InstallLimits,
    install_all,
    installation_order,
)
from spack_oci.util.progress import PlainLines


class Steps:
    """Packages are directories; what fails where is said in advance."""

    def __init__(self, root, failing=None, slow=0.0):
        self.root = str(root)
        self.failing = failing or {}
        self.slow = slow
        self.registered = []
        self.fetched = []
        self.lock = threading.Lock()

    def _maybe_fail(self, step, item):
        error = self.failing.get((step, item.dag_hash))
        if callable(error):
            error()
        elif error is not None:
            raise error

    def fetch(self, item, progress):
        progress(item.size)
        self._maybe_fail("fetch", item)
        with self.lock:
            self.fetched.append(item.dag_hash)
        return {"layer of": item.dag_hash}

    def extract(self, item, fetched):
        assert fetched == {"layer of": item.dag_hash}
        os.makedirs(item.prefix)
        time.sleep(self.slow)
        self._maybe_fail("extract", item)

    def finish(self, item):
        for dependency in item.dependencies:
            assert os.path.exists(os.path.join(self.root, dependency, "finished")), dependency
        self._maybe_fail("finish", item)
        with open(os.path.join(item.prefix, "finished"), "w"):
            pass

    def register(self, items):
        self._maybe_fail("register", InstallItem("all", "", ""))
        self.registered += [item.dag_hash for item in items]

    def discard(self, item):
        for name in os.listdir(item.prefix) if os.path.exists(item.prefix) else []:
            os.unlink(os.path.join(item.prefix, name))
        if os.path.exists(item.prefix):
            os.rmdir(item.prefix)


def items(root, **dependencies):
    return [
        InstallItem(name, name, os.path.join(str(root), name), frozenset(needs.split()), size=len(name))
        for name, needs in dependencies.items()
    ]


CHAIN = {"d": "a b c", "c": "a b", "b": "a", "a": "", "x": ""}


def run(root, steps, plan=CHAIN, **limits):
    outcomes = install_all(items(root, **plan), steps, InstallLimits(**limits))
    assert sorted(steps.registered) == sorted(os.listdir(root)), "registered or gone"
    return {outcome.item.dag_hash: outcome for outcome in outcomes}


@pytest.mark.parametrize("workers", [1, 3])
def test_everything_is_installed_installation_order(tmp_path, workers):
    steps = Steps(tmp_path)
    seen = []
    reporter = PlainLines(seen.append)
    outcomes = install_all(items(tmp_path, **CHAIN), steps, InstallLimits(workers), reporter)
    assert [o.item.dag_hash for o in outcomes] == list(CHAIN) and {o.status for o in outcomes} == {INSTALLED}
    order = steps.registered
    assert order.index("a") < order.index("b") < order.index("c") < order.index("d")
    assert sorted(seen) == sorted(f"[+] {tmp_path}/{name}" for name in CHAIN)


def test_nothing_to_do(tmp_path):
    assert install_all([], Steps(tmp_path)) == []


@pytest.mark.parametrize("step", ["fetch", "extract", "finish"])
def test_a_failure_takes_down_its_dependents_and_nothing_else(tmp_path, step):
    error = PrefixTooLong("b does not fit", remedy="do this")
    steps = Steps(tmp_path, {(step, "b"): error})
    outcomes = run(tmp_path, steps)
    assert {h: o.status for h, o in outcomes.items()} == {
        "a": INSTALLED, "x": INSTALLED, "b": FAILED, "c": SKIPPED, "d": SKIPPED
    }  # fmt: skip
    found = outcomes["b"].error
    assert isinstance(found, PrefixTooLong) and str(found) == str(error), "errors come through a pipe as they were"


def test_an_error_that_cannot_be_pickled_is_told(tmp_path):
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    outcomes = run(tmp_path, Steps(tmp_path, {("extract", "a"): Odd(1, 2)}), {"a": ""})
    assert "1 and 2" in str(outcomes["a"].error)


def test_a_worker_that_is_killed_fails_its_package(tmp_path):
    steps = Steps(tmp_path, {("extract", "b"): lambda: os.kill(os.getpid(), signal.SIGKILL)})
    outcomes = run(tmp_path, steps, workers=2)
    assert outcomes["b"].status == FAILED and "signal 9" in str(outcomes["b"].error)
    assert outcomes["a"].status == outcomes["x"].status == INSTALLED


def test_when_all_workers_are_killed_it_ends(tmp_path):
    plan = dict.fromkeys("abcdef", "")
    steps = Steps(tmp_path, {("extract", n): lambda: os.kill(os.getpid(), signal.SIGKILL) for n in plan})
    with pytest.raises(Exception, match="were killed"):
        install_all(items(tmp_path, **plan), steps, InstallLimits(workers=2))
    assert os.listdir(tmp_path) == []


def test_interrupted_it_keeps_what_is_complete(tmp_path):
    def interrupt():
        # the main thread, as Ctrl-C does; the package itself is never fetched
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        raise NotFound("never")

    steps = Steps(tmp_path, {("fetch", "d"): interrupt}, slow=0.05)
    with pytest.raises(KeyboardInterrupt):
        install_all(items(tmp_path, **CHAIN), steps, InstallLimits(workers=2))
    assert sorted(steps.registered) == sorted(os.listdir(tmp_path))
    assert "d" not in steps.registered


def test_when_registering_fails_nothing_stays(tmp_path):
    steps = Steps(tmp_path, {("register", "all"): RuntimeError("the database is locked")})
    with pytest.raises(RuntimeError, match="locked"):
        install_all(items(tmp_path, **CHAIN), steps)
    assert os.listdir(tmp_path) == []


def test_no_more_is_fetched_than_can_be_kept(tmp_path):
    plan = {f"p{i}": "" for i in range(12)}
    size = len("p0")
    steps = Steps(tmp_path, slow=0.02)
    most = []

    def fetch(item, progress, original=steps.fetch):
        result = original(item, progress)
        most.append(len(steps.fetched) - len(os.listdir(tmp_path)))
        return result

    steps.fetch = fetch
    run(tmp_path, steps, plan, workers=1, transfers=4, ahead=3 * size)
    assert max(most) <= 4


@given(st.integers(0, 12), st.data())
@settings(max_examples=50)
def test_the_order(count, data):
    names = [f"p{i}" for i in range(count)]
    plan = []
    for i, name in enumerate(names):
        needs = frozenset(data.draw(st.sets(st.sampled_from(names[:i])))) if i else frozenset()
        plan.append(InstallItem(name, name, "/", needs | {"elsewhere"}, data.draw(st.integers(0, 5))))
    order = [item.dag_hash for item in installation_order(data.draw(st.permutations(plan)))]
    assert sorted(order) == sorted(names)
    assert all(order.index(d) < order.index(i.dag_hash) for i in plan for d in i.dependencies if d in names)
