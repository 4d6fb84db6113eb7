# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is to be installed, what came of it, and how that is told."""

from dataclasses import dataclass
from typing import FrozenSet, List, Optional, Sequence, Tuple

from ...errors import TrustError
from ...util.text import by_cause, counted, elided

INSTALLED = "installed"
FAILED = "failed"
#: a dependency failed, or the install was stopped
SKIPPED = "skipped"


@dataclass(frozen=True)
class InstallItem:
    """A package to be installed."""

    dag_hash: str
    #: "name@version/hash"
    label: str
    prefix: str
    #: dag hashes of all packages that must be registered before this one; those that are not in the plan are there
    dependencies: FrozenSet[str] = frozenset()
    #: compressed bytes, 0 if not known
    size: int = 0


@dataclass(frozen=True)
class InstallOutcome:
    item: InstallItem
    status: str
    error: Optional[BaseException] = None
    #: of extraction and hooks
    seconds: float = 0.0


#: begins the line of what was installed, as in Spack
INSTALLED_LINE = "[+]"


def outcome_line(outcome: InstallOutcome, done: str = INSTALLED_LINE + " {0.prefix}") -> str:
    """For the log; why something failed is said at the end, once for all packages with the same cause."""
    if outcome.status == INSTALLED:
        return done.format(outcome.item)
    return f"Failed: {outcome.item.label}" if outcome.status == FAILED else ""


def failures_of(outcomes: Sequence[InstallOutcome], done: str) -> Tuple[List[str], str]:
    """What failed, as lines of an error, each cause once whatever the number of packages, and what was skipped, in a
    sentence for a warning; empty if nothing was. ``done``: "installed", "fetched"."""
    failures = [(o.item.label, o.error) for o in outcomes if o.status == FAILED]
    skipped = [o.item.label for o in outcomes if o.status == SKIPPED]
    errors = [f"{counted(len(failures), 'package')} not {done}:", *by_cause(failures)] if failures else []
    if not skipped:
        return errors, ""
    refused = any(isinstance(o.error, TrustError) for o in outcomes)
    why = "as nothing is where a policy refuses a package" if refused else "because of what they depend on"
    return errors, f"{counted(len(skipped), 'package')} not {done}, {why}: {elided(skipped)}"
