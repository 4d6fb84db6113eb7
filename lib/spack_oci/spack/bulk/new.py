# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Bulk for Spack's new installer: what is installed here goes out of its graph, as if others had installed it."""

import contextlib
import functools
from typing import Any, Iterator, Set

import spack.spec
import spack.util.timer

from ...content import Progress
from ...operations.install.arriving import Begin
from ...operations.install.outcome import InstallItem
from ...util.concurrency.processes import can_fork
from ..specs import packages
from .run import ONE_BY_ONE, Done, Job, install_in_bulk, is_enabled, jobs
from .steps import Fetched, SpackSteps
from .table import Table


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
    if not is_enabled() or any(getattr(installer, name, None) for name in (*ONE_BY_ONE, "reports")):
        return Done()
    if not can_fork():  # this process would do it all, and the installer has children for it
        return Done()
    graph = getattr(installer, "build_graph", installer)  # of 1.1, the installer has the graph itself
    _, missing = packages.partition_installed([spec for spec in graph.nodes.values() if not spec.external])
    wanted = [spec for spec in missing if _may_come_from_cache(installer, graph, spec)]
    if len(wanted) < 2:
        return Done()
    hashes = {spec.dag_hash() for spec in missing}
    needs = {h: graph.parent_to_child.get(h, set()) & hashes for h in hashes}
    display = Table(installer)
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

    def __init__(self, display: "Table", *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._display = display

    def fetch(self, item: InstallItem, progress: Progress, begun: Begin) -> Fetched:
        arrived = 0

        def shown(count: int) -> None:
            nonlocal arrived
            arrived += count
            progress(count)
            self._display.arrived(item, arrived)

        result = super().fetch(item, shown, begun)
        self._display.state(item.label, "relocating")
        return result

    def _write_times(self, spec: "spack.spec.Spec", timer: "spack.util.timer.Timer") -> None: ...
