# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Results that forked processes work out; what they cannot do, the parent does."""

import os
import threading
import time

import pytest
from spack_oci.util.concurrency.processes import mapped_in_processes
from support.limits import at_most


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_results_in_order_from_other_processes(processes):
    with mapped_in_processes(lambda item: (item * item, os.getpid()), range(5), processes) as squares:
        found = squares()
    assert [square for square, _ in found] == [0, 1, 4, 9, 16]
    pids = {pid for _, pid in found}
    assert os.getpid() not in pids and len(pids) == min(processes, 5)


def test_they_work_meanwhile(tmp_path):
    with mapped_in_processes(lambda item: (tmp_path / str(item)).touch(), [1, 2], 2) as touched:
        deadline = time.monotonic() + 120
        while len(os.listdir(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sorted(os.listdir(tmp_path)) == ["1", "2"]
        assert touched() == [None, None]


def test_more_than_a_pipe_holds():
    with mapped_in_processes(lambda item: b"x" * item, [1 << 20, 3 << 20], 2) as found:
        assert [len(data) for data in found()] == [1 << 20, 3 << 20]


def test_what_a_process_that_dies_had_to_do_is_done_here():
    parent = os.getpid()

    def die_elsewhere(item):
        if item == 2 and os.getpid() != parent:
            os._exit(9)
        return item, os.getpid()

    with mapped_in_processes(die_elsewhere, [0, 1, 2, 3], 2) as found:
        results = found()
    assert [item for item, _ in results] == [0, 1, 2, 3]
    assert [pid == parent for _, pid in results] == [True, False, True, False]


def test_an_error_is_raised_by_the_parent(capfd):
    with pytest.raises(ZeroDivisionError), mapped_in_processes(lambda item: 1 / item, [1, 0], 2) as found:
        found()
    assert capfd.readouterr().err == ""


def test_what_cannot_be_sent_is_made_here():
    with mapped_in_processes(lambda item: threading.Lock(), [0], 1) as found:
        assert found()[0].acquire()


def test_nothing_is_left_of_what_nobody_waits_for(tmp_path):
    def sleep(item):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(600)

    with pytest.raises(KeyError), mapped_in_processes(sleep, [0, 1], 2):
        while len(os.listdir(tmp_path)) < 2:
            time.sleep(0.01)
        raise KeyError
    for pid in map(int, os.listdir(tmp_path)):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("allowed", range(3))
def test_where_no_more_processes_are_allowed(monkeypatch, allowed):
    monkeypatch.setattr(os, "fork", at_most(allowed, os.fork, BlockingIOError(11, "Resource temporarily unavailable")))
    with mapped_in_processes(lambda item: item * item, range(5), 2) as squares:
        assert squares() == [0, 1, 4, 9, 16]
