# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A whole closure is held to a policy before the first package of it is fetched.

Else an install would end with some packages in place, and the one refused that they were wanted for.
"""

from typing import Callable, List, Optional, Sequence

from ...errors import SpackOciError, TrustError
from ...util.concurrency.threads import DaemonPool
from ...util.text import by_cause, counted
from .outcome import FAILED, SKIPPED, InstallItem, InstallOutcome


def refused(
    items: Sequence[InstallItem],
    is_proven: Callable[[InstallItem], bool],
    check: Callable[[InstallItem], None],
    jobs: int,
) -> List[InstallOutcome]:
    """What an install comes to that is not begun, because ``check`` refuses a package; empty: it may begin.

    ``is_proven``: whether what is here already says that a package may be used. Most are, and in one thread that takes
    half of the time of several, which only one core can serve. ``check`` asks the store, in ``jobs`` threads, and
    raises TrustError.
    """

    def problem(item: InstallItem) -> Optional[TrustError]:
        try:
            check(item)
        except TrustError as e:
            return e
        except SpackOciError:
            pass  # the fetch will meet it, and say so
        return None

    unproven = [item for item in items if not is_proven(item)]
    with DaemonPool(jobs, "policy") as pool:
        problems = {item.dag_hash: error for item, error in zip(unproven, pool.map(problem, unproven)) if error}
    if not problems:
        return []
    errors = [problems.get(item.dag_hash) for item in items]
    return [InstallOutcome(item, FAILED if error else SKIPPED, error) for item, error in zip(items, errors)]


def untrusted_error(outcomes: Sequence[InstallOutcome]) -> TrustError:
    """The same as one error, of an install that belongs to somebody else."""
    failures = [(o.item.label, o.error) for o in outcomes if o.error is not None]
    return TrustError(
        f"nothing is installed, because {counted(len(failures), 'package')} cannot be trusted: "
        + "; ".join(by_cause(failures))
    )
