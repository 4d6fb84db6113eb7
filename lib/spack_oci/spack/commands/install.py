# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install` and `spack oci fetch`: a whole closure at once.

Spack's installers handle one package after the other, each with its own database transaction. Here the closure is
planned first; :mod:`spack_oci.operations.install.execute` then works on all
cores, and one transaction registers everything.
"""

import contextlib
import io
import os
import random
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import spack.cmd
import spack.config
import spack.environment
import spack.hooks
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.store
import spack.util.lock
import spack.util.timer

from ...archive.unpack.metadata import write_metadata
from ...archive.unpack.staging import remove_stale, remove_tree
from ...content import Progress
from ...errors import ConfigurationError, NotFound, SpackOciError, StorageError, TrustError
from ...operations.install.execute import (
    FAILED,
    INSTALLED,
    InstallItem,
    InstallLimits,
    InstallOutcome,
    failures_of,
    fetch_all,
    install_all,
)
from ...operations.install.fetch import RemotePackage
from ...relocate.mapping import Relocation
from ...util.progress import Reporter
from ...util.text import counted
from .. import compat, fetching, mirrors, packages, settings
from ..hooks import cache_prefixes, install, install_manifest, permissions
from ..hooks import database as hooks_database
from .install_plan import ALL, Plan, Wanted, names, plan, still_missing

#: seconds to wait for a lock; Spack takes 0 for "no time limit"
_AT_ONCE = 1e-9


class SpackSteps:
    """What :func:`install_all` does to each package, with Spack's own code wherever Spack has its say."""

    def __init__(
        self,
        planned: Plan,
        explicit: "set[str]",
        say: Optional[Callable[[str], None]] = None,
        unsigned: bool = False,
    ) -> None:
        """``say``: told where packages are fetched from; ``unsigned``: do not ask for signatures."""
        self._planned = planned
        self._say = say
        self._specs = {spec.dag_hash(): spec for spec in planned.missing}
        self._explicit = explicit
        self._candidates = {h: self._oci_mirrors(spec) for h, spec in self._specs.items()}
        used = {m.name: m for found in self._candidates.values() for m in found}
        # here: in threads, Spack's configuration is not asked
        self._guards = {name: fetching.guard_of(mirror, unsigned) for name, mirror in used.items()}
        self._relocations: Dict[str, Relocation] = {h: install.relocation_of(s) for h, s in self._specs.items()}

    def _oci_mirrors(self, spec: "spack.spec.Spec") -> List["spack.mirrors.mirror.Mirror"]:
        found = [m for m in fetching.candidates(spec.build_spec, []) if mirrors.is_oci_mirror(m)]
        if not mirrors.configured(mirrors.FETCH):
            found = [mirrors.embedded_default()]
        if not found:
            raise ConfigurationError(
                f"no OCI mirror is configured that {packages.label(spec)} could be had from",
                remedy="add one with `spack mirror add NAME oci://HOST/NAME`",
            )
        return found

    def items(self, sizes: Dict[str, int]) -> List[InstallItem]:
        return [
            InstallItem(
                dag_hash,
                packages.label(spec),
                str(spec.prefix),
                frozenset(d.dag_hash() for d in spec.traverse(root=False, deptype=("link", "run"))),
                sizes.get(dag_hash, 0),
            )
            for dag_hash, spec in self._specs.items()
        ]

    def fetch(self, item: InstallItem, progress: Progress) -> Tuple[str, RemotePackage]:
        """From the first mirror that has it; any failure but "not found" is told if another mirror helps."""
        spec = self._specs[item.dag_hash]
        failures: List[SpackOciError] = []
        for mirror in self._candidates[item.dag_hash]:
            try:
                fetched = fetching.fetch(
                    mirror,
                    spec.build_spec,
                    self._relocations[item.dag_hash],
                    progress=progress,
                    tell=self._say,
                    guard=self._guards[mirror.name],
                )
                self._planned.origins[item.dag_hash] = mirror.fetch_url
                return mirror.fetch_url, fetched.remote
            except NotFound as e:
                failures.insert(0, e)
            except SpackOciError as e:
                failures.append(e)
        error = next((e for e in failures if isinstance(e, TrustError)), failures[-1])
        if isinstance(error, NotFound):
            names = ", ".join(m.name for m in self._candidates[item.dag_hash])
            raise NotFound(
                f"{item.label} is not in {names}",
                remedy="push it, build it with `spack install`, or see with --reuse what mirrors have",
            ) from error
        raise error

    def extract(self, item: InstallItem, fetched: Tuple[str, RemotePackage]) -> None:
        url, remote = fetched
        mirror = next(m for m in self._candidates[item.dag_hash] if m.fetch_url == url)
        package = fetching.FetchedPackage(remote, mirrors.open_store(mirror, mirrors.FETCH), fetching.blob_cache())
        spec = self._specs[item.dag_hash]
        timer = spack.util.timer.Timer()
        with timer.measure("install"):
            # what is there and not in the database was left by an install that was killed
            is_there = os.path.lexists(item.prefix)
            if is_there:
                _check_nothing_inside(item)
            install.install_fetched(spec, package, is_there, self._relocations[item.dag_hash])
        timer.stop()
        times = io.StringIO()
        timer.write_json(times, {"name": spec.name, "cache": True, "hash": item.dag_hash})
        write_metadata(item.prefix, os.path.basename(spec.package.times_log_path), times.getvalue().encode("utf-8"))

    def finish(self, item: InstallItem) -> None:
        spec = self._specs[item.dag_hash]
        spack.store.STORE.layout.ensure_installed(spec)
        if hasattr(spec.package, "_post_buildcache_install_hook"):
            spec.package._post_buildcache_install_hook()
        spec.package.installed_from_binary_cache = True
        permissions.will_be_set(item.dag_hash)
        install_manifest.will_be_updated(item.dag_hash)
        spack.hooks.post_install(spec, item.dag_hash in self._explicit)

    def register(self, items: Sequence[InstallItem]) -> None:
        if items:
            database = spack.store.STORE.db
            with database.write_transaction(), hooks_database.ensured(item.dag_hash for item in items):
                for item in items:
                    database.add(self._specs[item.dag_hash], explicit=item.dag_hash in self._explicit)

    def discard(self, item: InstallItem) -> None:
        # one that was overwritten is registered: the old one, or the new one
        if item.dag_hash not in self._planned.overwritten and _installed_inside(item.prefix) is None:
            remove_tree(item.prefix)
        remove_stale(item.prefix)


def _installed_inside(prefix: str) -> Optional["spack.spec.Spec"]:
    """An installed package whose prefix is in ``prefix``, if there is one."""
    installed = spack.store.STORE.db.query_local(installed=True)
    return next((spec for spec in installed if str(spec.prefix).startswith(prefix + os.sep)), None)


def _check_nothing_inside(item: InstallItem) -> None:
    """Raise StorageError if the prefix of an installed package is in that of ``item``, which is to be replaced."""
    other = _installed_inside(item.prefix)
    if other is not None:
        raise StorageError(
            f"installing {item.label}: {packages.label(other)} is installed in its prefix, {item.prefix}",
            remedy="uninstall that package first, and install both together",
        )


def install_closure(
    roots: Sequence["spack.spec.Spec"],
    wanted: Wanted = ALL,
    *,
    jobs: Optional[int] = None,
    reporter: Optional[Reporter] = None,
    verbose: bool = False,
    fail_fast: bool = False,
    unsigned: bool = False,
) -> Tuple[Plan, List[InstallOutcome]]:
    """Install what is missing of the closure of ``roots``, and write the views of the active environment.

    ``reporter``: told of each package; None: nobody is. ``verbose``: say where packages are fetched from;
    ``fail_fast``: raise the first failure, when what was complete is registered; ``unsigned``: do not ask for
    signatures.
    """
    environment = spack.environment.active_environment()
    explicit = {s.dag_hash() for s in (environment.concrete_roots() if environment else roots)}
    with _locked(plan(roots, wanted)) as planned:
        cache_prefixes.cache_known_prefixes(roots)
        steps = SpackSteps(planned, explicit, reporter.note if reporter and verbose else None, unsigned)
        if planned.missing:
            cache_prefixes.import_hooks()
            compat.install_sbang()
        options = settings.read()
        limits = InstallLimits(jobs or options.pack_jobs, options.transfer_jobs, max(1, options.prefetch_room))
        outcomes = install_all(steps.items(planned.sizes), steps, limits, reporter, fail_fast=fail_fast)
    _mark_explicit(planned, explicit)
    if environment is not None:
        with environment.write_transaction():
            environment.write(regenerate=True)
    return planned, outcomes


def _mark_explicit(planned: Plan, explicit: "set[str]") -> None:
    """Roots that were installed as dependencies are wanted for themselves now."""
    database = spack.store.STORE.db
    for spec in planned.installed:
        if spec.dag_hash() in explicit and not database.get_record(spec).explicit:
            database.mark(spec, "explicit", True)


@contextlib.contextmanager
def _locked(planned: Plan) -> Iterator[Plan]:
    """Spack's locks on all prefixes of the plan, which then holds what is still missing: others may have been faster.

    Never waits for a lock while it holds one: Spack's installers keep a read lock on everything that they have
    installed while they wait for the next, so two that wait for each other would wait for ever.
    """
    while True:
        held = _try_to_lock(still_missing(planned).missing)
        if held is not None:
            break
        time.sleep(random.uniform(0.05, 0.5))
    try:
        yield still_missing(planned)
    finally:
        _release(held)


def _try_to_lock(specs: Sequence["spack.spec.Spec"]) -> Optional[List[Any]]:
    """Write locks on the prefixes of all ``specs``, or none (None) when somebody else holds one of them."""
    held: List[Any] = []
    for spec in specs:
        lock = spack.store.STORE.prefix_locker.lock(spec)
        try:
            lock.acquire_write(_AT_ONCE)
        except spack.util.lock.LockTimeoutError:
            _release(held)
            return None
        except spack.util.lock.LockError as e:
            _release(held)
            raise StorageError(f"cannot lock {spec.prefix}: {e}", remedy="check the permissions of the install tree")
        except BaseException:
            _release(held)
            raise
        held.append(lock)
    return held


def _release(locks: Sequence[Any]) -> None:
    for lock in locks:
        lock.release_write()


def fetch_closure(
    roots: Sequence["spack.spec.Spec"], *, reporter: Optional[Reporter] = None, unsigned: bool = False
) -> Tuple[Plan, List[InstallOutcome]]:
    """Fill the blob cache with what is missing of the closure of ``roots``, for an install without a network."""
    planned = plan(roots)
    steps = SpackSteps(planned, set(), unsigned=unsigned)
    limits = InstallLimits(transfers=settings.read().transfer_jobs)
    return planned, fetch_all(steps.items(planned.sizes), steps, limits, reporter)


def outcome_document(planned: Plan, outcomes: Sequence[InstallOutcome]) -> Dict[str, Any]:
    """For ``--json``."""
    by_hash = {spec.dag_hash(): spec for spec in planned.missing}
    return {
        "packages": [
            {
                **names(by_hash[o.item.dag_hash]),
                "prefix": o.item.prefix,
                "status": o.status,
                **({"mirror": planned.origins[o.item.dag_hash]} if o.item.dag_hash in planned.origins else {}),
                **({"error": str(o.error)} if o.error else {}),
            }
            for o in outcomes
        ],
        "installed_before": [names(spec) for spec in planned.installed],
    }


def print_outcome(planned: Plan, outcomes: Sequence[InstallOutcome], verb: str) -> None:
    done = sum(o.status == INSTALLED for o in outcomes)
    failed = sum(o.status == FAILED for o in outcomes)
    rest = len(outcomes) - done - failed
    print_failures(outcomes, verb.lower())
    text = f"{verb} {counted(done, 'package')}"
    if planned.installed:
        text += f", {len(planned.installed)} installed before"
    if failed or rest:
        text += f"; {failed} failed, {rest} not tried"
    print(text, file=sys.stderr if failed else sys.stdout)


def print_failures(outcomes: Sequence[InstallOutcome], done: str) -> None:
    """``done``: "installed"."""
    errors, skipped = failures_of(outcomes, done)
    if errors:
        tty.error(*errors)
    if skipped:
        tty.warn(skipped)
