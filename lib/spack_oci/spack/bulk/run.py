# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An install in bulk on behalf of one of Spack's installers, which then takes what is left.

The packages are handed over as the installer would have left them: registered, with a read lock on their prefixes. What
could not be installed here is as it was, and the installer deals with it by its own rules.
"""

from dataclasses import dataclass, field
from typing import Any, Callable, Collection, Dict, Mapping, NamedTuple, Protocol, Sequence

import spack.config
import spack.llnl.util.tty as tty
import spack.spec

from ...errors import SpackOciError, TrustError
from ...operations.install.closure import untrusted_error
from ...operations.install.execute import InstallLimits, install_all
from ...operations.install.outcome import INSTALLED, InstallOutcome
from ...util.progress import Reporter
from .. import compat
from ..configuration import settings
from ..hooks import cache_prefixes, install
from ..specs import packages
from . import locks
from .choose import Choice, choose, may_write
from .steps import SpackSteps

#: options of both installers with which packages are installed one by one
ONE_BY_ONE = ("overwrite", "fake", "keep_stage", "keep_prefix", "stop_at", "stop_before", "tests")


class Job(NamedTuple):
    """``wanted``: what may come from a cache and is not installed; ``needs``: DAG hash -> what is not installed either
    and has to be there first; ``explicit``: DAG hashes; ``workers``: processes, at most."""

    wanted: Sequence["spack.spec.Spec"]
    needs: Mapping[str, Collection[str]]
    explicit: Collection[str]
    unsigned: bool
    workers: int
    #: makes the steps, with the arguments of SpackSteps
    steps: Callable[..., SpackSteps]


@dataclass
class Done:
    """DAG hash -> outcome of what was installed, dependencies first, and its read lock."""

    outcomes: Dict[str, InstallOutcome] = field(default_factory=dict)
    locks: Dict[str, Any] = field(default_factory=dict)


class Display(Reporter, Protocol):
    """What the user sees of it: what the installer would show."""

    def open(self, specs: Mapping[str, "spack.spec.Spec"]) -> None:
        """Before all else, with what is going to be installed, by label."""

    def fetching(self, line: str) -> None:
        """In a thread: where a package is fetched from."""


def install_in_bulk(job: Job, display: Display) -> Done:
    """Install what of ``job`` can be had from OCI mirrors. Failures are left for the installer to find, but for a
    package that a policy refuses: raises TrustError then, before anything is installed."""
    if not may_write():
        return Done()
    try:
        choice = choose(job.wanted, job.needs)
        if len(choice.specs) < 2:  # as fast without processes
            return Done()
        return _install_unlocked(job, choice, display)
    except _Refused as e:
        raise e.error from None
    except SpackOciError as e:  # such as an index that a policy refuses: the installer will meet it, and say so
        tty.debug(f"nothing is installed in bulk: {_line(e)}")
    except Exception as e:
        tty.warn(f"packages are installed one by one, because {_line(e)}")
    return Done()


class _Refused(Exception):
    def __init__(self, error: TrustError) -> None:
        super().__init__(error)
        self.error = error


def _install_unlocked(job: Job, choice: Choice, display: Display) -> Done:
    held = locks.lock_free(list(choice.specs.values()))
    try:
        # whoever has the others is installing them, or has done so since
        _, missing = packages.partition_installed([choice.specs[h] for h in held])
        choice.keep((s.dag_hash() for s in missing), job.needs)
        done = _install(job, choice, display) if choice.specs else Done()
        for dag_hash in done.outcomes:
            held[dag_hash].downgrade_write_to_read()
            done.locks[dag_hash] = held.pop(dag_hash)
        return done
    finally:
        locks.release(list(held.values()))


def _install(job: Job, choice: Choice, display: Display) -> Done:
    specs = list(choice.specs.values())
    cache_prefixes.cache_known_prefixes(specs)
    cache_prefixes.import_hooks()
    compat.install_sbang()
    steps = job.steps(
        choice.candidates, specs, job.explicit, say=display.fetching, warn=display.warn, unsigned=job.unsigned
    )
    options = settings.read()
    limits = InstallLimits(min(job.workers, options.pack_jobs), options.transfer_jobs, max(1, options.prefetch_room))
    items = steps.items(choice.sizes, job.needs)
    refused = steps.refused(items, limits.transfers)
    if refused:
        raise _Refused(untrusted_error(refused))
    tty.debug(f"In bulk: {' '.join(packages.label(spec) for spec in specs)}")
    display.open({packages.label(spec): spec for spec in specs})
    outcomes: Sequence[InstallOutcome] = ()
    try:
        outcomes = install_all(items, steps, limits, display)
    except Exception as e:  # whatever it is: what is there is registered, and the installer can do the rest
        tty.warn(f"packages are installed one by one, because {_line(e)}")
    finally:
        display.end()
    install.absent.update((name, h) for h, names in steps.absent.items() for name in names)
    return _handed_over(specs, {outcome.item.dag_hash: outcome for outcome in outcomes})


def _handed_over(specs: Sequence["spack.spec.Spec"], outcomes: Mapping[str, InstallOutcome]) -> Done:
    done = Done()
    for spec in specs:
        outcome = outcomes.get(spec.dag_hash())
        if outcome is not None and outcome.status == INSTALLED:
            done.outcomes[spec.dag_hash()] = outcome
            package = spec.package
            package.installed_from_binary_cache = True
        elif outcome is not None and outcome.error is not None:
            tty.debug(f"{outcome.item.label} is left to the installer: {_line(outcome.error)}")
    return done


def _line(error: BaseException) -> str:
    return ": ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def jobs() -> int:
    """What `-j` says, or the configuration."""
    return spack.config.determine_number_of_jobs(parallel=True)


def is_enabled() -> bool:
    """Whether the configuration wants it."""
    return settings.read().bulk_install
