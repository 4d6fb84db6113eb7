# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A pool that can be left at any moment: by a signal in the middle of starting a thread, too."""

import threading
import time

import pytest
from spack_oci.util.concurrency import threads
from spack_oci.util.concurrency.threads import DaemonPool
from support.limits import threads_at_most


def test_work_is_done_by_no_more_threads_than_allowed():
    pool = DaemonPool(2, "test")
    names = {pool.submit(lambda: threading.current_thread().name).result() for _ in range(20)}
    assert pool.end(10) and names <= {"test-0", "test-1"}


@pytest.mark.parametrize("allowed", range(4))
def test_where_no_more_threads_are_allowed_those_that_there_are_do_the_work(allowed, monkeypatch):
    pool = DaemonPool(3, "test")
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
    futures = [pool.submit(lambda: time.sleep(0.01) or threading.current_thread().name) for _ in range(20)]
    expected = {f"test-{number}" for number in range(allowed)} or {threading.current_thread().name}
    assert {future.result(120) for future in futures} == expected
    failing = pool.submit(lambda: 1 / 0)
    assert isinstance(failing.exception(120), ZeroDivisionError)
    assert pool.end(10)


def test_what_has_not_begun_can_be_cancelled():
    pool, begun, release = DaemonPool(1, "test"), threading.Event(), threading.Event()
    running = pool.submit(lambda: begun.set() or release.wait(120))
    waiting = pool.submit(int)
    assert begun.wait(120)
    threading.Timer(0.1, release.set).start()
    pool.shutdown(cancel_futures=True)
    assert running.result() and waiting.cancelled()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_interrupts_does_not_wait_for_what_hangs(error, monkeypatch):
    monkeypatch.setattr(threads, "PATIENCE", 0.1)
    begun, release, started = threading.Event(), threading.Event(), time.monotonic()
    with pytest.raises(error), DaemonPool(1, "test") as pool:
        pool.submit(lambda: begun.set() or release.wait(900))
        waiting = pool.submit(int)
        assert begun.wait(120)
        raise error
    assert time.monotonic() - started < 300 and waiting.cancelled()
    release.set()


def test_another_error_waits_for_what_was_begun():
    done = []
    with pytest.raises(ValueError), DaemonPool(1, "test") as pool:
        pool.submit(lambda: time.sleep(0.2) or done.append(1))
        raise ValueError
    assert done == [1]


@pytest.mark.parametrize("started", [False, True])
def test_interrupt_while_a_thread_is_started(started, monkeypatch):
    """Ctrl-C or SIGTERM in `Thread.start`: nothing is joined that cannot be, and nobody is left waiting."""
    pool = DaemonPool(3, "test")
    assert pool.submit(int).result() == 0
    start, release = threading.Thread.start, threading.Event()

    def interrupted(thread):
        if started:
            start(thread)
        raise SystemExit(143)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    blocked = pool.submit(release.wait)
    with pytest.raises(SystemExit):
        pool.submit(int)
    release.set()
    assert blocked.result()
    assert pool.end(10)


def test_named_arguments_arrive():
    with DaemonPool(1, "test") as pool:
        assert pool.submit(dict, [("a", 1)], b=2).result() == {"a": 1, "b": 2}


def test_results_errors_and_the_number_of_threads():
    pool, seen = DaemonPool(3, "test"), set()

    def work(number):
        seen.add(threading.current_thread().name)
        time.sleep(0.01)
        return 1 // number

    futures = [pool.submit(work, number) for number in range(10)]
    assert [future.result() for future in futures[1:]] == [1] + [0] * 8
    assert isinstance(futures[0].exception(), ZeroDivisionError)
    assert 1 <= len(seen) <= 3
    assert pool.end()


def test_what_hangs_is_left_behind():
    pool, answer = DaemonPool(2, "test"), threading.Event()
    pool.submit(answer.wait, 600)
    assert not pool.end(0.1)
    answer.set()


def test_a_cancelled_future_is_not_run():
    pool, answer = DaemonPool(1, "test"), threading.Event()
    pool.submit(answer.wait, 600)
    later = pool.submit(time.sleep, 600)
    assert later.cancel()
    answer.set()
    assert pool.end(120)
