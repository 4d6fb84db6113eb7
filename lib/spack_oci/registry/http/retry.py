# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""When a request is sent again, and after how long: policies as values.

A policy decides nothing about *what* is sent again: bodies are rewound by the upload code, downloads continue where
they stopped. ``POST`` is retried as any other method, because every ``POST`` of the distribution protocol only opens a
session.
"""

import email.utils
import random
import time
from dataclasses import dataclass, field
from typing import Callable, FrozenSet, Optional

from ...errors import ConnectionLost, ResponseError, SpackOciError, TimedOut


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and how long to wait in between.

    ``attempts``: requests in all, at least 1. The wait before try *n* is ``base * 2**(n-1)`` seconds, at most ``cap``,
    of which a random share of up to ``jitter`` (0 to 1) is taken off, so that many clients do not come back at once.
    ``max_retry_after``: a ``Retry-After`` up to this many seconds is obeyed; a longer one is raised.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.5
    max_retry_after: float = 120.0
    statuses: FrozenSet[int] = frozenset({408, 429, 500, 502, 503, 504})
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def wait_before_retry(self, error: SpackOciError, tries: int) -> Optional[float]:
        """Seconds to wait before the next try after ``tries`` failed ones; None: give up and raise ``error``."""
        if tries >= self.attempts or not self._worth_another_try(error):
            return None
        asked = error.retry_after if isinstance(error, ResponseError) else None
        if asked is None:
            return self.backoff(tries)
        return asked if asked <= self.max_retry_after else None

    def backoff(self, tries: int) -> float:
        wait = min(self.cap, self.base * 2 ** (tries - 1))
        return wait * (1 - self.jitter * random.random())

    def _worth_another_try(self, error: SpackOciError) -> bool:
        if isinstance(error, ResponseError):
            return error.status in self.statuses
        return isinstance(error, (ConnectionLost, TimedOut))

    def once(self) -> "RetryPolicy":
        """A policy for where something better than waiting is left: another mirror."""
        return RetryPolicy(1, self.base, self.cap, self.jitter, 0.0, self.statuses, self.sleep)


def parse_retry_after(value: Optional[str], now: Optional[float] = None) -> Optional[float]:
    """Seconds in a ``Retry-After`` header (RFC 9110, 10.2.3: seconds or a date), None if there is none or it is junk.

    ``now``: seconds since the epoch by the *server's* clock (its ``Date`` header) where known.
    """
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    return max(0.0, when.timestamp() - (time.time() if now is None else now))
