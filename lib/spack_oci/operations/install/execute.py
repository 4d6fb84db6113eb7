# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Install many packages at once: fetch in threads, extract in processes, register at the end.

For each package: **fetch** its layer into the blob cache (a thread of this process: waiting for the network costs no
core), **extract** it (a worker process: Python's threads would make files one after the other), **finish** it (hooks;
a worker process, when everything that it depends on is finished), and **register** all of them together, dependencies
first (this process). What each step means is the caller's business: see :class:`Steps`.

A package that fails takes down its dependents and nothing else. Whatever ends an install, every package is then
either registered, with all of its dependencies, or gone: what was extracted and cannot be registered is discarded.
"""

import multiprocessing
import os
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, Deque, FrozenSet, List, Optional, Protocol, Sequence, Set, Tuple

from ...errors import SpackOciError
from ...util.order import dependencies_first
from ...util.processes import begin_child, fork, fork_up_to, picklable
from .transfer_limiter import TransferLimiter

INSTALLED = "installed"
FAILED = "failed"
#: a dependency failed, or the install was stopped
SKIPPED = "skipped"

_EXTRACT, _FINISH = "extract", "finish"


@dataclass(frozen=True)
class InstallItem:
    """A package to be installed."""

    dag_hash: str
    #: "name@version/hash"
    label: str
    prefix: str
    #: dag hashes of all packages that must be registered before this one; those that are not in the plan are there
    dependencies: FrozenSet[str] = frozenset()
    #: compressed bytes, 0 if not known
    size: int = 0


@dataclass(frozen=True)
class InstallOutcome:
    item: InstallItem
    status: str
    error: Optional[BaseException] = None
    #: of extraction and hooks
    seconds: float = 0.0


class Steps(Protocol):
    """What is done to a package. Every method may raise; a SpackOciError is the package's failure."""

    def fetch(self, item: InstallItem) -> Any:
        """In a thread: bring the layer to this machine; the result is pickled for :meth:`extract`."""

    def extract(self, item: InstallItem, fetched: Any) -> None:
        """In a worker process: make the prefix."""

    def finish(self, item: InstallItem) -> None:
        """In a worker process: what has to be done to a complete prefix; all dependencies are finished."""

    def register(self, items: Sequence[InstallItem]) -> None:
        """In the calling process: make the packages known, in this order (dependencies first)."""

    def discard(self, item: InstallItem) -> None:
        """In the calling process: remove the prefix and whatever a killed worker left of it."""


@dataclass(frozen=True)
class InstallLimits:
    """``workers``: processes; ``transfers``: threads; ``ahead``: bytes fetched and not yet extracted."""

    workers: int = 2
    transfers: int = 8
    ahead: int = 1 << 30


#: called when a package is extracted and finished, or failed
Listener = Callable[[InstallOutcome], None]


def install_all(
    items: Sequence[InstallItem],
    steps: Steps,
    limits: Optional[InstallLimits] = None,
    listener: Listener = lambda outcome: None,
) -> List[InstallOutcome]:
    """Install ``items``; one outcome for each, in their order. KeyboardInterrupt and the like are raised, after what
    is complete was registered and what is not was discarded.
    """
    return _Install(items, steps, limits or InstallLimits(), listener).run()


@dataclass
class _State:
    item: InstallItem
    #: dependencies in the plan that are not finished yet
    waiting: Set[str]
    extracted: bool = False
    #: a worker has begun with it, so that there may be something to discard
    touched: bool = False
    finished: bool = False
    error: Optional[BaseException] = None
    skipped: bool = False
    seconds: float = 0.0

    @property
    def over(self) -> bool:
        return self.finished or self.skipped or self.error is not None


class _Install:
    def __init__(self, items: Sequence[InstallItem], steps: Steps, limits: InstallLimits, listener: Listener) -> None:
        self._steps = steps
        self._limits = limits
        self._listener = listener
        planned = {item.dag_hash for item in items}
        self._states = {i.dag_hash: _State(i, set(i.dependencies & planned) - {i.dag_hash}) for i in items}
        self._order = installation_order(items)
        #: (dag hash, result) of fetches, put by threads
        self._fetched: Deque[Tuple[str, Any, Optional[BaseException]]] = deque()
        self._jobs: Deque[Tuple[str, str, Any]] = deque()
        self._to_fetch: Deque[InstallItem] = deque(self._order)
        self._ahead = 0
        self._limiter = TransferLimiter(limits.transfers)
        self._registered: List[InstallItem] = []

    def run(self) -> List[InstallOutcome]:
        if self._states:
            # forked before the first thread: a lock that a thread holds would stay locked in a child for ever
            self._workers = _Workers(min(self._limits.workers, len(self._states)), self._run_step)
            self._bell_out, self._bell_in = multiprocessing.Pipe(duplex=False)
            self._threads = ThreadPoolExecutor(self._limits.transfers, "fetch")
            try:
                self._loop()
            finally:
                self._close()
        return [self._outcome(state) for state in self._states.values()]

    def _close(self) -> None:
        """Stop everything that runs, then settle: registered or discarded."""
        self._to_fetch.clear()
        self._workers.close()
        self._threads.shutdown(wait=True)
        try:
            complete = self._complete()
            self._steps.register(complete)
            self._registered = complete
        finally:
            known = {item.dag_hash for item in self._registered}
            for state in self._states.values():
                if state.touched and state.item.dag_hash not in known:
                    self._steps.discard(state.item)
            self._bell_in.close()
            self._bell_out.close()

    def _complete(self) -> List[InstallItem]:
        """The finished packages all of whose dependencies are finished, too."""
        return [item for item in self._order if self._states[item.dag_hash].finished]

    def _loop(self) -> None:
        while not all(state.over for state in self._states.values()):
            self._start_fetches()
            self._start_jobs()
            for ready in wait([self._bell_out, *self._workers.connections]):
                if ready is self._bell_out:
                    self._bell_out.recv_bytes()
                else:
                    self._take_result(ready)  # type: ignore[arg-type]
            while self._fetched:
                self._take_fetched(*self._fetched.popleft())

    # --- fetch

    def _start_fetches(self) -> None:
        while self._to_fetch and self._limiter.has_room:
            item = self._to_fetch[0]
            if self._ahead and self._ahead + item.size > self._limits.ahead:
                return
            self._to_fetch.popleft()
            if not self._states[item.dag_hash].over:
                self._ahead += item.size
                self._limiter.begin(item.size)
                self._threads.submit(self._fetch, item)

    def _fetch(self, item: InstallItem) -> None:
        try:
            result, error = self._steps.fetch(item), None
        except BaseException as e:  # noqa: B036  (given to the thread that decides)
            result, error = None, e
        self._fetched.append((item.dag_hash, result, error))
        self._bell_in.send_bytes(b"!")

    def _take_fetched(self, dag_hash: str, result: Any, error: Optional[BaseException]) -> None:
        self._limiter.end(self._states[dag_hash].item.size)
        if error is not None:
            self._ahead -= self._states[dag_hash].item.size
            self._fail(dag_hash, error)
        else:
            self._jobs.append((_EXTRACT, dag_hash, result))

    # --- extract and finish

    def _start_jobs(self) -> None:
        while self._jobs and self._workers.idle:
            kind, dag_hash, payload = self._jobs.popleft()
            state = self._states[dag_hash]
            if state.over:
                self._ahead -= state.item.size if kind == _EXTRACT else 0
                continue
            state.touched = True
            self._workers.send((kind, dag_hash, payload))

    def _run_step(self, job: Tuple[str, str, Any]) -> None:
        """In a worker."""
        kind, dag_hash, payload = job
        item = self._states[dag_hash].item
        if kind == _EXTRACT:
            self._steps.extract(item, payload)
        else:
            self._steps.finish(item)

    def _take_result(self, connection: Connection) -> None:
        (kind, dag_hash, _), error, seconds = self._workers.receive(connection)
        state = self._states[dag_hash]
        state.seconds += seconds
        if kind == _EXTRACT:
            self._ahead -= state.item.size
        if error is not None:
            self._fail(dag_hash, error)
        elif kind == _EXTRACT:
            state.extracted = True
            self._finish_if_ready(state)
        else:
            state.finished = True
            self._listener(self._outcome(state))
            for other in self._states.values():
                if dag_hash in other.waiting:
                    other.waiting.discard(dag_hash)
                    self._finish_if_ready(other)
        if not self._workers.connections and not all(s.over for s in self._states.values()):
            raise SpackOciError("all processes that extract packages were killed", remedy="is there enough memory?")

    def _finish_if_ready(self, state: _State) -> None:
        if state.extracted and not state.waiting and not state.over:
            # before further extractions: others may wait for it
            self._jobs.appendleft((_FINISH, state.item.dag_hash, None))

    def _fail(self, dag_hash: str, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        state = self._states[dag_hash]
        state.error = error
        self._listener(self._outcome(state))
        failed = [state]
        while failed:
            gone = failed.pop().item.dag_hash
            for other in self._states.values():
                if gone in other.waiting and not other.over:
                    other.skipped = True
                    self._listener(self._outcome(other))
                    failed.append(other)

    def _outcome(self, state: _State) -> InstallOutcome:
        if state.error is not None:
            return InstallOutcome(state.item, FAILED, state.error, state.seconds)
        return InstallOutcome(state.item, INSTALLED if state.finished else SKIPPED, None, state.seconds)


def installation_order(items: Sequence[InstallItem]) -> List[InstallItem]:
    """``items``, each after what it depends on, otherwise the largest first."""
    by_hash = {item.dag_hash: item for item in items}
    largest_first = sorted(items, key=lambda item: -item.size)
    return [by_hash[h] for h in dependencies_first({i.dag_hash: sorted(i.dependencies) for i in largest_first})]


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Any = None


@dataclass
class _Workers:
    """Forked processes, each of which runs ``function(job)`` for the jobs that it is sent, one at a time."""

    count: int
    function: Callable[[Any], None]
    _workers: List[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        fork_up_to(max(1, self.count), self._workers, lambda: _Worker(*fork(self._serve)))

    @property
    def connections(self) -> List[Connection]:
        return [worker.connection for worker in self._workers]

    @property
    def idle(self) -> bool:
        return any(worker.job is None for worker in self._workers)

    def send(self, job: Any) -> None:
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = job
        worker.connection.send(job)

    def receive(self, connection: Connection) -> Tuple[Any, Optional[BaseException], float]:
        """(job, its error, seconds). A worker that died fails its job and is not replaced."""
        worker = next(worker for worker in self._workers if worker.connection is connection)
        job, worker.job = worker.job, None
        try:
            error, seconds = connection.recv()
            return job, error, seconds
        except (EOFError, OSError):
            self._workers.remove(worker)
            worker.process.join()
            return job, SpackOciError(f"a process that extracts packages died ({_how(worker.process.exitcode)})"), 0.0

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._workers:
            if worker.job is not None:
                worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def _serve(self, connection: Connection, other_end: Connection) -> None:
        begin_child([other_end, *self.connections])
        threading.current_thread().name = f"install-{os.getpid()}"
        while True:
            try:
                job = connection.recv()
            except (EOFError, OSError):
                return
            started = time.monotonic()
            error: Optional[BaseException] = None
            try:
                self.function(job)
            except Exception as e:  # the parent's business
                error = picklable(e)
            connection.send((error, time.monotonic() - started))


def _how(exit_code: Optional[int]) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
