# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Ending early: work that is cancelled, SIGTERM as an orderly exit, and a Ctrl-C that is not lost in a fork."""

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Tuple


class Cancelled(Exception):
    """``cancelled()`` became true while something was done that can be cancelled."""

    def __init__(self) -> None:
        super().__init__("not done, because the whole was stopped")

    def __reduce__(self) -> Tuple[Any, ...]:
        return Cancelled, ()


@contextmanager
def termination_is_an_exit() -> Iterator[None]:
    """SIGTERM ends the process the way Ctrl-C does, so that what is temporary is removed.

    Only in the main thread, which alone gets signals, and only if nobody else handles it.
    """
    alone = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not alone:
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """SIGINT is delivered at the end of the block; to be put around a fork.

    One that comes during ``fork()`` is raised as KeyboardInterrupt in the first Python function that runs after it.
    That is a hook of ``os.register_at_fork`` (``logging`` has one), whose exceptions Python prints
    and drops. The child begins with SIGINT blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
