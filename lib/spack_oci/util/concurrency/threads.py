# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A pool of threads that an exit does not wait for.

``ThreadPoolExecutor`` joins its threads when the interpreter ends, whatever they wait for: Ctrl-C would take as long as
the timeout of a server that has stopped answering. What runs here may be abandoned in the middle.
"""

import contextlib
import functools
import queue
import threading
from concurrent.futures import Executor, Future
from typing import Any, Callable, List, Optional, Tuple, Type

from .cancellation import Deadline

#: seconds that an interrupted program waits for what it has begun
PATIENCE = 2.0

_Work = Tuple["Future[Any]", Callable[..., Any], Tuple[Any, ...]]


class DaemonPool(Executor):
    """An executor; threads are started as they are needed, at most ``threads``. Where the system
    allows no more of them, those that there are have to do; without any (or with 0), work is done in the thread that
    submits it.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._limit = threads
        self._name = name
        self._work: queue.SimpleQueue[Optional[_Work]] = queue.SimpleQueue()
        #: threads that were begun; one whose start was interrupted by a signal is not in the list
        self._begun = 0
        self._threads: List[threading.Thread] = []
        self._guard = threading.Lock()
        #: submitted and not yet finished
        self._busy = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> "Future[Any]":
        if options:
            function = functools.partial(function, **options)
        future: Future[Any] = Future()
        with self._guard:
            self._busy += 1
            if self._busy > self._begun < self._limit:
                self._begin()
        if self._limit:
            self._work.put((future, function, arguments))
        else:
            self._do(future, function, arguments)
        return future

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{self._begun}", daemon=True)
        self._begun += 1
        try:
            thread.start()
        except RuntimeError:  # as the standard library says that there may be no more
            self._begun -= 1
            self._limit = self._begun
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            self._do(*work)

    def _do(self, future: "Future[Any]", function: Callable[..., Any], arguments: Tuple[Any, ...]) -> None:
        if future.set_running_or_notify_cancel():
            try:
                result = function(*arguments)
            except BaseException as e:
                future.set_exception(e)
            else:
                future.set_result(result)
        with self._guard:
            self._busy -= 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            self._cancel_waiting()
        self.end(None if wait else 0.0)

    def __exit__(self, kind: Optional[Type[BaseException]], *_: Any) -> None:
        """What was submitted ends first, unless the block is left by Ctrl-C, or an exit."""
        if kind is None or issubclass(kind, Exception):
            self.end()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Cancel what has not begun, and wait a moment for what has."""
        self._cancel_waiting()
        self.end(PATIENCE)

    def _cancel_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                work = self._work.get_nowait()
                if work is not None:
                    work[0].cancel()

    def end(self, patience: Optional[float] = None) -> bool:
        """Finish what was submitted. False: after ``patience`` seconds (None: any time) something still runs."""
        for _ in range(self._begun):
            self._work.put(None)
        deadline = Deadline(patience)
        for thread in self._threads:
            thread.join(deadline.left)
        return not any(thread.is_alive() for thread in self._threads)
