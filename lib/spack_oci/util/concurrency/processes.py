# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Child processes: how they are started, fed, cancelled and ended. Everything that forks does it here.

For what is Python rather than waiting: the threads of a process run it one at a time, those of two processes on two
cores. Children are forked, so each has what its parent had in memory, and only what came later has to be sent to it.

The rules, in one place:

* **Where there is no safe fork, there are no children** (:func:`can_fork`): starting one raises OSError, as it does
  where the system allows no more processes, and the caller does the work with threads, or itself.
* Children are forked **before the first thread** of the work is started: a lock that a thread holds at that moment
  would stay locked in the child for ever.
* Jobs, results and errors travel pickled; an error that cannot be pickled comes as a SpackOciError that says the same.
* Ctrl-C reaches every process of a terminal: children ignore it, the parent decides.
* A child ends when its parent does, however that ends.
"""

import contextlib
import errno
import os
import pickle
import selectors
import signal
import sys
import threading
import time
import traceback
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from ...errors import SpackOciError
from .cancellation import Cancelled, Deadline, interrupts_wait
from .collector import relax_collector
from .threads import DaemonPool

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: messages to a child besides jobs
_CANCEL, _END = "cancel", "end"
#: kinds of messages of a child about a job
_REPORT, _RESULT, _ERROR = "report", "result", "error"

#: the parent's ends of all pipes: a child closes them, so that the others see when the parent is gone
_parents_ends: "weakref.WeakSet[Connection]" = weakref.WeakSet()


def can_fork() -> bool:
    """False on macOS, where a process that has used the system's frameworks cannot be forked safely."""
    return hasattr(os, "fork") and sys.platform != "darwin"


def available_cores() -> int:
    """Cores that this process may run on (a container or batch job may have fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class Child:
    """A forked process that runs ``serve(connection)`` and ends; ``connection`` of this object is the other end.

    Raises OSError where the system allows no (more) processes. It ignores SIGINT; its standard input is empty.
    """

    def __init__(self, serve: Callable[["Connection"], None]) -> None:
        if not can_fork():
            raise OSError(errno.ENOSYS, "this system has no fork that is safe")
        from multiprocessing import Pipe  # 10 ms, which most commands can do without

        self.connection, theirs = Pipe()
        _parents_ends.add(self.connection)
        #: None while it runs, as far as is known; minus the number of the signal that ended it
        self.exit_code: Optional[int] = None
        self._reaping = threading.Lock()
        self.pid = 0
        _flush_streams()  # what is in their buffers is not the child's to write
        try:
            # not multiprocessing.Process: every other child of this process would end that one when it exits
            with interrupts_wait():
                self.pid = os.fork()
                if not self.pid:
                    _run_child(serve, theirs)
        except BaseException:  # also an interrupt that waited
            if self.pid:
                self.kill()
            self.connection.close()
            raise
        finally:
            theirs.close()

    def wait(self, timeout: Optional[float] = None) -> Optional[int]:
        """The exit code, or None: it still runs after ``timeout`` seconds (None: any time)."""
        deadline, pause = Deadline(timeout), 0.0005
        while True:
            with self._reaping:
                if self.exit_code is None:
                    self.exit_code = _exit_code(self.pid)
            if self.exit_code is not None or deadline.left == 0:
                return self.exit_code
            time.sleep(pause)
            pause = min(2 * pause, 0.02)

    def kill(self) -> None:
        with self._reaping:
            if self.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        self.wait()


def _exit_code(pid: int) -> Optional[int]:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # somebody else has taken it
        return 255
    return os.waitstatus_to_exitcode(status) if found else None


def _run_child(serve: Callable[["Connection"], None], connection: "Connection") -> None:
    """Never returns: what the parent would do next is none of the child's business."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as Ctrl-C, which a terminal sends to all of its processes
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # for programs that the child may run
        for end in list(_parents_ends):
            end.close()
        sys.stdin = open(os.devnull)  # noqa: SIM115
        relax_collector()
        serve(connection)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush_streams()
        os._exit(code)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or replaced by something that has no buffer
            stream.flush()


class Task:
    """A job as the function that does it sees it."""

    def __init__(self, report: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
        #: sends a value to the ``on_report`` of whoever submitted the job
        self.report = report
        #: whether nobody wants the result any more
        self.cancelled = cancelled


class ProcessPool:
    """``submit(job)`` runs ``function(job, task)`` in one of ``processes`` children, which are forked at once: no other
    thread may be running then.

    ``threads``: that work in each child; 0: its main thread does, one job after the other. Where the system allows no
    more processes, fewer have to do; OSError if it does not allow one. A child that dies fails the jobs that it had
    (SpackOciError); the others go on.
    """

    def __init__(self, function: Callable[[Any, Task], Any], processes: int, *, name: str, threads: int = 0) -> None:
        self._function = function
        self._threads = threads
        self._name = name
        self._workers: List[_Worker] = []
        self._starting = threading.Lock()
        self._listener: Optional[threading.Thread] = None
        #: held by the thread that takes answers, where no thread could be started for it
        self._taking: Optional[threading.Lock] = None
        self._selector = selectors.DefaultSelector()
        try:
            for _ in range(max(1, processes)):
                self._workers.append(_Worker(Child(self._serve)))
        except OSError:
            if not self._workers:
                self._selector.close()
                raise
        except BaseException:
            self.close(0.0)
            raise
        for worker in self._workers:
            self._selector.register(worker.child.connection, selectors.EVENT_READ, worker)

    @property
    def idle(self) -> bool:
        """Whether a child has nothing to do."""
        return any(not worker.busy and not worker.dead for worker in self._workers)

    @property
    def size(self) -> int:
        """Children that are left."""
        return sum(not worker.dead for worker in self._workers)

    def start(self) -> None:
        """Begin to listen to the children, in a thread. To be called when everything is forked; ``submit`` does, too.

        Where the system allows no more threads, who submits a job waits for it.
        """
        with self._starting:
            if self._listener is not None or self._taking is not None:
                return
            listener = threading.Thread(target=self._listen, name=f"{self._name}-answers", daemon=True)
            try:
                listener.start()
                self._listener = listener
            except RuntimeError:
                self._taking = threading.Lock()

    def submit(self, job: Any, on_report: Optional[Callable[[Any], None]] = None) -> "Future[Any]":
        """``on_report`` is called with what the task reports, in a thread that must not be kept waiting."""
        self.start()
        worker = min(self._workers, key=lambda worker: (worker.dead, worker.busy, worker.asked))
        future = worker.ask(job, on_report)
        if self._taking is not None:
            with self._taking:
                while not future.done():
                    self._take_answers()
        return future

    def cancel(self) -> None:
        """Jobs that have not begun fail with Cancelled; tasks that run are told."""
        for worker in self._workers:
            worker.tell(_CANCEL)

    def close(self, patience: Optional[float] = None) -> bool:
        """Finish what was submitted, and end the children. False: after ``patience`` seconds (None: any time) one was
        still at work, and was killed."""
        deadline = Deadline(patience)
        for worker in self._workers:
            worker.tell(_END)
        in_time = True
        for worker in self._workers:
            if worker.child.wait(deadline.left) is None:
                in_time = False
                worker.child.kill()
        if self._listener is not None:
            self._listener.join(1.0)  # for ever only if a program that a child has started keeps the pipe open
        for worker in self._workers:
            worker.died()
            worker.child.connection.close()
        self._selector.close()
        return in_time

    def _listen(self) -> None:
        while self._selector.get_map():
            self._take_answers()

    def _take_answers(self) -> None:
        for key, _ in self._selector.select():
            if not key.data.take_answer():
                self._selector.unregister(key.fileobj)

    # -- in a child

    def _serve(self, connection: "Connection") -> None:
        pool = DaemonPool(self._threads, f"{self._name}-{os.getpid()}")
        sending = threading.Lock()
        cancelled = threading.Event()

        def send(number: int, kind: str, value: Any) -> None:
            data = pickle.dumps((number, kind, value))
            with sending:
                connection.send_bytes(data)

        def work(number: int, job: Any) -> None:
            try:
                if cancelled.is_set():
                    raise Cancelled
                result = self._function(job, Task(lambda value: send(number, _REPORT, value), cancelled.is_set))
                _flush_streams()
                send(number, _RESULT, result)
            except BrokenPipeError:
                os._exit(0)  # the parent is gone: nobody wants the rest
            except Exception as e:  # the parent's business
                send(number, _ERROR, picklable(e))

        while True:
            try:
                request = connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            if request == _END:
                pool.end()
                return
            if request == _CANCEL:
                cancelled.set()
            else:
                pool.submit(work, *request)


class _Worker:
    """A child of a pool, as the parent sees it."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.dead = False
        self._waiting: Dict[int, Future[Any]] = {}
        self._reports: Dict[int, Callable[[Any], None]] = {}
        #: jobs so far
        self.asked = 0
        self._guard = threading.Lock()

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def ask(self, job: Any, on_report: Optional[Callable[[Any], None]]) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._guard:
            if not self.dead:
                number = self.asked
                self.asked += 1
                self._waiting[number] = future
                if on_report is not None:
                    self._reports[number] = on_report
                with contextlib.suppress(OSError):  # it has died: whoever takes its answers will find out
                    self.child.connection.send((number, job))
                return future
        future.set_exception(self._death())
        return future

    def take_answer(self) -> bool:
        """Hand on what the child has sent; False: that was all, it is gone."""
        try:
            number, kind, value = self.child.connection.recv()
        except (EOFError, OSError):
            self.died()
            return False
        if kind == _REPORT:
            report = self._reports.get(number)
            if report is not None:
                report(value)
            return True
        self._reports.pop(number, None)
        future = self._waiting.pop(number)
        if kind == _RESULT:
            future.set_result(value)
        else:
            future.set_exception(value)
        return True

    def died(self) -> None:
        """Fail what it had."""
        with self._guard:
            self.dead = True
            lost = list(self._waiting.values())
            self._waiting.clear()
        for future in lost:
            future.set_exception(self._death())

    def _death(self) -> SpackOciError:
        code = self.child.wait(1.0)
        ending = f" (signal {-code})" if code is not None and code < 0 else f" (exit code {code})" if code else ""
        return SpackOciError(
            f"the process that worked on this died{ending}",
            remedy="it may have run out of memory: run it again to go on, with fewer jobs (-j)",
        )

    def tell(self, message: str) -> None:
        with self._guard, contextlib.suppress(OSError):  # a process that has died needs not be told
            self.child.connection.send(message)


def picklable(error: BaseException) -> BaseException:
    """``error``, or one that says the same if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # of whatever kind: what matters is what the error says
        return SpackOciError(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def mapped_in_processes(
    function: Callable[[Any], Any], items: Sequence[Any], processes: int
) -> Iterator[Callable[[], List[Any]]]:
    """``[function(item) for item in items]`` that children work out while the caller does something else.

    The block is given what returns the results, in the order of the items; what a child could not do is done then, and
    raises there what it raises. The children are gone at the end of the block, whether or not they were needed.
    """

    def share(number: int) -> List[Any]:
        return [function(item) for item in items[number::processes]]

    pool: Optional[ProcessPool] = None
    with contextlib.suppress(OSError):  # the system allows no processes
        pool = ProcessPool(lambda number, _: share(number), processes, name="map")
    try:
        futures = [pool.submit(number) if pool else None for number in range(processes)]

        def results() -> List[Any]:
            found: List[Any] = [None] * len(items)
            for number, future in enumerate(futures):
                done = future is not None and future.exception() is None
                found[number::processes] = future.result() if future is not None and done else share(number)
            return found

        yield results
    finally:
        if pool is not None:
            pool.close(0.0)
