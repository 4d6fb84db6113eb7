# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writers whose requests to one store come in any order.

One request is answered at a time, and which writer's is next is drawn from a seed; so is how long a wait is, as a wait
is over when its writer is drawn. Some seeds let one writer make many requests while the others are held up.
``SPACK_OCI_INTERLEAVINGS`` sets how many seeds are tried.
"""

import os
import random
import threading
from typing import Any, Callable, List, Optional, Set

from .memory_store import MemoryStore

SEEDS = int(os.environ.get("SPACK_OCI_INTERLEAVINGS", "25"))
REQUESTS = {"get_manifest", "resolve", "tags", "put_manifest", "put_blob", "open_blob", "has_blob"}


class Turns:
    """Whose request is next, as soon as all writers wait for their turn."""

    def __init__(self, writers: int, seed: int) -> None:
        self._random = random.Random(seed)
        #: how likely the writer that had the last turn has the next
        self._persistence = self._random.choice((0.0, 0.5, 0.9, 0.97))
        self._last: Optional[int] = None
        self._changed = threading.Condition()
        self._at_work = writers
        self._waiting: Set[int] = set()
        self._turn: Optional[int] = None

    def take(self, writer: int) -> None:
        with self._changed:
            self._waiting.add(writer)
            self._draw()
            assert self._changed.wait_for(lambda: self._turn == writer, timeout=100)
            self._waiting.remove(writer)
            self._turn = None

    def end(self) -> None:
        with self._changed:
            self._at_work -= 1
            self._draw()

    def _draw(self) -> None:
        if self._waiting and len(self._waiting) == self._at_work:
            stays = self._last in self._waiting and self._random.random() < self._persistence
            self._turn = self._last = self._last if stays else self._random.choice(sorted(self._waiting))
            self._changed.notify_all()


class InTurn:
    """A store whose requests wait for the turn of one writer."""

    def __init__(self, store: MemoryStore, take: Callable[[], None]) -> None:
        self._store = store
        self._take = take

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in REQUESTS:
            return attribute

        def request(*arguments: Any, **options: Any) -> Any:
            self._take()
            return attribute(*arguments, **options)

        return request


#: number of the writer, its store, what waits for its turn
Work = Callable[[int, Any, Callable[[], None]], None]


def in_turns(store: MemoryStore, writers: int, seed: int, work: Work) -> List[BaseException]:
    """Run ``work`` once for each writer; what they raised."""
    turns = Turns(writers, seed)

    def in_turn(writer: int) -> None:
        work(writer, InTurn(store, lambda: turns.take(writer)), lambda: turns.take(writer))

    return run_writers(writers, in_turn, turns.end)


def run_writers(writers: int, work: Callable[[int], None], ended: Callable[[], None]) -> List[BaseException]:
    """``work`` of each in a thread of its own, and ``ended`` after it, whatever came of it; what they raised."""
    failures: List[BaseException] = []

    def run(writer: int) -> None:
        try:
            work(writer)
        except BaseException as e:
            failures.append(e)
        finally:
            ended()

    threads = [threading.Thread(target=run, args=(writer,), daemon=True) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
