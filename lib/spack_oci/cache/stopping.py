# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Ending early: transfers that are cut off, SIGTERM as an orderly exit, and a Ctrl-C that is not lost in a fork."""

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, Iterator

from ..content import BlobSource


@dataclass(frozen=True)
class Stoppable:
    """A source whose reading raises what ``check`` raises, to end a transfer in the middle."""

    source: BlobSource
    check: Callable[[], None]

    def open(self) -> BinaryIO:
        return _StoppableReader(self.source.open(), self.check)  # type: ignore[return-value]


class _StoppableReader:
    def __init__(self, stream: BinaryIO, check: Callable[[], None]) -> None:
        self._stream = stream
        self._check = check
        self.seekable = stream.seekable
        self.seek = stream.seek if stream.seekable() else None

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "_StoppableReader":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


@contextmanager
def termination_is_an_exit() -> Iterator[None]:
    """SIGTERM ends the process the way Ctrl-C does, so that what is temporary is removed.

    Only in the main thread, which alone gets signals, and only if nobody else handles it.
    """
    alone = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not alone:
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """SIGINT is delivered at the end of the block; to be put around a fork.

    One that comes during ``fork()`` is raised as KeyboardInterrupt in the first Python function that runs after it.
    That is a hook of ``os.register_at_fork`` (``logging`` has one), whose exceptions Python prints
    and drops. The child begins with SIGINT blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
