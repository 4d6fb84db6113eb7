# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A packing process that is forked: ready at once, where one that is started anew needs 0.1 s on every core."""

import os
import threading
from functools import partial
from typing import List, Sequence

from ...util.processes import begin_child, fork_process, fork_up_to
from .pack_worker import PackWorker, serve


class ForkedPacker:
    """As much of a ``Popen`` as a :class:`PackWorker` uses."""

    def __init__(self, earlier: Sequence["ForkedPacker"]) -> None:
        """``earlier``: of this process, whose pipes the new one has nothing to do with."""
        requests, our_requests = os.pipe()
        our_answers, answers = os.pipe()
        self.stdin = os.fdopen(our_requests, "w", encoding="ascii")
        self.stdout = os.fdopen(our_answers, "r", encoding="ascii")
        self._guard = threading.Lock()
        try:
            self._process = fork_process(partial(_serve, requests, answers, [self, *earlier]))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(requests)
            os.close(answers)
        self.pid = self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        with self._guard:
            self._process.join()
            return self._process.exitcode

    def communicate(self) -> None:
        self.close()
        self.wait()

    def close(self) -> None:
        self.stdin.close()
        self.stdout.close()


def forked_workers(count: int) -> List[PackWorker]:
    """No other thread may be running. For ``count`` and OSError, see :func:`.forked_pool.fork_up_to`."""
    packers: List[ForkedPacker] = []
    fork_up_to(count, packers, lambda: ForkedPacker(packers))
    return [PackWorker(packer) for packer in packers]


def _serve(requests: int, answers: int, inherited: Sequence[ForkedPacker]) -> None:
    begin_child(inherited)
    with os.fdopen(requests, "r", encoding="ascii") as questions, os.fdopen(answers, "w", encoding="ascii") as replies:
        serve(questions, replies)
