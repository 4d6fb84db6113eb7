# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A list of results that forked processes work out while the caller does something else."""

import contextlib
import os
from functools import partial
from itertools import zip_longest
from multiprocessing.connection import Connection
from typing import Any, Callable, List, Optional, Sequence, Tuple

from .processes import begin_child, fork


class ForkedMap:
    """``[function(item) for item in items]``, as a context manager: the processes are forked at once, when no other
    thread may be running, and are gone at the end. Results travel pickled. Where the system allows no more processes,
    the work is done when the results are asked for.
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> None:
        self._function = function
        self._items = items
        self._shares = [items[number::processes] for number in range(processes)]
        #: processes, and our ends of their pipes
        self._children: List[Tuple[Any, Connection]] = []
        with contextlib.suppress(OSError):
            for share in self._shares:
                self._children.append(fork(partial(self._serve, share)))

    def results(self) -> List[Any]:
        """In the order of the items. What a process could not do is done here, and raises here what it raises."""
        results: List[Any] = [None] * len(self._items)
        processes = len(self._shares)
        for number, (share, child) in enumerate(zip_longest(self._shares, self._children)):
            found = _received(child[1]) if child else None
            results[number::processes] = [self._function(item) for item in share] if found is None else found
        return results

    def _serve(self, share: Sequence[Any], connection: Connection, other_end: Connection) -> None:
        begin_child([other_end, *(connection for _, connection in self._children)])
        try:
            connection.send([self._function(item) for item in share])
        except Exception:  # the parent does it again, and meets it there
            os._exit(1)

    def __enter__(self) -> "ForkedMap":
        return self

    def __exit__(self, *_: object) -> None:
        for process, connection in self._children:
            connection.close()
            process.kill()
            process.join()


def _received(connection: Connection) -> Optional[List[Any]]:
    """None if the process died."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None
