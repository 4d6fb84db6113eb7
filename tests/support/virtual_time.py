# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writers at once in a time that is computed: a request and a wait take as long as a simulation says.

What is counted in it does not depend on the machine. One writer runs at a time: when all wait for the end of a request
or of a pause, the clock goes on to the first end.
"""

import random
import threading
from collections import Counter
from typing import Any, Callable, Dict, List

from .memory_store import MemoryStore
from .turns import REQUESTS, run_writers

#: HTTP requests behind one call: POST and PUT for a blob
_COSTS = {"put_blob": 2}


class VirtualTime:
    """A clock for ``writers`` threads. Times in seconds."""

    def __init__(self, writers: int, seed: int) -> None:
        self.now = 0.0
        #: of each writer
        self.randoms = [random.Random(f"{seed} {writer}") for writer in range(writers)]
        self._lock = threading.Lock()
        self._at_work = writers
        #: writer -> (when it goes on, what wakes it)
        self._waiting: Dict[int, Any] = {}

    def sleep(self, writer: int, seconds: float) -> None:
        woken = threading.Event()
        with self._lock:
            self._waiting[writer] = (self.now + seconds, writer, woken)
            self._go_on()
        assert woken.wait(timeout=100)

    def end(self) -> None:
        with self._lock:
            self._at_work -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._waiting and len(self._waiting) == self._at_work:
            self.now, writer, woken = min(self._waiting.values(), key=lambda entry: entry[:2])
            del self._waiting[writer]
            woken.set()


class TimedStore:
    """``store``, whose requests take time and are counted; an answer is as of the end of its request.

    ``request_time``: seconds on average; a request takes between half and one and a half times as long.
    """

    def __init__(self, store: MemoryStore, time: VirtualTime, writer: int, request_time: float) -> None:
        self._store = store
        self._time = time
        self._writer = writer
        self._request_time = request_time
        self.requests: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in REQUESTS:
            return attribute

        def request(*arguments: Any, **options: Any) -> Any:
            cost = _COSTS.get(name, 1)
            for _ in range(cost):
                self._time.sleep(self._writer, self._request_time * self._time.randoms[self._writer].uniform(0.5, 1.5))
            self.requests[name] += cost
            return attribute(*arguments, **options)

        return request


#: number of the writer, its store
Work = Callable[[int, TimedStore], None]


def at_once(store: MemoryStore, time: VirtualTime, writers: int, request_time: float, work: Work) -> List[TimedStore]:
    """Run ``work`` once for each writer; their stores, which have counted. Raises what one of them raised."""
    stores = [TimedStore(store, time, writer, request_time) for writer in range(writers)]
    failures = run_writers(writers, lambda writer: work(writer, stores[writer]), time.end)
    if failures:
        raise failures[0]
    return stores
