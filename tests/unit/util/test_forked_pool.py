# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Work in forked processes: who does it, how errors come back, and what is left when either side ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from spack_oci.errors import RateLimited, SpackOciError
from spack_oci.util.cancellation import Cancelled
from spack_oci.util.processes import ForkedPool
from support.limits import threads_at_most

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@pytest.fixture
def pool_of():
    pools = []

    def make(function, processes=2, threads=2):
        pools.append(ForkedPool(function, processes, threads, "test"))
        return pools[-1]

    yield make
    for pool in pools:
        pool.end(0.0)


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
    assert pool.end()


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_no_more_threads_are_allowed_no_process_is_left(pool_of, monkeypatch, allowed):
    monkeypatch.setattr(threading.Thread, "start", threads_at_most(allowed))
    with pytest.raises(OSError, match="new thread"):
        pool_of(str)
    assert multiprocessing.active_children() == []


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
    assert "run it again" in str(dying.exception(timeout=30))
    assert [future.result(30) for future in [pool.submit(n) for n in range(6)]] == list(range(6))


def test_when_all_have_died_nobody_waits_for_ever(pool_of):
    pool = pool_of(lambda job: os.kill(os.getpid(), signal.SIGKILL), processes=1)
    assert isinstance(pool.submit(1).exception(timeout=30), SpackOciError)
    assert isinstance(pool.submit(2).exception(timeout=30), SpackOciError)
    assert pool.end(10)


def test_cancelled_before_it_began(pool_of, tmp_path):
    def work(job):
        (tmp_path / job).touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return job

    pool = pool_of(work, processes=1, threads=1)
    first, second = pool.submit("first"), pool.submit("second")
    while not (tmp_path / "first").exists():
        time.sleep(0.01)
    pool.cancel()
    time.sleep(1)  # nothing tells that the child has read it; what begins before is finished, and that is right
    (tmp_path / "go").touch()
    assert first.result(30) == "first"
    assert isinstance(second.exception(timeout=30), Cancelled)
    assert not (tmp_path / "second").exists()


def test_the_end_does_not_wait_longer_than_it_may(pool_of):
    pool = pool_of(lambda job: time.sleep(600))
    hanging = pool.submit(1)
    started = time.monotonic()
    assert not pool.end(0.2)
    assert time.monotonic() - started < 30
    assert isinstance(hanging.exception(timeout=10), SpackOciError)


def test_ctrl_c_is_for_the_parent(pool_of):
    pool = pool_of(lambda job: os.getpid(), processes=1)
    pid = pool.submit(1).result()
    os.kill(pid, signal.SIGINT)
    assert pool.submit(2).result(30) == pid


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import os, time; from spack_oci.util.processes import ForkedPool\n"
        "pool = ForkedPool(lambda job: os.getpid(), 2, 1, 'test')\n"
        "print(*{pool.submit(n).result() for n in range(20)}, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
