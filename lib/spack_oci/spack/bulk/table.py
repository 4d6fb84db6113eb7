# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The display of Spack's new installer while packages are installed in bulk: its own table on a terminal, and its own
lines elsewhere. The loop that draws it, and that reads keys, does not run meanwhile."""

import contextlib
import selectors
import threading
from typing import Any, Mapping, Optional

import spack.new_installer
import spack.spec

from ...operations.install.outcome import INSTALLED_LINE, InstallItem
from ...util.progress import Work
from ..hooks import notices


class Table:
    """A :class:`.run.Display`; called from threads."""

    def __init__(self, installer: Any) -> None:
        self._explicit = installer.explicit
        self._status = installer.build_status
        self._specs: Mapping[str, spack.spec.Spec] = {}
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._drawer: Optional[threading.Thread] = None
        self._terminal: Optional[_Terminal] = None

    def open(self, specs: Mapping[str, "spack.spec.Spec"]) -> None:
        self._specs = specs

    def begin(self, work: Work) -> None:
        """When processes were forked."""
        if self._status.is_tty:
            self._terminal = _Terminal(self._status)
            self._drawer = threading.Thread(target=self._draw, daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads: it is drawn when something happens
                self._drawer.start()

    def _draw(self) -> None:
        while not self._is_over.wait(spack.new_installer.SPINNER_INTERVAL):
            self._update()

    def _update(self) -> None:
        with self._lock:
            if self._terminal is not None:
                self._terminal.handle_keys()
            self._status.update()

    def started(self, name: str) -> None:
        spec = self._specs[name]
        with self._lock:
            self._status.add_build(spec, spec.dag_hash() in self._explicit, None)
            self.state(name, "fetching from build cache")

    def state(self, name: str, state: str) -> None:
        with self._lock:
            self._status.update_state(self._specs[name].dag_hash(), state)
            self._update()

    def arrived(self, item: InstallItem, count: int) -> None:
        """``count``: bytes of the package so far."""
        if item.size and self._status.is_tty:
            with self._lock:
                self._status.update_progress(item.dag_hash, min(count, item.size), item.size)
                self._update()

    def moved(self, count: int = 0, sent: int = 0) -> None: ...

    def finished(self, name: str, line: str = "") -> None:
        dag_hash = self._specs[name].dag_hash()
        with self._lock:
            if dag_hash not in self._status.builds:
                return  # not begun
            if line.startswith(INSTALLED_LINE):
                self.state(name, "finished")
            else:
                del self._status.builds[dag_hash]
                self._update()

    def fetching(self, line: str) -> None: ...

    def note(self, line: str) -> None: ...

    def warn(self, message: str) -> None:
        with self._lock:
            notices.show(self._status, message)

    def end(self) -> None:
        self._is_over.set()
        with contextlib.suppress(RuntimeError):  # not started
            if self._drawer is not None:
                self._drawer.join()
        with self._lock:
            if self._terminal is not None:
                self._terminal.end()
                self._terminal = None
            self._status.update()


class _Terminal:
    """Its size, job control, and the keys that mean something here: those of the filter. There are no logs to follow,
    and no builds to have more or fewer of."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self._state: Any = None
        kind = getattr(spack.new_installer, "TerminalState", None)  # since 1.2
        if kind is not None and kind.stdin_is_interactive():
            self._selector = selectors.DefaultSelector()
            self._state = kind(self._selector, status)
            self._state.setup()
            self._reader = self._state.create_stdin_reader()

    def handle_keys(self) -> None:
        if self._state is None:
            return
        for key, _ in self._selector.select(0):
            if key.data == "stdin":
                for character in self._reader.read():
                    self._press(character)
            elif key.data == "sigwinch":
                self._state.drain_sigwinch()
                self._status.on_resize()
        if self._status.headless and self._state.should_enter_foreground():
            self._state.enter_foreground()

    def _press(self, key: str) -> None:
        if not self._status.search_mode:
            if key == "/":
                self._status.enter_search()
        elif key not in "\r\n":  # which would follow the logs of what was found
            self._status.search_input(key)

    def end(self) -> None:
        if self._state is not None:
            self._state.teardown()
            self._selector.close()
            self._state = None
