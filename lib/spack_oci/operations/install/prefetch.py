# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Prefetching: downloads the packages that an install is going to need into the blob cache, while it does other things.

Spack's installers ask for one package at a time; while they extract it, the network is idle. A child process (no
thread: the installers fork, and a forked copy of a process with threads may hang) downloads what is to come, in the
order in which it will be needed, and never more than the limits before it is needed. It shares nothing with the
installer but the blob cache, whose locks see to it that nothing is fetched twice, and a package counts as consumed when
its prefix exists. Whatever goes wrong here is silent: the installer will ask again, and say what there is to say.
"""

import contextlib
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Optional

from ...content import Progress
from ...errors import SpackOciError
from ...util.concurrency.processes import Child
from ...util.concurrency.threads import DaemonPool
from .transfer_limiter import TransferLimiter

#: seconds between two looks at what was consumed
_INTERVAL = 0.05


@dataclass(frozen=True)
class PrefetchItem:
    """``prefix``: exists when the package is installed; ``size``: compressed bytes, 0 if not known."""

    prefix: str
    size: int
    #: brings the package into the cache, and tells of the bytes that arrive; runs in a thread of the prefetch process
    fetch: Callable[[Progress], Any]


@dataclass(frozen=True)
class PrefetchLimits:
    """``size``: bytes fetched and not yet installed; ``count``: packages; ``transfers``: at the same time."""

    size: int = 2 << 30
    count: int = 64
    transfers: int = 4


class Prefetch:
    """A process that prefetches; :meth:`stop` ends it, and so does the end of the process that started it. Where the
    system allows no more processes, nothing is prefetched."""

    def __init__(self, items: Iterable[PrefetchItem], limits: Optional[PrefetchLimits] = None) -> None:
        parent = os.getpid()

        def serve(connection: Any) -> None:
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            # the end of the pipe would not tell: other children of the installer have it as well
            prefetch(items, limits or PrefetchLimits(), lambda: os.getppid() != parent)

        self._child: Optional[Child] = None
        with contextlib.suppress(OSError):
            self._child = Child(serve)

    def stop(self) -> None:
        """End it now; what is half downloaded is removed by whoever fetches it next."""
        if self._child is not None:
            self._child.kill()

    def wait(self) -> None:
        """Until it has nothing left to do."""
        if self._child is not None:
            self._child.wait()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def prefetch(wanted: Iterable[PrefetchItem], limits: PrefetchLimits, cancelled: Callable[[], bool]) -> None:
    """Fetch ``wanted`` in order, within the limits, until all is fetched or ``cancelled()``.

    The next one is only asked for when the one before is being fetched, so that finding out what it is takes no time.
    """
    pool = DaemonPool(limits.transfers, "prefetch")
    unconsumed: Dict[int, PrefetchItem] = {}
    running: Dict[Future, _Transfer] = {}
    limiter = TransferLimiter(limits.transfers, watched=True)
    items = (item for item in wanted if not os.path.lexists(item.prefix))
    following = next(items, None)
    try:
        while (following or running) and not cancelled():
            for key in [k for k, item in unconsumed.items() if os.path.lexists(item.prefix)]:
                del unconsumed[key]
            while following and limiter.has_room and _fits(following, unconsumed, limits):
                if not os.path.lexists(following.prefix):
                    unconsumed[id(following)] = following
                    transfer = _Transfer(following, limiter)
                    running[pool.submit(transfer.run)] = transfer
                following = next(items, None)
            if running:
                for done in wait(running, timeout=_INTERVAL, return_when=FIRST_COMPLETED).done:
                    running.pop(done).end()
            else:
                time.sleep(_INTERVAL)
    finally:
        pool.end(0.0)


def _fits(item: PrefetchItem, unconsumed: Dict[int, PrefetchItem], limits: PrefetchLimits) -> bool:
    if not unconsumed:
        return True
    return len(unconsumed) < limits.count and sum(i.size for i in unconsumed.values()) + item.size <= limits.size


class _Transfer:
    """One that is under way, and how much of it is still to come."""

    def __init__(self, item: PrefetchItem, limiter: TransferLimiter) -> None:
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
