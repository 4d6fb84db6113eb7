# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Install many packages at once: fetch in threads, extract in processes, register at the end.

For each package: **fetch** its layer into the blob cache (a thread of this process: waiting for the network costs no
core), **extract** it (a worker process: Python's threads would make files one after the other), **finish** it (hooks;
a worker process, when everything that it depends on is finished; in one job with the extraction where nothing has to be
waited for), and **register** all of them together, dependencies first (this process). What each step means is the
caller's business: see :class:`.steps.Steps`. The largest come first, so that none of them is waited for alone in the
end; and a large one is extracted while it is fetched (:mod:`.arriving`).

A package that fails takes down its dependents and nothing else. Whatever ends an install, every package is then
either registered, with all of its dependencies, or gone: what was extracted and cannot be registered is discarded.
"""

import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple

from ...errors import SpackOciError
from ...util.concurrency.cancellation import Cancelled, Deadline, interrupted_once, next_event, signals_wait
from ...util.concurrency.processes import ProcessPool
from ...util.concurrency.threads import DaemonPool
from ...util.order import dependencies_first
from ...util.progress import Reporter, Silent, Work
from .arriving import Arriving, Begin, Begun, Watch
from .outcome import FAILED, INSTALLED, SKIPPED, InstallItem, InstallOutcome, outcome_line
from .state import State, may_be_made
from .steps import Steps
from .transfer_limiter import TransferLimiter

_EXTRACT, _FINISH, _BOTH = "extract", "finish", "extract and finish"
#: seconds that an interrupted install waits for downloads that are under way
_PATIENCE = 2.0


@dataclass(frozen=True)
class InstallLimits:
    """``workers``: processes; ``transfers``: threads; ``buffered``: bytes fetched and not yet extracted. Where the
    system allows no more processes or threads, those that there are have to do; without any, this thread does the work.
    """

    workers: int = 2
    transfers: int = 8
    buffered: int = 1 << 30


def install_all(
    items: Sequence[InstallItem],
    steps: Steps,
    limits: Optional[InstallLimits] = None,
    reporter: Optional[Reporter] = None,
    fail_fast: bool = False,
) -> List[InstallOutcome]:
    """Install ``items``; one outcome for each, in their order. KeyboardInterrupt and the like are raised, after what
    is complete was registered and what is not was discarded; further ones are ignored meanwhile. ``fail_fast``: so is
    the first failure of a package.
    """
    if not items:
        return []
    with interrupted_once():
        return _Install(items, steps, limits or InstallLimits(), reporter or Silent(), fail_fast).run()


def fetch_all(
    items: Sequence[InstallItem],
    steps: Steps,
    limits: Optional[InstallLimits] = None,
    reporter: Optional[Reporter] = None,
) -> List[InstallOutcome]:
    """Only the first step of an install. INSTALLED stands for "fetched"."""
    limits = limits or InstallLimits()
    fetches = _Fetches(steps, limits.transfers, reporter or Silent())

    def fetch(item: InstallItem) -> InstallOutcome:
        try:
            fetches.fetch(item, lambda _: None)
            outcome = InstallOutcome(item, INSTALLED)
        except Exception as e:
            outcome = InstallOutcome(item, FAILED, e)
        fetches.reporter.finished(item.label, outcome_line(outcome, "Fetched {0.label}"))
        return outcome

    with interrupted_once():
        try:
            fetches.begin(items)
            futures = [fetches.pool.submit(fetch, item) for item in items]
            done: queue.SimpleQueue[Future[InstallOutcome]] = queue.SimpleQueue()
            for future in futures:
                future.add_done_callback(done.put)
            for _ in futures:
                next_event(done)
            return [future.result() for future in futures]
        finally:
            fetches.end(Deadline(_PATIENCE))


class _Fetches:
    """The downloads of an install: threads, and what is told of them."""

    def __init__(self, steps: Steps, transfers: int, reporter: Reporter) -> None:
        self.reporter = reporter
        self.pool = DaemonPool(transfers, "fetch")
        self._steps = steps
        self._cancelled = threading.Event()

    def begin(self, items: Sequence[InstallItem]) -> None:
        self.reporter.begin(Work(len(items), "packages", sum(item.size for item in items), "fetched"))

    def fetch(self, item: InstallItem, begun: Begin) -> Any:
        """In a thread."""
        rest = item.size

        def progress(count: int) -> None:
            nonlocal rest
            if self._cancelled.is_set():
                raise Cancelled
            rest -= count
            self.reporter.moved(count)

        progress(0)
        self.reporter.started(item.label)
        result = self._steps.fetch(item, progress, begun)
        self.reporter.moved(max(0, rest))  # which was in the blob cache
        return result

    def end(self, patience: Deadline) -> None:
        """Cancel what is left of them, and wait for what is under way."""
        self._cancelled.set()
        self.pool.end(patience.left)
        self.reporter.end()


@dataclass(frozen=True)
class _Event:
    """A step that a thread or process has finished."""

    handle: Callable[[State, Any], None]
    state: State
    future: "Future[Any]"


class _Install:
    def __init__(
        self, items: Sequence[InstallItem], steps: Steps, limits: InstallLimits, reporter: Reporter, fail_fast: bool
    ) -> None:
        self._steps = steps
        self._fail_fast = fail_fast
        self._limits = limits
        self._reporter = reporter
        planned = {item.dag_hash for item in items}
        self._states = {i.dag_hash: State(i, set(i.dependencies & planned) - {i.dag_hash}) for i in items}
        #: that are not over
        self._open: Set[str] = set(self._states)
        #: packages in the prefix of another, by that one
        self._inside: Dict[str, List[State]] = {}
        self._find_outer_packages()
        #: packages that wait for one
        self._dependents: Dict[str, List[State]] = {}
        for state in self._states.values():
            for dag_hash in state.waiting:
                self._dependents.setdefault(dag_hash, []).append(state)
        #: fetched packages that wait until their outer one is extracted
        self._inner: Dict[str, List[Tuple[State, Any]]] = {}
        self._order = installation_order(items)
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        #: (step, package, what extracting needs) that wait for a process
        self._jobs: Deque[Tuple[str, State, Any]] = deque()
        self._to_fetch: Deque[InstallItem] = deque(sorted(items, key=lambda item: -item.size))
        self._buffered = 0
        self._limiter = TransferLimiter(limits.transfers)
        self._fetches = _Fetches(steps, limits.transfers, reporter)
        self._watch = Watch([item.dag_hash for item in items])
        #: packages whose fetch is under way, and of whose layer nothing is here
        self._expected: Dict[str, State] = {}
        #: packages that have begun to arrive
        self._begun: List[State] = []
        #: packages that are extracted while they arrive
        self._arriving = 0

    def _find_outer_packages(self) -> None:
        """Prefixes may be in each other (projections). What is inside is made when the outer prefix is there, and is
        of no use without it."""
        by_prefix = {state.item.prefix: state for state in self._states.values()}
        for state in self._states.values():
            directory = os.path.dirname(state.item.prefix)
            while directory not in by_prefix and directory != os.path.dirname(directory):
                directory = os.path.dirname(directory)
            state.outer = by_prefix.get(directory) if directory != state.item.prefix else None
            if state.outer is None:
                continue
            self._inside.setdefault(state.outer.item.dag_hash, []).append(state)
            if state.item.dag_hash not in state.outer.item.dependencies:
                state.waiting.add(state.outer.item.dag_hash)

    def run(self) -> List[InstallOutcome]:
        # forked before the first thread
        self._processes = self._fork()
        #: jobs under way, of this thread
        self._inline = DaemonPool(0, "install")
        self._working_inline = 0
        try:
            self._fetches.begin([state.item for state in self._states.values()])  # draws, and so may be interrupted
            while self._open:
                self._start_fetches()
                self._start_arriving()
                self._start_jobs()
                event = next_event(self._events)
                event.handle(event.state, event.future)
        finally:
            with signals_wait():  # else what was just registered may be discarded
                self._close()
        return [self._outcome(state, state.complete) for state in self._states.values()]

    def _fork(self) -> Optional[ProcessPool]:
        try:
            return ProcessPool(
                lambda job, _: self._run_step(*job), min(self._limits.workers, len(self._states)), name="install"
            )
        except OSError:
            return None

    def _close(self) -> None:
        """Stop everything that runs, then settle: registered or discarded."""
        patience = Deadline(_PATIENCE)
        self._watch.give_up_all()
        if self._processes is not None:
            self._processes.close(0.0 if self._open else None)
        self._fetches.end(patience)
        registered: List[InstallItem] = []
        try:
            complete = [item for item in self._order if self._states[item.dag_hash].complete]
            self._steps.register(complete)
            registered = complete
        finally:
            known = {item.dag_hash for item in registered}
            for state in self._states.values():
                if state.touched and state.item.dag_hash not in known:
                    self._steps.discard(state.item)

    def _when_done(self, handle: Callable[[State, Any], None], state: State, future: "Future[Any]") -> None:
        future.add_done_callback(lambda done: self._events.put(_Event(handle, state, done)))

    # --- fetch

    def _start_fetches(self) -> None:
        while self._to_fetch and self._limiter.has_room:
            item = self._to_fetch[0]
            if self._buffered and self._buffered + item.size > self._limits.buffered:
                return
            self._to_fetch.popleft()
            state = self._states[item.dag_hash]
            if not state.over:
                self._buffered += item.size
                self._limiter.begin(item.size)
                self._expected[item.dag_hash] = state
                begun = partial(self._tell_begun, state)
                self._when_done(self._take_fetched, state, self._fetches.pool.submit(self._fetches.fetch, item, begun))

    def _tell_begun(self, state: State, begun: Any) -> None:
        """In a thread."""
        future: Future[Any] = Future()
        future.set_result(begun)
        self._events.put(_Event(self._take_begun, state, future))

    def _take_begun(self, state: State, future: "Future[Any]") -> None:
        self._expected.pop(state.item.dag_hash, None)
        if self._processes is None or state.outer is not None:
            return
        if state.arriving is None:
            self._begun.append(state)
        if state.arriving is None or not state.arriving.is_followed:  # from another mirror, perhaps
            state.arriving = Arriving(Begun(future.result()))

    def _take_fetched(self, state: State, future: "Future[Any]") -> None:
        self._limiter.end(state.item.size)
        self._expected.pop(state.item.dag_hash, None)
        state.fetched = True
        if state.arriving is not None and state.arriving.is_followed:
            state.arriving.fetch = future
            # also where it has succeeded: perhaps with another download than the one that is followed
            self._watch.give_up(state.item.dag_hash)
            self._settle_arriving(state, state.arriving)
        else:
            self._begin_extraction(state, future)

    def _begin_extraction(self, state: State, future: "Future[Any]") -> None:
        error = future.exception()
        if error is not None:
            self._buffered -= state.item.size
            self._fail(state, error)
        elif state.outer is None or may_be_made(state) or state.over:
            self._jobs.append((_EXTRACT, state, future.result()))
        else:
            # others may come ahead of it: the outer one, for example
            self._buffered -= state.item.size
            self._inner.setdefault(state.outer.item.dag_hash, []).append((state, future.result()))

    # --- extract and finish

    def _start_arriving(self) -> None:
        while self._processes is not None and self._processes.idle:
            state = self._next_arriving(self._processes.size)
            if state is None or state.arriving is None:
                return
            self._arriving += 1
            state.touched = state.arriving.is_followed = True
            state.arriving.is_finished_at_once = self._may_be_finished_at_once(state)
            step = _BOTH if state.arriving.is_finished_at_once else _EXTRACT
            future = self._processes.submit((step, state.item.dag_hash, state.arriving.begun))
            self._when_done(self._take_arrived, state, future)

    def _next_arriving(self, processes: int) -> Optional[State]:
        """The largest, unless a larger one will begin in a moment. One process is left for packages that need not be
        waited for, if there are others."""
        self._begun = [s for s in self._begun if not s.fetched and not s.over]
        if not self._begun or (self._arriving + 1 >= processes and len(self._open) > 1):
            return None
        state = max(self._begun, key=lambda s: s.item.size)
        if any(other.item.size > state.item.size for other in self._expected.values()):
            return None
        self._begun.remove(state)
        return state

    def _take_arrived(self, state: State, future: "Future[Optional[float]]") -> None:
        assert state.arriving is not None
        self._arriving -= 1
        state.arriving.extraction = future
        self._settle_arriving(state, state.arriving)

    def _settle_arriving(self, state: State, arriving: Arriving) -> None:
        if not arriving.is_over:
            return
        assert arriving.fetch is not None and arriving.extraction is not None
        if not arriving.counts:
            self._begin_extraction(state, arriving.fetch)
        elif arriving.is_finished_at_once:
            self._made(state, arriving.extraction)
        else:
            self._extracted(state, arriving.extraction)

    def _start_jobs(self) -> None:
        while self._jobs and (self._processes.idle if self._processes else not self._working_inline):
            step, state, payload = self._jobs.popleft()
            if state.over:
                self._buffered -= state.item.size if step == _EXTRACT else 0
                continue
            state.touched = True
            if step == _EXTRACT and self._may_be_finished_at_once(state):
                step = _BOTH
            job = (step, state.item.dag_hash, payload)
            if self._processes is not None:
                future = self._processes.submit(job)
            else:
                self._working_inline += 1
                future = self._inline.submit(self._run_step, *job)
            self._when_done(
                {_EXTRACT: self._extracted, _BOTH: self._made, _FINISH: self._finished}[step], state, future
            )

    def _may_be_finished_at_once(self, state: State) -> bool:
        """Its prefix is complete when it is extracted, and nothing that is not there yet is asked for."""
        ready = not state.waiting or not self._steps.finish_needs_dependencies
        return ready and state.item.dag_hash not in self._inside

    def _run_step(self, step: str, dag_hash: str, payload: Any) -> Optional[float]:
        """In a worker process; the seconds that it took, or None: it was not extracted while it arrived."""
        started = time.monotonic()
        item = self._states[dag_hash].item
        if isinstance(payload, Begun):
            try:
                self._steps.extract_arriving(item, payload.payload, partial(self._watch.check, dag_hash))
            except Exception:  # of whatever kind: what is wrong with it is said when it is extracted once more
                return None
        elif step != _FINISH:
            self._steps.extract(item, payload)
        if step != _EXTRACT:
            self._steps.finish(item)
        return time.monotonic() - started

    def _extracted(self, state: State, future: "Future[Optional[float]]") -> None:
        self._buffered -= state.item.size
        if self._succeeded(state, future):
            state.extracted = True
            self._finish_if_ready(state)
            self._make_inner_packages(state)

    def _made(self, state: State, future: "Future[Optional[float]]") -> None:
        self._buffered -= state.item.size
        if self._succeeded(state, future):
            state.extracted = state.prepared = True
            self._finish_if_ready(state)

    def _make_inner_packages(self, outer: State) -> None:
        waiting = self._inner.pop(outer.item.dag_hash, [])
        for inner, fetched in waiting:
            if may_be_made(inner):
                self._buffered += inner.item.size
                self._jobs.append((_EXTRACT, inner, fetched))
            else:
                self._inner.setdefault(outer.item.dag_hash, []).append((inner, fetched))

    def _finished(self, state: State, future: "Future[Optional[float]]") -> None:
        if self._succeeded(state, future):
            state.prepared = True
            self._finish_if_ready(state)

    def _succeeded(self, state: State, future: "Future[Optional[float]]") -> bool:
        self._working_inline = 0
        error = future.exception()
        if error is None:
            state.seconds += future.result() or 0.0
            return True
        self._fail(state, error)
        if self._processes is not None and not self._processes.size and self._open:
            raise SpackOciError("all processes that extract packages were killed", remedy="is there enough memory?")
        return False

    def _finish_if_ready(self, state: State) -> None:
        """It, and what has only waited for it."""
        candidates = [state]
        while candidates:
            state = candidates.pop()
            if not state.extracted or state.waiting or state.over:
                continue
            if not state.prepared:
                # before further extractions: others may wait for it
                self._jobs.appendleft((_FINISH, state, None))
                continue
            state.finished = True
            self._settle(state)
            self._make_inner_packages(state)
            for other in self._dependents.get(state.item.dag_hash, ()):
                other.waiting.discard(state.item.dag_hash)
                candidates.append(other)

    def _fail(self, state: State, error: BaseException) -> None:
        if self._fail_fast or not isinstance(error, Exception):
            raise error
        state.error = error
        self._settle(state)
        failed = [state]
        while failed:
            gone = failed.pop().item.dag_hash
            for other in (*self._dependents.get(gone, ()), *self._inside.get(gone, ())):
                if not other.over:
                    other.skipped = True
                    self._settle(other)
                    failed.append(other)

    def _settle(self, state: State) -> None:
        """It is over."""
        self._open.discard(state.item.dag_hash)
        self._reporter.finished(state.item.label, outcome_line(self._outcome(state, state.finished)))

    def _outcome(self, state: State, installed: bool) -> InstallOutcome:
        if state.error is not None:
            return InstallOutcome(state.item, FAILED, state.error, state.seconds)
        return InstallOutcome(state.item, INSTALLED if installed else SKIPPED, None, state.seconds)


def installation_order(items: Sequence[InstallItem]) -> List[InstallItem]:
    """``items``, each after what it depends on, otherwise the largest first."""
    by_hash = {item.dag_hash: item for item in items}
    largest_first = sorted(items, key=lambda item: -item.size)
    return [by_hash[h] for h in dependencies_first({i.dag_hash: sorted(i.dependencies) for i in largest_first})]
