# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Ending early: work that is cancelled, an orderly exit after SIGTERM or SIGHUP, no Ctrl-C lost in a fork."""

import queue
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional, Tuple, TypeVar

T = TypeVar("T")

#: what ends a program: Ctrl-C, a request, a terminal that is closed
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Cancelled(Exception):
    """``cancelled()`` became true while something was done that can be cancelled."""

    def __init__(self) -> None:
        super().__init__("not done, because the whole was stopped")

    def __reduce__(self) -> Tuple[Any, ...]:
        return Cancelled, ()


class Deadline:
    """So many seconds from now; None: any time."""

    def __init__(self, seconds: Optional[float]) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> Optional[float]:
        """Seconds, not below 0; None: any time."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


@contextmanager
def interrupted_once() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP ends the block (KeyboardInterrupt, SystemExit), so that what is temporary is
    removed and what is complete is kept; those that come while that is done are ignored.

    Only in the main thread, which alone gets signals, and only of signals that nobody else handles, or ignores, as
    `nohup` does. To be put around work whose end takes no longer than a user waits.
    """
    handled: Dict[int, Any] = {}

    def leave(number: int, frame: Any) -> None:
        for other in handled:
            signal.signal(other, _ignore)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        defaults: Dict[int, Any] = dict.fromkeys(_ENDING, signal.SIG_DFL)
        defaults[signal.SIGINT] = signal.default_int_handler
        handled = {number: usual for number, usual in defaults.items() if signal.getsignal(number) is usual}
    try:
        for each in handled:
            signal.signal(each, leave)
        yield
    finally:
        for each, usual in handled.items():
            signal.signal(each, usual)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Signals that come in the block and end programs take effect at its end: for what is done as a whole or not at
    all.

    Blocking them would not do: another thread may get them, and Python then handles them in the main thread. Only there
    does this do anything, and only to signals that Python handles.
    """
    came: List[Tuple[int, Any]] = []
    before: Dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {number: signal.getsignal(number) for number in _ENDING}
        before = {number: handler for number, handler in usual.items() if callable(handler)}
    try:
        for each in before:
            signal.signal(each, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number, frame in came[:1]:
            before[number](number, frame)


def next_event(events: "queue.SimpleQueue[T]") -> T:
    """``events.get()`` that a signal ends, whenever it comes. One that comes just before a thread begins to wait is
    handled by Python only after the wait, which may be long."""
    while True:
        with suppress(queue.Empty):
            return events.get(timeout=0.5)


def _ignore(number: int, frame: Any) -> None:
    """Unlike SIG_IGN, not for programs that are started meanwhile."""


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
