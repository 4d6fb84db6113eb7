# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How long work tells what it does: lines in a log, a live display on a terminal, nothing where nobody looks.

Whoever does something with many parts is given a :class:`Reporter`; who calls it chooses which. Every method may be
called from any thread.
"""

import os
import re
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from typing import Callable, List, Optional, Protocol, TextIO

from .sizes import format_seconds, format_size


@dataclass(frozen=True)
class Work:
    """``count`` parts, called ``unit``; ``size``: their bytes, 0 if not known, and ``verb``: what is done to them."""

    count: int
    unit: str = "packages"
    size: int = 0
    verb: str = "read"


class Reporter(Protocol):
    def begin(self, work: Work) -> None: ...

    def started(self, name: str) -> None:
        """A part, which is shown as being worked on."""

    def moved(self, count: int = 0, sent: int = 0) -> None:
        """Bytes since the last call: ``count`` of the work's size; ``sent`` besides, if that is something else."""

    def finished(self, name: str, line: str = "") -> None:
        """A part, whether or not it was started; ``line`` stays in the log."""

    def note(self, line: str) -> None:
        """Something besides the parts, for the log."""

    def warn(self, message: str) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Says nothing, except warnings to whom they are for."""

    def __init__(self, warning: Callable[[str], None] = lambda message: None) -> None:
        self._warning = warning

    def begin(self, work: Work) -> None: ...

    def started(self, name: str) -> None: ...

    def moved(self, count: int = 0, sent: int = 0) -> None: ...

    def finished(self, name: str, line: str = "") -> None: ...

    def note(self, line: str) -> None: ...

    def warn(self, message: str) -> None:
        self._warning(message)

    def end(self) -> None: ...


class PlainLines:
    """For a log: a line for each part that has one, and for all of them when nothing was said for INTERVAL seconds.

    ``info`` and ``warning`` print a line, e.g. Spack's ``tty.info``.
    """

    INTERVAL = 15.0

    def __init__(
        self,
        info: Callable[[str], None] = lambda line: print(line, flush=True),
        warning: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._info = info
        self._warning = warning
        self._clock = clock
        self._lock = threading.RLock()
        self._work = Work(0)
        self._start = self._last = 0.0
        self._done = self._moved = self._sent = 0
        self._active: List[str] = []

    def begin(self, work: Work) -> None:
        with self._lock:
            self._work, self._done, self._moved, self._sent = work, 0, 0, 0
            self._active.clear()
            self._start = self._last = self._clock()

    def started(self, name: str) -> None:
        with self._lock:
            self._active.append(name)
            self._tick()

    def moved(self, count: int = 0, sent: int = 0) -> None:
        with self._lock:
            self._moved += count
            self._sent += sent
            self._tick()

    def finished(self, name: str, line: str = "") -> None:
        with self._lock:
            self._done += 1
            if name in self._active:
                self._active.remove(name)
            if line:
                self._last = self._clock()
                self._info(line)
            else:
                self._tick()

    def note(self, line: str) -> None:
        with self._lock:
            self._info(line)

    def warn(self, message: str) -> None:
        with self._lock:
            self._warning(message)

    def end(self) -> None: ...

    def _tick(self) -> None:
        now = self._clock()
        if now - self._last >= self.INTERVAL:
            self._last = now
            self._show(self._status(now))

    def _show(self, status: List[str]) -> None:
        self._info(", ".join(status))

    def _status(self, now: float) -> List[str]:
        """``3/7 packages``, ``12.0 MB of 30.0 MB read``, ``5.0 MB sent``, ``2.5 MB/s``, ``8s left``"""
        elapsed, work = max(now - self._start, 0.001), self._work
        parts = [f"{self._done}/{work.count} {work.unit}"]
        if work.size or self._moved:
            # what the size was not known to hold (manifests) may be moved, too
            of = f" of {format_size(work.size)}" if work.size >= self._moved else ""
            parts.append(f"{format_size(self._moved)}{of} {work.verb}")
        if self._sent:
            parts.append(f"{format_size(self._sent)} sent")
        if self._moved or self._sent:
            parts.append(f"{format_size((self._moved or self._sent) / elapsed)}/s")
        if 0 < self._moved < work.size:
            parts.append(f"{format_seconds(elapsed * (work.size - self._moved) / self._moved)} left")
        return parts


class LiveDisplay(PlainLines):
    """For a terminal: the lines of a log, and below them one line that is rewritten, with the parts at work."""

    INTERVAL = 0.1

    def __init__(
        self,
        stream: Optional[TextIO] = None,
        info: Optional[Callable[[str], None]] = None,
        warning: Optional[Callable[[str], None]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``stream``: the terminal; ``info`` and ``warning`` print to it, too."""
        self._stream = stream or sys.stdout
        say = info or self._print
        super().__init__(self._above(lambda line: say(_short(line))), self._above(warning or self._print), clock)

    def begin(self, work: Work) -> None:
        with self._lock:
            super().begin(work)
            self._show(self._status(self._start))

    def end(self) -> None:
        with self._lock:
            self._clear()

    def _print(self, line: str) -> None:
        self._stream.write(f"{line}\n")

    def _above(self, say: Callable[[str], None]) -> Callable[[str], None]:
        def above(line: str) -> None:
            self._clear()
            say(line)
            self._show(self._status(self._clock()))

        return above

    def _clear(self) -> None:
        self._stream.write("\r\033[K")
        self._stream.flush()

    def _show(self, status: List[str]) -> None:
        """What fits, and nothing of what does not: half a number is another number."""
        width = shutil.get_terminal_size().columns - 1
        line = status[0][:width]
        for part in [*(f", {part}" for part in status[1:]), *(f"  {name}" for name in self._active[:4])]:
            if len(line) + len(part) <= width:
                line += part
        self._stream.write("\r\033[K" + line)
        self._stream.flush()


def _short(line: str) -> str:
    """A line for people: the digests in it are those of a log, or of `--json`; whole, they take a line each."""
    return re.sub(r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b", r"\1", line)


def reporter_for(stream: TextIO, info: Callable[[str], None], warning: Callable[[str], None]) -> Reporter:
    """A live display if ``stream``, of the standard output, is a terminal that can rewrite a line, else lines; only
    warnings where the standard output was given to standard error, because it is kept for a JSON document."""
    if stream is sys.stderr:
        return Silent(warning)
    is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
    return LiveDisplay(stream, info, warning) if is_live else PlainLines(info, warning)
