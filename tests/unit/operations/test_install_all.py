# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The bulk install: every package is registered with its dependencies, or gone."""

import io
import os
import shutil
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.errors import NotFound, PrefixTooLong
from spack_oci.operations.install import execute
from spack_oci.operations.install.execute import InstallLimits, fetch_all, install_all, installation_order
from spack_oci.operations.install.outcome import FAILED, INSTALLED, SKIPPED, InstallItem
from spack_oci.util.concurrency.cancellation import Cancelled
from spack_oci.util.progress import LiveDisplay, PlainLines
from support.limits import at_most, threads_at_most
from support.recording_reporter import RecordingReporter


class Steps:
    """Packages are directories; what fails where is said in advance."""

    finish_needs_dependencies = True

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

    def fetch(self, item, progress, begun=None):
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


@pytest.mark.parametrize("needs", ["", "outer"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_prefix_in_another_one_is_made_when_that_is_there(tmp_path, needs, workers):
    """Projections may put one package into another; what is inside is nothing without it."""
    steps = NestedSteps(tmp_path, {})
    outcomes = install_all(nested(tmp_path, needs), steps, InstallLimits(workers, buffered=1))
    assert {o.status for o in outcomes} == {INSTALLED} and steps.registered[0] == "outer"


@pytest.mark.parametrize("needs", ["", "outer"])
@pytest.mark.parametrize("step", ["fetch", "extract", "finish"])
def test_a_prefix_in_one_that_failed_is_not_made(tmp_path, needs, step):
    steps = NestedSteps(tmp_path, {(step, "outer"): PrefixTooLong("no")})
    outcomes = install_all(nested(tmp_path, needs), steps)
    assert [o.status for o in outcomes] == [SKIPPED, FAILED, SKIPPED] and steps.registered == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_package_in_the_prefix_of_one_that_depends_on_it(tmp_path, fails):
    """It is extracted after the other one, and finished before it; without the other one it is nothing."""
    steps = NestedSteps(tmp_path, {("finish", "outer"): PrefixTooLong("no")} if fails else {})
    plan = nested(tmp_path, "", outer_needs="inner")[1:]
    plan = [item for item in plan if item.dag_hash != "innermost"]
    outcomes = {o.item.dag_hash: o.status for o in install_all(plan, steps)}
    expected = {"outer": FAILED, "inner": SKIPPED} if fails else {"outer": INSTALLED, "inner": INSTALLED}
    assert outcomes == expected and steps.registered == ([] if fails else ["inner", "outer"])
    assert os.listdir(tmp_path) == ([] if fails else ["outer"])


def nested(root, needs, outer_needs=""):
    """innermost is in inner, which is in outer; the small ones are fetched first."""
    prefixes = {"innermost": "outer/x/inner/y/innermost", "outer": "outer", "inner": "outer/x/inner"}
    needed = {"innermost": needs, "outer": outer_needs, "inner": needs}
    return [
        InstallItem(name, name, os.path.join(str(root), path), frozenset(needed[name].split()), 100 - len(path))
        for name, path in prefixes.items()
    ]


class NestedSteps(Steps):
    def extract(self, item, fetched):
        self._maybe_fail("extract", item)
        assert not os.path.exists(item.prefix)
        assert item.dag_hash == "outer" or os.path.exists(os.path.join(self.root, "outer"))
        os.makedirs(item.prefix)

    def finish(self, item):
        self._maybe_fail("finish", item)

    def discard(self, item):
        shutil.rmtree(item.prefix, ignore_errors=True)


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


def interrupt_main():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("operation", [install_all, fetch_all])
def test_an_interrupt_does_not_wait_for_a_server_that_hangs(tmp_path, operation):
    def hang():
        interrupt_main()
        time.sleep(900)

    steps = Steps(tmp_path, {("fetch", "x"): hang})
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        operation(items(tmp_path, **CHAIN), steps, InstallLimits(workers=2, transfers=3))
    assert time.monotonic() - started < 300, "two seconds and what a busy machine needs"
    assert sorted(steps.registered) == sorted(os.listdir(tmp_path))


@pytest.mark.parametrize("operation", [install_all, fetch_all])
def test_an_interrupt_ends_downloads_in_the_middle(tmp_path, operation):
    ended = []

    class Downloading(Steps):
        def fetch(self, item, progress, begun=None):
            interrupt_main()
            try:
                while True:
                    progress(1)
                    time.sleep(0.01)
            except BaseException as e:
                ended.append(type(e))
                raise

    with pytest.raises(KeyboardInterrupt):
        operation(items(tmp_path, a=""), Downloading(tmp_path), InstallLimits())
    assert ended == [Cancelled] and os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_further_signals_lose_nothing(tmp_path, number):
    """Of what was said to be installed: pressed again because it takes a moment, or sent by a batch system."""
    said = []

    class Impatient(Steps):
        def fetch(self, item, progress, begun=None):
            if item.dag_hash == "x":
                while f"[+] {self.root}/c" not in said:
                    time.sleep(0.01)
                os.kill(os.getpid(), number)
                time.sleep(0.2)
                raise NotFound("never")
            return super().fetch(item, progress)

        def register(self, items):
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            super().register(items)

        def discard(self, item):
            os.kill(os.getpid(), signal.SIGTERM)
            super().discard(item)

    steps = Impatient(tmp_path)
    expected = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(expected):
        install_all(items(tmp_path, **CHAIN, y="x"), steps, InstallLimits(workers=2), PlainLines(said.append))
    assert {"a", "b", "c"} <= set(steps.registered)
    assert sorted(steps.registered) == sorted(os.listdir(tmp_path))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_where_no_process_is_allowed_this_one_does_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fork", at_most(0, os.fork, BlockingIOError(11, "Resource temporarily unavailable")))
    steps = Steps(tmp_path, {("finish", "c"): PrefixTooLong("no")})
    outcomes = run(tmp_path, steps)
    assert [outcomes[name].status for name in "abcdx"] == [INSTALLED, INSTALLED, FAILED, SKIPPED, INSTALLED]


@pytest.mark.parametrize("allowed", range(4))
def test_with_as_many_threads_as_the_system_allows(tmp_path, monkeypatch, allowed):
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
    outcomes = run(tmp_path, Steps(tmp_path))
    assert {outcome.status for outcome in outcomes.values()} == {INSTALLED}


def test_only_fetched(tmp_path):
    steps, lines = Steps(tmp_path, {("fetch", "b"): NotFound("not there")}), []
    outcomes = fetch_all(items(tmp_path, **CHAIN), steps, reporter=PlainLines(lines.append))
    assert [(o.item.label, o.status) for o in outcomes if o.status != INSTALLED] == [("b", FAILED)]
    assert sorted(lines) == ["Failed: b", "Fetched a", "Fetched c", "Fetched d", "Fetched x"]
    assert os.listdir(tmp_path) == []


def test_a_terminal_shows_what_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(LiveDisplay, "INTERVAL", 0.0)
    stream = io.StringIO()
    install_all(items(tmp_path, **CHAIN), Steps(tmp_path), InstallLimits(workers=1), LiveDisplay(stream))
    assert "packages, 1 B of 5 B fetched" in stream.getvalue() and f"[+] {tmp_path}/x\n" in stream.getvalue()
    assert "5/5 packages, 5 B of 5 B fetched" in stream.getvalue() and stream.getvalue().endswith("\033[K")


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

    def fetch(item, progress, begun=None, original=steps.fetch):
        result = original(item, progress)
        most.append(len(steps.fetched) - len(os.listdir(tmp_path)))
        return result

    steps.fetch = fetch
    run(tmp_path, steps, plan, workers=1, transfers=4, buffered=3 * size)
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


@pytest.mark.parametrize("operation", [install_all, fetch_all])
def test_an_interrupt_at_the_first_line_takes_the_line_away(tmp_path, operation):
    class Interrupted(RecordingReporter):
        def begin(self, work):
            raise KeyboardInterrupt

    reporter = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        operation(items(tmp_path, a=""), Steps(tmp_path), InstallLimits(), reporter)
    assert reporter.ended == 1


@pytest.mark.parametrize("fails", [False, True])
def test_finishes_that_need_no_dependencies_are_done_with_the_extraction_and_count_when_those_are(
    tmp_path, fails, monkeypatch
):
    """One job for a process each, instead of two; what depends on a failed package is gone all the same."""
    asked = []
    submit = execute.ProcessPool.submit
    monkeypatch.setattr(
        execute.ProcessPool, "submit", lambda pool, job, *rest: asked.append(job[1]) or submit(pool, job, *rest)
    )

    class Independent(Steps):
        finish_needs_dependencies = False

        def finish(self, item):
            self._maybe_fail("finish", item)

    steps = Independent(tmp_path, {("finish", "b"): PrefixTooLong("no")} if fails else {})
    outcomes = run(tmp_path, steps, workers=2)
    gone = {"c", "d"} if fails else set()
    assert {name for name, o in outcomes.items() if o.status == SKIPPED} == gone
    assert set(asked) >= set(CHAIN) - gone and len(asked) == len(set(asked))
    assert {name for name, o in outcomes.items() if o.status == FAILED} == ({"b"} if fails else set())
