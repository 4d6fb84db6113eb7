# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Fetches the packages that an install will need, ahead of it, into the blob cache.

Spack's installers ask for one package at a time; while they extract it, the network is idle. A process of its own (no
thread: the installers fork, and a forked copy of a process with threads may hang) downloads what is to come, in the
order in which it will be needed, and never more than the limits ahead of it. It shares nothing with the installer but
the blob cache, whose locks see to it that nothing is fetched twice, and a package counts as consumed when its prefix is
there. Whatever goes wrong here is silent: the installer will ask again, and say what there is to say.
"""

import contextlib
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Optional

from ...content import Progress
from ...errors import SpackOciError
from ...util.cancellation import interrupts_wait
from .transfer_limiter import TransferLimiter

#: seconds between two looks at what was consumed
_INTERVAL = 0.05


@dataclass(frozen=True)
class Wanted:
    """``prefix``: exists when the package is installed; ``size``: compressed bytes, 0 if not known."""

    prefix: str
    size: int
    #: brings the package into the cache, and tells of the bytes that arrive; runs in a thread of the process that
    #: fetches ahead
    fetch: Callable[[Progress], Any]


@dataclass(frozen=True)
class AheadLimits:
    """``size``: bytes fetched and not yet installed; ``count``: packages; ``transfers``: at the same time."""

    size: int = 2 << 30
    count: int = 64
    transfers: int = 4


class Prefetch:
    """A process that fetches ahead; :meth:`stop` ends it, and so does the end of the process that started it."""

    def __init__(self, wanted: Iterable[Wanted], limits: Optional[AheadLimits] = None) -> None:
        parent = os.getpid()
        self._pid = 0
        try:
            with interrupts_wait():
                # not multiprocessing: every forked child of the installer would end this process when it exits
                self._pid = os.fork()
                if not self._pid:
                    try:
                        _serve(wanted, limits or AheadLimits(), parent)
                    finally:
                        # threads may be in the middle of a download; nobody waits for what they have to say
                        os._exit(0)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it now; what is half downloaded is removed by whoever fetches it next."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        """Until it has nothing left to do."""
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def _serve(wanted: Iterable[Wanted], limits: AheadLimits, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    fetch_ahead(wanted, limits, lambda: os.getppid() != parent)


def fetch_ahead(wanted: Iterable[Wanted], limits: AheadLimits, stopped: Callable[[], bool]) -> None:
    """Fetch ``wanted`` in order, within the limits, until all is fetched or ``stopped()``.

    The next one is only asked for when the one before is being fetched, so that finding out what it is takes no time.
    """
    pool = ThreadPoolExecutor(limits.transfers, "prefetch")
    ahead: Dict[int, Wanted] = {}
    running: Dict[Future, _Transfer] = {}
    limiter = TransferLimiter(limits.transfers, watched=True)
    items = (item for item in wanted if not os.path.lexists(item.prefix))
    following = next(items, None)
    try:
        while (following or running) and not stopped():
            for key in [k for k, item in ahead.items() if os.path.lexists(item.prefix)]:
                del ahead[key]
            while following and limiter.has_room and _fits(following, ahead, limits):
                if not os.path.lexists(following.prefix):
                    ahead[id(following)] = following
                    transfer = _Transfer(following, limiter)
                    running[pool.submit(transfer.run)] = transfer
                following = next(items, None)
            if running:
                for done in wait(running, timeout=_INTERVAL, return_when=FIRST_COMPLETED).done:
                    running.pop(done).end()
            else:
                time.sleep(_INTERVAL)
    finally:
        pool.shutdown(wait=False)


def _fits(item: Wanted, ahead: Dict[int, Wanted], limits: AheadLimits) -> bool:
    if not ahead:
        return True
    return len(ahead) < limits.count and sum(i.size for i in ahead.values()) + item.size <= limits.size


class _Transfer:
    """One that is under way, and how much of it is still to come."""

    def __init__(self, item: Wanted, limiter: TransferLimiter) -> None:
        self._item = item
        self._limiter = limiter
        self._rest = item.size
        limiter.begin(item.size)

    def run(self) -> None:
        with contextlib.suppress(SpackOciError):
            self._item.fetch(self._arrive)

    def _arrive(self, count: int) -> None:
        # what is fetched once more arrives once
        count = min(count, self._rest)
        self._rest -= count
        self._limiter.arrive(count)

    def end(self) -> None:
        self._limiter.end(self._rest)
