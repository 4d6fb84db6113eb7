# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How a push tells what it does: one line a package in a log, a live display on a terminal.

Reporters are called from one thread, except ``started``, ``moved`` and ``warn``, which any thread may call.
"""

import sys
import threading
import time
from typing import Callable, Dict, Optional, Protocol, TextIO

from ..package.record import Package
from ..util.sizes import format_seconds, format_size
from .push.outcome import PackageOutcome


class Reporter(Protocol):
    def begin(self, packages: int, read: int) -> None:
        """So many packages will be pushed; ``read``: bytes of their prefixes."""

    def started(self, package: Package) -> None: ...

    def moved(self, package: Package, read: int = 0, sent: int = 0) -> None:
        """Bytes since the last call: ``read`` from the prefix, ``sent`` to the store."""

    def finished(self, outcome: PackageOutcome) -> None: ...

    def warn(self, message: str) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Says nothing."""

    def begin(self, packages: int, read: int) -> None: ...

    def started(self, package: Package) -> None: ...

    def moved(self, package: Package, read: int = 0, sent: int = 0) -> None: ...

    def finished(self, outcome: PackageOutcome) -> None: ...

    def warn(self, message: str) -> None: ...

    def end(self) -> None: ...


class PlainLines(Silent):
    """One line for each package, in Spack's words; ``info`` and ``warning`` print a line, e.g. Spack's ``tty.info``."""

    def __init__(
        self,
        info: Callable[[str], None] = lambda line: print(line, flush=True),
        warning: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self._info = info
        self._warning = warning
        self._total = 0
        self._done = 0

    def begin(self, packages: int, read: int) -> None:
        self._total, self._done = packages, 0

    def finished(self, outcome: PackageOutcome) -> None:
        self._done += 1
        self._info(self._counter() + outcome_line(outcome))

    def warn(self, message: str) -> None:
        self._warning(message)

    def _counter(self) -> str:
        return f"[{self._done:{len(str(self._total))}}/{self._total}] " if self._total > 1 else ""


def outcome_line(outcome: PackageOutcome) -> str:
    label = outcome.package.label
    if outcome.error is not None:
        return f"Failed to push {label}: {outcome.error}"
    if outcome.layer is None:
        return f"Skipped {label}"
    seconds = max(outcome.seconds, 0.001)
    rate = outcome.layer.descriptor.size / seconds / 1e6
    return f"Pushed {label}: {outcome.layer.descriptor.digest} ({seconds:.2f}s, {rate:.2f} MB/s)"


class LiveDisplay(PlainLines):
    """Finished packages as lines, and below them one line that is rewritten: packages, bytes, rate, remaining time."""

    INTERVAL = 0.1

    def __init__(self, stream: Optional[TextIO] = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(self._print, self._print)
        self._stream = stream or sys.stdout
        self._clock = clock
        self._lock = threading.Lock()
        self._start = self._last = 0.0
        self._to_read = self._read = self._sent = 0
        self._active: Dict[str, str] = {}

    def begin(self, packages: int, read: int) -> None:
        super().begin(packages, read)
        self._to_read, self._start = read, self._clock()

    def started(self, package: Package) -> None:
        with self._lock:
            self._active[package.dag_hash] = package.name

    def moved(self, package: Package, read: int = 0, sent: int = 0) -> None:
        with self._lock:
            self._read += read
            self._sent += sent
            now = self._clock()
            if now - self._last >= self.INTERVAL:
                self._last = now
                self._draw(now)

    def finished(self, outcome: PackageOutcome) -> None:
        with self._lock:
            self._active.pop(outcome.package.dag_hash, None)
        super().finished(outcome)

    def end(self) -> None:
        with self._lock:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _print(self, line: str) -> None:
        with self._lock:
            self._stream.write(f"\r\033[K{line}\n")
            self._draw(self._clock())

    def _draw(self, now: float) -> None:
        elapsed = max(now - self._start, 0.001)
        parts = [f"{self._done}/{self._total} packages"]
        if self._to_read:
            parts.append(f"{format_size(self._read)} of {format_size(self._to_read)} read")
        parts.append(f"{format_size(self._sent)} sent")
        parts.append(f"{format_size((self._read or self._sent) / elapsed)}/s")
        if 0 < self._read < self._to_read:
            parts.append(f"{format_seconds(elapsed * (self._to_read - self._read) / self._read)} left")
        line = ", ".join(parts) + "".join(f"  {name}" for name in list(self._active.values())[:4])
        self._stream.write("\r\033[K" + line[: self._width() - 1])
        self._stream.flush()

    def _width(self) -> int:
        import shutil

        return shutil.get_terminal_size().columns
