# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A pool of forked processes, with several threads in each, that run one function.

For what is Python rather than waiting: the threads of a process run it one at a time, those of two processes on two
cores. A forked child has what its parent had in memory, so only what came later has to be sent to it.
"""

import contextlib
import errno
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Executor, Future
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, Iterable, List, Optional, Protocol, Tuple, TypeVar

from ..errors import SpackOciError
from ..util.cancellation import Cancelled
from .cancellation import interrupts_wait
from .collector import relax_collector
from .threads import DaemonPool

_T = TypeVar("_T")

#: messages besides jobs
_CANCEL, _END = "cancel", "end"


class ForkedPool(Executor):
    """``submit(job)`` runs ``function(job)`` in one of the processes, which are forked at once: no other thread may be
    running then. Jobs, results and errors travel pickled. A process that dies fails the jobs that it had. For
    ``processes`` see :func:`fork_up_to`; OSError also where the system allows no more threads.
    """

    def __init__(self, function: Callable[[Any], Any], processes: int, threads: int, name: str) -> None:
        self._function = function
        self._threads = threads
        self._name = name
        self._children: List[_Child] = []
        fork_up_to(processes, self._children, lambda: _Child(*fork(self._serve)))
        try:
            for child in self._children:  # not before all are forked
                child.listen(name)
        except RuntimeError as e:
            for child in self._children:
                child.kill()
            raise OSError(errno.EAGAIN, str(e)) from e

    def submit(self, job: Any, /, *_: Any, **__: Any) -> "Future[Any]":  # type: ignore[override]
        return min(self._children, key=lambda child: (child.dead, child.busy)).ask(job)

    def cancel(self) -> None:
        """Let what has not begun fail with Cancelled."""
        for child in self._children:
            child.tell(_CANCEL)

    def end(self, patience: Optional[float] = None) -> bool:
        """Finish what was submitted, and end the processes. False: after ``patience`` seconds (None: any time) one was
        still at work, and was killed."""
        deadline = None if patience is None else time.monotonic() + patience
        in_time = [child.end(deadline) for child in self._children]
        return all(in_time)

    # -- in a child -----------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection, other_end: Connection) -> None:
        begin_child([other_end, *(child.connection for child in self._children)])
        pool = DaemonPool(self._threads, f"{self._name}-{os.getpid()}")
        sending = threading.Lock()
        cancelled = threading.Event()

        def work(number: int, job: Any) -> None:
            try:
                if cancelled.is_set():
                    raise Cancelled
                result: Any = self._function(job)
                error: Optional[BaseException] = None
            except Exception as e:  # the parent's business
                result, error = None, picklable(e)
            with sending:
                connection.send((number, result, error))

        while True:
            try:
                request = connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone: nobody wants the rest
            if request == _END:
                pool.end()
                return
            if request == _CANCEL:
                cancelled.set()
            else:
                pool.submit(work, *request)


def available_cores() -> int:
    """Cores that this process may run on (a container or batch job may have fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def fork(serve: Callable[[Connection, Connection], None]) -> Tuple[Any, Connection]:
    """A process that runs ``serve(its end, our end)`` of a pipe, and our end."""
    ours, theirs = multiprocessing.Pipe()
    try:
        process = fork_process(serve, theirs, ours)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def fork_up_to(count: int, made: List[_T], make: Callable[[], _T]) -> None:
    """Append ``make()`` to ``made`` so many times, or less often: where the system allows no more processes, fewer have
    to do. Raises OSError if it does not allow one.
    """
    for _ in range(count):
        try:
            made.append(make())
        except OSError:
            if not made:
                raise
            return


def fork_process(target: Callable[..., None], *arguments: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
    with interrupts_wait():
        process.start()
    return process


class _Closable(Protocol):
    def close(self) -> None: ...


def begin_child(inherited: Iterable[_Closable]) -> None:
    """In a forked process: what is first. ``inherited``: the parent's ends of pipes, this one's and earlier ones'."""
    # Ctrl-C reaches every process of the terminal, and SIGTERM the parent; it decides
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    relax_collector()


class _Child:
    """A process as the parent sees it."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self.connection = connection
        self._process = process
        self._waiting: Dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        self._guard = threading.Lock()
        self.dead = False

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def listen(self, name: str) -> None:
        self._listener = threading.Thread(target=self._listen, name=f"{name}-answers", daemon=True)
        self._listener.start()

    def ask(self, job: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._guard:
            number = next(self._numbers)
            self._waiting[number] = future
            try:
                self.connection.send((number, job))
            except OSError:
                self.dead = True
            lost = self._waiting.pop(number, None) if self.dead else None
        if lost is not None:
            lost.set_exception(_died())
        return future

    def _listen(self) -> None:
        while True:
            try:
                number, result, error = self.connection.recv()
            except (EOFError, OSError):
                break
            future = self._waiting.pop(number, None)
            if future is None:
                continue  # given up: the process died while it was asked
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        with self._guard:
            self.dead = True
            lost = list(self._waiting.values())
            self._waiting.clear()
        for future in lost:
            future.set_exception(_died())

    def tell(self, message: str) -> None:
        with self._guard, contextlib.suppress(OSError):  # a process that has died needs not be told
            self.connection.send(message)

    def end(self, deadline: Optional[float]) -> bool:
        self.tell(_END)
        self._process.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        in_time = self._process.exitcode is not None
        if not in_time:
            self.kill()
        self._listener.join()
        self.connection.close()
        return in_time

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _died() -> SpackOciError:
    return SpackOciError("the process that worked on this died", remedy="run it again to go on")


def picklable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # of whatever kind: what matters is what the error says
        return SpackOciError(f"{type(error).__name__}: {error}")
