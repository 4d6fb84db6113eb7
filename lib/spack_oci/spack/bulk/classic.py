# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Bulk for Spack's classic installer: its queue is made, shortened by what is installed here, and given back."""

import heapq
import json
import sys
from typing import Any, Callable, Dict, List, Mapping, Set

import spack.installer
import spack.llnl.util.tty as tty
import spack.report
import spack.spec
import spack.store
import spack.util.timer

from ...operations.install.outcome import INSTALLED_LINE
from ...util.order import dependencies_first
from ...util.progress import Work, reporter_for
from .. import fetching
from ..specs import packages
from .run import ONE_BY_ONE, Done, Job, install_in_bulk, is_enabled, jobs
from .steps import Fetched, SpackSteps


def shorten_queue(installer: Any) -> None:
    """Do what the installer's queue has of packages from OCI mirrors, and of what is there already."""
    if not is_enabled() or any(r.install_args.get(name) for r in installer.build_requests for name in ONE_BY_ONE):
        return
    tasks = {task.pkg.spec.dag_hash(): task for task in installer.build_tasks.values()}
    missing = _missing(tasks)
    if sum(map(_may_come_from_cache, missing.values())) < 2:
        return
    status = spack.installer.InstallStatus(len(tasks))
    _settle_what_is_there(installer, {h: t for h, t in tasks.items() if h not in missing}, status)
    # the installer has removed the marks that nobody holds
    failed = spack.store.STORE.failure_tracker.persistent_mark
    wanted = [t.pkg.spec for t in missing.values() if _may_come_from_cache(t) and not failed(t.pkg.spec)]
    explicit = {h for h, task in missing.items() if task.explicit}
    unsigned = any(r.install_args.get("unsigned") for r in installer.build_requests)
    job = Job(wanted, _needs(installer, missing), explicit, unsigned, jobs(), _TimedSteps)
    _take_out(installer, missing, install_in_bulk(job, _Lines(installer, status)))


def _may_come_from_cache(task: Any) -> bool:
    """By the user's policy for roots and dependencies; until 1.1 there was a flag for each."""
    policy = getattr(task, "install_policy", None)
    may = task.use_cache if policy is None else policy != "source_only"
    return bool(may) and type(task) is spack.installer.BuildTask


def _missing(tasks: Mapping[str, Any]) -> Dict[str, Any]:
    _, missing = packages.partition_installed([t.pkg.spec for t in tasks.values() if not t.pkg.spec.external])
    return {spec.dag_hash(): tasks[spec.dag_hash()] for spec in missing}


def _settle_what_is_there(installer: Any, tasks: Mapping[str, Any], status: Any) -> None:
    """Spack's own steps for externals and what is installed; its loop would sleep after each of them. Externals come
    before those that need them, as the database would add them without their hooks."""
    by_id = {task.pkg_id: h for h, task in tasks.items()}
    silent = spack.installer.TermStatusLine(enabled=False)
    needs = {h: [by_id[d] for d in task.dependencies if d in by_id] for h, task in tasks.items()}
    for dag_hash in dependencies_first(needs):
        task = tasks[dag_hash]
        if all(i in installer.installed or i in by_id for i in task.dependencies):
            current = installer._remove_task(task.pkg_id) or task
            installer.start_task(current, status, silent)
            installer.complete_task(current, status)


def _needs(installer: Any, missing: Mapping[str, Any]) -> Dict[str, Set[str]]:
    """The installer lets each package wait for these; also for build dependencies, if it installs them."""
    by_id = {task.pkg_id: h for h, task in missing.items()}
    return {
        h: {by_id.get(i, i) for i in task.dependencies if i not in installer.installed} for h, task in missing.items()
    }


def _take_out(installer: Any, tasks: Mapping[str, Any], done: Done) -> None:
    """As if the installer had done these itself."""
    for dag_hash, outcome in done.outcomes.items():
        task = tasks[dag_hash]
        installer.build_tasks.pop(task.pkg_id, None)
        installer.installed.add(task.pkg_id)
        installer.locks[task.pkg_id] = ("read", done.locks[dag_hash])
        task.status = spack.installer.BuildStatus.INSTALLED
        installer.reports[task.request.pkg_id].append_record(_Record(task.pkg.spec, outcome.seconds))
    left = list(installer.build_tasks.values())
    for task in left:
        task.flag_installed(installer.installed)
    installer.build_pq[:] = [(task.key, task) for task in left]
    heapq.heapify(installer.build_pq)


class _Record(spack.report.InstallRecord):
    """Of a package that is installed, for a report. The record of the installer holds the log of the build; here that
    is read when somebody wants it, which without `--log-format` nobody does."""

    def __init__(self, spec: "spack.spec.Spec", seconds: float) -> None:
        super().__init__(spec)
        self.result = "success"
        self.elapsed_time = seconds
        self.installed_from_binary_cache = True

    def __contains__(self, key: Any) -> bool:
        return key == "stdout" or super().__contains__(key)

    def __missing__(self, key: str) -> str:
        if key != "stdout":
            raise KeyError(key)
        self.stdout: str = self.fetch_log()
        return self.stdout


class _TimedSteps(SpackSteps):
    """With the phases that the classic installer measures."""

    def _time_before(self, timer: "spack.util.timer.Timer", clock: Any, fetched: Fetched) -> None:
        with timer.measure("search"):
            pass
        with timer.measure("fetch"):
            clock.added += fetched.seconds

    def _extract(
        self, spec: "spack.spec.Spec", package: fetching.Package, replace: bool, timer: "spack.util.timer.Timer"
    ) -> None:
        with timer.measure("extract"):
            super()._extract(spec, package, replace, timer)
        with timer.measure("relocate"):  # done on the way
            pass


class _Lines:
    """The lines that the classic installer prints for each package; on a terminal, what is being done below them."""

    def __init__(self, installer: Any, status: Any) -> None:
        self._installer = installer
        self._status = status
        self._specs: Mapping[str, spack.spec.Spec] = {}
        # called for each line, one after the other; the name of a package stands for all of its lines
        self._base = reporter_for(sys.stdout, self._print, tty.warn)
        self.begin: Callable[[Work], None] = self._base.begin
        self.started = self._base.started
        self.moved = self._base.moved
        self.note = self._base.note
        self.warn = self._base.warn
        self.end = self._base.end
        self.fetching = self._base.note

    def open(self, specs: Mapping[str, "spack.spec.Spec"]) -> None:
        self._specs = specs

    def finished(self, name: str, line: str = "") -> None:
        self._base.finished(name, name if line.startswith(INSTALLED_LINE) else "")

    def _print(self, line: str) -> None:
        spec = self._specs.get(line)
        if spec is None:
            tty.info(line)
            return
        package_id = spack.installer.package_id(spec)
        tty.msg(f"Extracting {package_id} from binary cache")
        prefix = spack.installer._log_prefix(spec.name)
        tty.msg(f"{prefix} Successfully installed {package_id}", "  ".join(_times_of(spec)))
        spack.installer._print_installed_pkg(str(spec.prefix))
        self._status.next_pkg(spec.package)
        self._status.set_term_title(f"Installing {spec.name}")
        tty.msg(spack.installer.install_msg(package_id, self._installer.pid, self._status))


def _times_of(spec: "spack.spec.Spec") -> List[str]:
    """As the installer prints what it has measured."""
    try:
        with open(spec.package.times_log_path, encoding="utf-8") as f:
            times = json.load(f)
        phases = [f"{p['name'].capitalize()}: {spack.installer._hms(p['seconds'])}." for p in times["phases"]]
        return [*phases, f"Total: {spack.installer._hms(times['total'])}"]
    except (OSError, ValueError, KeyError):
        return []
