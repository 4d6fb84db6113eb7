# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Bulk for Spack's new installer: what is installed here goes out of its graph, as if others had installed it."""

import contextlib
import functools
import threading
from typing import Any, Iterator, Mapping, Set

import spack.spec
import spack.util.timer

from ...content import Progress
from ...operations.install.execute import INSTALLED_LINE, InstallItem
from ...util.progress import Work
from .. import packages
from ..hooks import notices
from .run import Done, Job, install_in_bulk, is_enabled, jobs
from .steps import Fetched, SpackSteps

#: options with which packages are installed one by one
_ONE_BY_ONE = ("overwrite", "fake", "keep_stage", "keep_prefix", "stop_at", "stop_before", "tests", "reports")


@contextlib.contextmanager
def shortened_graph(installer: Any) -> Iterator[None]:
    """Around the work of the installer, which then has to do only what is left; until its end, nobody uninstalls what
    was installed here."""
    done = _install(installer)
    # the installer of 1.1 waits for a lock on all prefixes: nobody may hold one meanwhile
    has_locks_of_its_own = hasattr(installer, "build_graph")
    try:
        if not has_locks_of_its_own:
            _release(done)
        yield
    finally:
        _release(done)


def _release(done: Done) -> None:
    while done.locks:
        _, lock = done.locks.popitem()
        lock.release_read()


def _install(installer: Any) -> Done:
    if not is_enabled() or any(getattr(installer, name, None) for name in _ONE_BY_ONE):
        return Done()
    graph = getattr(installer, "build_graph", installer)  # of 1.1, the installer has the graph itself
    ours = [spec for spec in graph.nodes.values() if not spec.external and not spec.installed_upstream]
    _, missing = packages.partition_installed(ours)
    wanted = [spec for spec in missing if _may_come_from_cache(installer, graph, spec)]
    if len(wanted) < 2:
        return Done()
    hashes = {spec.dag_hash() for spec in missing}
    needs = {h: graph.parent_to_child.get(h, set()) & hashes for h in hashes}
    display = _Table(installer)
    job = Job(
        wanted,
        needs,
        installer.explicit,
        bool(installer.unsigned),
        min(jobs(), getattr(installer, "capacity", jobs())),
        functools.partial(_ShownSteps, display),
    )
    done = install_in_bulk(job, display)
    _take_out(installer, graph, done)
    return done


def _may_come_from_cache(installer: Any, graph: Any, spec: "spack.spec.Spec") -> bool:
    is_root = spec.dag_hash() in getattr(graph, "roots", ())
    return getattr(installer, "root_policy" if is_root else "dependencies_policy", "auto") != "source_only"


def _take_out(installer: Any, graph: Any, done: Done) -> None:
    """As ``BuildGraph.enqueue_parents`` does with what is installed; the graph of 1.1 has no such method."""
    known: Set[str] = getattr(graph, "done", set())
    for dag_hash in done.outcomes:
        known.add(dag_hash)
        graph.nodes.pop(dag_hash, None)
        for child in graph.parent_to_child.pop(dag_hash, ()):  # an external
            graph.child_to_parent.get(child, set()).discard(dag_hash)
        for parent in graph.child_to_parent.pop(dag_hash, ()):
            graph.parent_to_child.get(parent, set()).discard(dag_hash)
    if done.outcomes:
        installer.pending_builds[:] = [h for h, children in graph.parent_to_child.items() if not children]


class _ShownSteps(SpackSteps):
    """Of a package from a cache, this installer measures nothing; it shows what is being done to each."""

    def __init__(self, display: "_Table", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._display = display

    def fetch(self, item: InstallItem, progress: Progress) -> Fetched:
        arrived = 0

        def shown(count: int) -> None:
            nonlocal arrived
            arrived += count
            progress(count)
            self._display.arrived(item, arrived)

        result = super().fetch(item, shown)
        self._display.state(item.label, "relocating")
        return result

    def _write_times(self, spec: "spack.spec.Spec", timer: "spack.util.timer.Timer") -> None: ...


class _Table:
    """The installer's own display: a table on a terminal, lines elsewhere. Called from threads."""

    def __init__(self, installer: Any) -> None:
        self._explicit = installer.explicit
        self._status = installer.build_status
        self._specs: Mapping[str, spack.spec.Spec] = {}
        self._lock = threading.RLock()

    def open(self, specs: Mapping[str, "spack.spec.Spec"]) -> None:
        self._specs = specs

    def begin(self, work: Work) -> None: ...

    def started(self, name: str) -> None:
        spec = self._specs[name]
        with self._lock:
            self._status.add_build(spec, spec.dag_hash() in self._explicit, None)
            self.state(name, "fetching from build cache")

    def state(self, name: str, state: str) -> None:
        with self._lock:
            self._status.update_state(self._specs[name].dag_hash(), state)
            self._status.update()

    def arrived(self, item: InstallItem, count: int) -> None:
        with self._lock:
            if item.size and self._status.is_tty:
                self._status.update_progress(item.dag_hash, min(count, item.size), item.size)
                self._status.update()

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
                self._status.update()

    def fetching(self, line: str) -> None: ...

    def note(self, line: str) -> None: ...

    def warn(self, message: str) -> None:
        with self._lock:
            notices.show(self._status, message)

    def end(self) -> None:
        with self._lock:
            self._status.update()
