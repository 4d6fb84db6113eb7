# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Work in forked processes: who does it, how errors come back, and what is left when either side ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from spack_oci.errors import RateLimited, SpackOciError
from spack_oci.util.concurrency.cancellation import Cancelled
from spack_oci.util.concurrency.processes import ProcessPool
from support.limits import at_most, threads_at_most

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@pytest.fixture
def pool_of():
    pools = []

    def make(function, processes=2, threads=2):
        pools.append(ProcessPool(lambda job, _: function(job), processes, name="test", threads=threads))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close(0.0)


def refuse(job):
    raise {
        "ours": RateLimited("slow down", status=429, retry_after=7.0),
        "plain": ValueError("a defect"),
        "odd": type("Local", (Exception,), {})("cannot be pickled"),
    }[job]


def test_work_is_done_in_the_processes_and_in_as_many_threads_as_allowed(pool_of):
    def who(seconds):
        time.sleep(seconds)
        return os.getpid(), threading.get_ident()

    pool = pool_of(who)
    workers = {future.result() for future in [pool.submit(0.05) for _ in range(16)]}
    assert os.getpid() not in {pid for pid, _ in workers}
    assert len({pid for pid, _ in workers}) == 2 and len(workers) == 4
    assert pool.close()


def test_without_threads_the_main_thread_of_each_process_works(pool_of):
    """Which alone may have signals handled, as hooks of packages may want."""
    pool = pool_of(lambda job: threading.current_thread() is threading.main_thread(), threads=0)
    assert all(future.result(120) for future in [pool.submit(n) for n in range(4)])


def test_where_no_more_threads_are_allowed_who_submits_waits(pool_of, monkeypatch):
    pool = pool_of(lambda job: (os.getpid(), 1 // job))
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(0))
    futures = [pool.submit(job) for job in (1, 2, 0)]
    assert all(future.done() for future in futures)
    assert futures[0].result()[0] != os.getpid() and isinstance(futures[2].exception(), ZeroDivisionError)
    assert pool.close()


@pytest.mark.parametrize("allowed", range(4))
def test_where_no_more_processes_are_allowed_fewer_have_to_do(pool_of, monkeypatch, allowed):
    monkeypatch.setattr(os, "fork", at_most(allowed, os.fork, BlockingIOError(11, "Resource temporarily unavailable")))
    if not allowed:
        with pytest.raises(OSError):
            pool_of(str, processes=3)
        return
    pool = pool_of(lambda job: os.getpid(), processes=3)
    assert len({future.result(120) for future in [pool.submit(n) for n in range(12)]}) == min(allowed, 3)


def test_where_no_fork_is_safe_there_are_no_processes(pool_of, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="fork"):
        pool_of(str)


def test_what_a_task_reports(pool_of):
    with ProcessPoolOf(lambda job, task: [task.report(n) for n in range(job)] and "done", 2) as pool:
        seen = []
        assert pool.submit(5, seen.append).result(120) == "done" and seen == list(range(5))
        assert pool.submit(3).result(120) == "done"


def test_a_task_that_runs_is_told_that_nobody_wants_it(tmp_path):
    def work(job, task):
        (tmp_path / "began").touch()
        while not task.cancelled():
            time.sleep(0.01)
        raise Cancelled

    with ProcessPoolOf(work, 1, threads=1) as pool:
        running = pool.submit(1)
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        pool.cancel()
        assert isinstance(running.exception(30), Cancelled)


class ProcessPoolOf(ProcessPool):
    def __init__(self, function, processes, threads=0):
        super().__init__(function, processes, name="test", threads=threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close(0.0)


def test_a_result_that_cannot_be_sent_is_an_error(pool_of):
    assert "pickle" in str(pool_of(lambda job: threading.Lock()).submit(1).exception(30))


def test_requests_longer_than_a_pipe_holds(pool_of):
    pool = pool_of(len, threads=1)
    assert [future.result(120) for future in [pool.submit(b"x" * (1 << 20)) for _ in range(6)]] == [1 << 20] * 6


def test_what_is_printed_in_a_process_is_not_lost(capfd, pool_of):
    print("before", end=" ")
    pool = pool_of(print)
    pool.submit("from the child").result(120)
    pool.close(0.0)
    assert capfd.readouterr().out == "before from the child\n"


def test_what_the_parent_had_in_memory_is_there(pool_of):
    seen = {"answer": 42}
    pool = pool_of(seen.__getitem__)
    seen["answer"] = 0
    assert pool.submit("answer").result() == 42


def test_errors_come_back_as_they_were(pool_of):
    pool = pool_of(refuse)
    error = pool.submit("ours").exception()
    assert isinstance(error, RateLimited) and (error.status, error.retry_after) == (429, 7.0)
    assert isinstance(pool.submit("plain").exception(), ValueError)
    error = pool.submit("odd").exception()
    assert isinstance(error, SpackOciError) and "cannot be pickled" in str(error)


def test_a_process_that_dies_fails_what_it_had_and_nothing_else(pool_of):
    def work(job):
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    pool = pool_of(work)
    dying = pool.submit("die")
    assert "run it again" in str(dying.exception(timeout=120))
    assert [future.result(120) for future in [pool.submit(n) for n in range(6)]] == list(range(6))


def test_when_all_have_died_nobody_waits_for_ever(pool_of):
    pool = pool_of(lambda job: os.kill(os.getpid(), signal.SIGKILL), processes=1)
    assert isinstance(pool.submit(1).exception(timeout=120), SpackOciError)
    assert isinstance(pool.submit(2).exception(timeout=120), SpackOciError)
    assert pool.close(10)


def test_cancelled_before_it_began(tmp_path):
    """The first one ends when its process has read that all are cancelled."""

    def work(job, task):
        (tmp_path / job).touch()
        while not task.cancelled():
            time.sleep(0.01)
        return job

    pool = ProcessPool(work, 1, name="test", threads=1)
    try:
        first, second = pool.submit("first"), pool.submit("second")
        while not (tmp_path / "first").exists():
            time.sleep(0.01)
        pool.cancel()
        assert first.result(120) == "first"
        assert isinstance(second.exception(timeout=120), Cancelled)
        assert not (tmp_path / "second").exists()
    finally:
        pool.close(0.0)


def test_the_end_does_not_wait_longer_than_it_may(pool_of):
    pool = pool_of(lambda job: time.sleep(900))
    hanging = pool.submit(1)
    started = time.monotonic()
    assert not pool.close(0.2)
    assert time.monotonic() - started < 300
    assert isinstance(hanging.exception(timeout=120), SpackOciError)


def test_ctrl_c_is_for_the_parent(pool_of):
    pool = pool_of(lambda job: os.getpid(), processes=1)
    pid = pool.submit(1).result()
    os.kill(pid, signal.SIGINT)
    assert pool.submit(2).result(120) == pid


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import os, time; from spack_oci.util.concurrency.processes import ProcessPool\n"
        "pools = [ProcessPool(lambda job, _: os.getpid(), 2, name='test', threads=n) for n in (0, 1)]\n"
        "print(*{p.submit(n).result() for p in pools for n in range(20)}, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 120
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
