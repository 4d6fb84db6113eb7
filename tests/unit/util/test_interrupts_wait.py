# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A Ctrl-C that comes during a fork is not lost: Python drops what its at-fork hooks raise."""

import os
import signal
import subprocess
import sys

import pytest
import spack_oci
from spack_oci.util.concurrency.cancellation import interrupts_wait, signals_wait

PROGRAM = """
import os, signal
from spack_oci.operations.install.prefetch import Prefetch, PrefetchItem
from spack_oci.util.concurrency.processes import ProcessPool

os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGINT))
parent = os.getpid()
try:
    {fork}
except KeyboardInterrupt:
    assert os.getpid() == parent
    print("interrupted")
else:
    print("lost")
"""


def run(fork):
    library = os.path.dirname(os.path.dirname(spack_oci.__file__))
    env = {**os.environ, "PYTHONPATH": library}
    argv = [sys.executable, "-c", PROGRAM.format(fork=fork)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("fork", ["Prefetch([PrefetchItem('/nowhere', 1, int)])", "ProcessPool(print, 2, name='x')"])
def test_interrupt_during_a_fork(fork):
    assert run(fork) == ["interrupted"]


def test_the_premise():
    """Without, it is lost: an exception of a hook is printed, and that is all."""
    assert run("os.fork() or os._exit(0)") == ["lost"]


def test_nothing_stays_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    with pytest.raises(ZeroDivisionError), interrupts_wait():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set())
        _ = 1 / 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == before


def test_a_signal_takes_effect_when_what_is_a_whole_is_done():
    done = []
    with pytest.raises(KeyboardInterrupt), signals_wait():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("all")
    assert done == ["all"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_handlers_are_as_before_also_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), signals_wait():
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before
