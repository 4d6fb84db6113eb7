# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A whole closure is held to a policy before the first package of it is fetched.

Else an install would end with some packages in place, and the one refused that they were wanted for.
"""

from typing import Callable, List, Optional, Sequence

from ...errors import SpackOciError, TrustError
from ...util.concurrency.threads import DaemonPool
from ...util.text import by_cause, counted
from .outcome import FAILED, SKIPPED, InstallItem, InstallOutcome


def refused(items: Sequence[InstallItem], check: Callable[[InstallItem], None], jobs: int) -> List[InstallOutcome]:
    """What an install comes to that is not begun, because ``check`` refuses a package; empty: it may begin.

    ``check`` raises TrustError, in ``jobs`` threads.
    """

    def problem(item: InstallItem) -> Optional[TrustError]:
        try:
            check(item)
        except TrustError as e:
            return e
        except SpackOciError:
            pass  # the fetch will meet it, and say so
        return None

    with DaemonPool(jobs, "policy") as pool:
        problems = list(pool.map(problem, items))
    if not any(problems):
        return []
    return [InstallOutcome(item, FAILED if error else SKIPPED, error) for item, error in zip(items, problems)]


def untrusted_error(outcomes: Sequence[InstallOutcome]) -> TrustError:
    """The same as one error, of an install that belongs to somebody else."""
    failures = [(o.item.label, o.error) for o in outcomes if o.error is not None]
    return TrustError(
        f"nothing is installed, because {counted(len(failures), 'package')} cannot be trusted: "
        + "; ".join(by_cause(failures))
    )
