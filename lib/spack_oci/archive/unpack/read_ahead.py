# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Decompresses in a second thread, while the first one makes files of what is there."""

import contextlib
import queue
import threading
from typing import Any, Optional

#: bytes that are decompressed at a time
CHUNK = 1 << 20
#: chunks that may wait
_AHEAD = 8
#: compressed bytes below which a thread costs more than it saves
_SMALL = 512 << 10


class ReadAhead:
    """Reads ``stream`` in chunks; :meth:`read` returns the next one, b"" at the end, or raises what the stream raised.

    ``size``: of the compressed stream, if known; small ones are read in the calling thread, and so are all where the
    system allows no further thread.
    """

    def __init__(self, stream: Any, size: Optional[int] = None) -> None:
        self._stream = stream
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._ended = False
        self._thread: Optional[threading.Thread] = None
        if size is None or size > _SMALL:
            thread = threading.Thread(target=self._work, name="decompress", daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def read(self) -> bytes:
        if self._ended:
            return b""
        if self._thread is None:
            item = self._stream.read(CHUNK)
        else:
            item = self._queue.get()
            if isinstance(item, BaseException):
                self._ended = True
                raise item
        self._ended = not item
        return item

    def _work(self) -> None:
        item: Any = None
        while item != b"" and not isinstance(item, BaseException) and not self._stopped.is_set():
            try:
                item = self._stream.read(CHUNK)
            except BaseException as e:  # noqa: B036  (raised again in the thread that reads)
                item = e
            while not self._stopped.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopped.set()
        if self._thread is not None:
            while self._thread.is_alive():
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    self._thread.join(0.01)
