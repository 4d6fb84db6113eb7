# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""When a request is sent again, and after how long: policies as values, and the one loop that obeys them.

A policy decides nothing about *what* is sent again: bodies are rewound by the upload code, downloads continue where
they stopped. ``POST`` is retried as any other method, because every ``POST`` of the distribution protocol only opens a
session.
"""

import random
import time
from typing import TYPE_CHECKING, Callable, Container, FrozenSet, NamedTuple, Optional

from ...errors import ConnectionLost, HostAway, RateLimited, ResponseError, SpackOciError, TimedOut
from ...util.notices import notice
from .limiter import HostLimiter, limiter_for
from .urls import host_of

if TYPE_CHECKING:
    from .response import Response


class RetryPolicy(NamedTuple):
    """How often, and how long to wait in between.

    ``attempts``: requests in all, at least 1. The wait before try *n* is ``base * 2**(n-1)`` seconds, at most ``cap``,
    of which a random share of up to ``jitter`` (0 to 1) is taken off, so that many clients do not come back at once.
    ``max_retry_after``: a ``Retry-After`` up to this many seconds is obeyed; a longer one is raised. ``patience``: a
    request that is refused because there are too many (429) is sent again until the host has served nothing at all for
    this many seconds of waiting; such tries are not counted. 0: it is not sent again. ``outage``: a host that has
    answered and is away (no connection, or a gateway says so) is asked again until it was waited for so many seconds,
    whatever ``attempts`` says.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.5
    max_retry_after: float = 120.0
    patience: float = 120.0
    outage: float = 0.0
    statuses: FrozenSet[int] = frozenset({408, 429, 500, 502, 503, 504})
    sleep: Callable[[float], None] = time.sleep

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
        """A policy for those who have a better way to go on after a failure than to send the same again."""
        return self._replace(attempts=1, outage=0.0)

    def never_waiting(self) -> "RetryPolicy":
        """A policy for where something better than waiting is left: another mirror."""
        return self._replace(attempts=min(2, self.attempts), max_retry_after=0.0, patience=0.0, outage=0.0)


class _Throttling:
    """How long one request waits for a host that refuses it with 429, and whether others are served meanwhile.

    The waiting itself is done before the next request, by the host's limiter.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._served = -1
        self._refusals = 0
        self._waited = 0.0

    def may_go_on(self, error: ResponseError, limiter: HostLimiter) -> bool:
        """``limiter``: of the host; it knows what was served to all threads, and makes the next request wait."""
        if limiter.served != self._served:
            self._served, self._refusals, self._waited = limiter.served, 0, 0.0
        self._refusals += 1
        wait = error.retry_after
        if wait is None:
            wait = self._policy.backoff(self._refusals)
        before = self._waited
        # a host that says "at once" for ever is not waited for for ever
        self._waited += max(wait, limiter.interval)
        limit = max(self._policy.patience, self._policy.max_retry_after)
        return wait <= self._policy.max_retry_after and before < limit and self._waited <= limit


class _Outage:
    """How long one request waits for a host that is away."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._waited = 0.0

    def waits(self, wait: Optional[float], error: SpackOciError, tries: int, host: str) -> Optional[float]:
        """``wait``: what the policy says of the error; that, or how long to wait nevertheless."""
        if wait is None and _is_away(error) and self._waited < self._policy.outage:
            notice(f"{host} does not answer any more; it is waited for, up to {round(self._policy.outage)} s")
            wait = min(_BETWEEN_LOOKS, self._policy.backoff(tries))
        self._waited += wait or 0.0
        return wait


#: seconds from one try to the next of a host that is away
_BETWEEN_LOOKS = 5.0
#: of gateways whose registry is away; 503 may as well mean too many requests, for which the host's limiter waits
_GATEWAY = (502, 504)


def _is_away(error: SpackOciError) -> bool:
    if isinstance(error, ResponseError):
        return error.status in _GATEWAY and error.retry_after is None
    return isinstance(error, HostAway)


def send_with_retry(
    send: Callable[[], "Response"],
    policy: RetryPolicy,
    error_of: Callable[["Response"], SpackOciError],
    accept: Container[int] = (),
) -> "Response":
    """``send``, again and again as ``policy`` says. Statuses that it does not retry are returned; ``error_of`` makes
    the error of those that it does."""
    tries = 0
    throttling, outage, host = _Throttling(policy), _Outage(policy), ""
    while True:
        tries += 1
        error: SpackOciError
        try:
            response = send()
            if response.status in accept or response.status not in policy.statuses:
                return response
            error, host = error_of(response), host_of(response.url)
            if isinstance(error, RateLimited):
                if not throttling.may_go_on(error, limiter_for(host)):
                    raise error
                tries -= 1
                continue
        except (ConnectionLost, TimedOut) as e:
            error, host = e, e.host if isinstance(e, HostAway) else ""
        wait = outage.waits(policy.wait_before_retry(error, tries), error, tries, host)
        if wait is None:
            if tries > 1:
                error.message += f" ({tries} tries)"
            raise error
        policy.sleep(wait)
