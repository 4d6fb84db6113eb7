# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install` and `spack oci fetch`: a whole closure at once.

Spack's installers handle one package after the other, each with its own database transaction. Here the closure is
planned first; :mod:`spack_oci.operations.install.execute` then works on all
cores, and one transaction registers everything.
"""

import contextlib
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import spack.environment
import spack.hooks
import spack.llnl.util.tty as tty
import spack.mirrors.mirror
import spack.spec
import spack.store

from ...errors import ConfigurationError
from ...operations.install.execute import InstallLimits, fetch_all, install_all
from ...operations.install.outcome import FAILED, INSTALLED, InstallOutcome, failures_of
from ...util.progress import Reporter
from ...util.text import counted
from .. import compat, fetching
from ..bulk import locks
from ..bulk.steps import SpackSteps
from ..configuration import mirrors, settings
from ..hooks import cache_prefixes
from ..specs import packages
from .install_plan import ALL, Plan, Wanted, check_recipes, names, plan, still_missing


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
    found = plan(roots, wanted)
    check_recipes(found.missing)
    with _locked(found) as planned:
        cache_prefixes.cache_known_prefixes(roots)
        say = reporter.note if reporter and verbose else None
        steps = _steps(planned, explicit, say=say, unsigned=unsigned)
        options = settings.read()
        limits = InstallLimits(jobs or options.pack_jobs, options.transfer_jobs, max(1, options.prefetch_room))
        items = steps.items(planned.sizes)
        outcomes = steps.refused(items, limits.transfers)
        if not outcomes:
            if planned.missing:
                cache_prefixes.import_hooks()
                compat.install_sbang()
                _settle_externals(planned)
            outcomes = install_all(items, steps, limits, reporter, fail_fast=fail_fast)
    planned.origins.update(steps.origins)
    _mark_explicit(planned, explicit)
    if environment is not None:
        with environment.write_transaction():
            environment.write(regenerate=True)
    return planned, outcomes


def _steps(planned: Plan, explicit: "set[str]", **options: Any) -> SpackSteps:
    configured = fetching.configured_mirrors()
    candidates = {spec.dag_hash(): _oci_mirrors(spec, configured) for spec in planned.missing}
    return SpackSteps(candidates, planned.missing, explicit, overwritten=planned.overwritten, **options)


def _oci_mirrors(
    spec: "spack.spec.Spec", configured: List["spack.mirrors.mirror.Mirror"]
) -> List["spack.mirrors.mirror.Mirror"]:
    found = [m for m in fetching.candidates(spec.build_spec, [], configured) if mirrors.is_oci_mirror(m)]
    if not any(map(mirrors.is_oci_mirror, configured)):
        found = [mirrors.embedded_default()]
    if not found:
        raise ConfigurationError(
            f"no OCI mirror is configured that {packages.label(spec)} could be had from",
            remedy="add one with `spack mirror add NAME oci://HOST/NAME`",
        )
    return found


@contextlib.contextmanager
def _locked(planned: Plan) -> Iterator[Plan]:
    """Spack's locks on all prefixes of the plan, which then holds what is still missing: others may be faster."""
    while True:
        held = locks.lock_all(still_missing(planned).missing)
        if held is not None:
            break
        locks.pause()
    try:
        yield still_missing(planned)
    finally:
        locks.release(held)


def _settle_externals(planned: Plan) -> None:
    """As Spack's classic installer does: with the packages that need them, the database would add them without the
    module files that those of the packages load."""
    _, unknown = packages.partition_installed(packages.runtime_externals(*planned.missing))
    for spec in unknown:
        spack.hooks.post_install(spec, False)
        spack.store.STORE.db.add(spec, explicit=False)


def _mark_explicit(planned: Plan, explicit: "set[str]") -> None:
    """Roots that were installed as dependencies are wanted for themselves now."""
    database = spack.store.STORE.db
    for spec in planned.installed:
        if spec.dag_hash() in explicit and not database.get_record(spec).explicit:
            database.mark(spec, "explicit", True)


def fetch_closure(
    roots: Sequence["spack.spec.Spec"], *, reporter: Optional[Reporter] = None, unsigned: bool = False
) -> Tuple[Plan, List[InstallOutcome]]:
    """Fill the blob cache with what is missing of the closure of ``roots``, for an install without a network."""
    planned = plan(roots)
    steps = _steps(planned, set(), unsigned=unsigned)
    limits = InstallLimits(transfers=settings.read().transfer_jobs)
    items = steps.items(planned.sizes)
    outcomes = steps.refused(items, limits.transfers) or fetch_all(items, steps, limits, reporter)
    planned.origins.update(steps.origins)
    return planned, outcomes


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
    tty.info(text, stream=sys.stderr if failed else sys.stdout)


def print_failures(outcomes: Sequence[InstallOutcome], done: str) -> None:
    """``done``: "installed"."""
    errors, skipped = failures_of(outcomes, done)
    if errors:
        tty.error(*errors)
    if skipped:
        tty.warn(skipped)
