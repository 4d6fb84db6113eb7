# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A list of results that forked processes work out while the caller does something else."""

import os
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, List, Sequence

from .forked_pool import begin_child, fork


class ForkedMap:
    """``[function(item) for item in items]``, as a context manager: the processes are forked at once, when no other
    thread may be running, and are gone at the end. Results travel pickled.
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> None:
        self._function = function
        self._shares = [items[number::processes] for number in range(processes)]
        self._count = len(items)
        self._connections: List[Connection] = []
        self._children: List[Any] = []
        for share in self._shares:
            process, connection = fork(partial(self._serve, share))
            self._children.append(process)
            self._connections.append(connection)

    def results(self) -> List[Any]:
        """In the order of the items. What a process could not do is done here, and raises here what it raises."""
        results: List[Any] = [None] * self._count
        processes = len(self._shares)
        for number, (share, connection) in enumerate(zip(self._shares, self._connections)):
            try:
                found = connection.recv()
            except (EOFError, OSError):
                found = [self._function(item) for item in share]
            results[number::processes] = found
        return results

    def _serve(self, share: Sequence[Any], connection: Connection, other_end: Connection) -> None:
        begin_child([other_end, *self._connections])
        try:
            connection.send([self._function(item) for item in share])
        except Exception:  # the parent does it again, and meets it there
            os._exit(1)

    def __enter__(self) -> "ForkedMap":
        return self

    def __exit__(self, *_: object) -> None:
        for process, connection in zip(self._children, self._connections):
            connection.close()
            process.kill()
            process.join()
