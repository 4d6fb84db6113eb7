# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How fast a host may be asked: one limiter for each host, shared by all threads and by forked processes.

Registries refuse with 429 (some with 503) who asks too often; most count with a token bucket: so many requests a
second, and some more in a burst. Nobody tells the rate, so it is found out (additive increase, multiplicative decrease,
as TCP does it, with a better first guess):

- Nothing is limited until a request is refused, but that a host which never responded gets one request more with each
  response: a burst of refusals at the start would be most of all that are ever refused.
- After the first refusal, requests have the distance that the responses of the last second had.
- From one refusal to the next the bucket went from empty to empty, so what was served meanwhile is its rate.
- A distance at which a request was refused is too short: nobody goes below it but slowly. Without a refusal, the
  distance shrinks the more slowly the nearer it comes to that one; quickly as long as it is only a guess, as after a
  failure (503) that had nothing to do with a rate. Requests that were on their way when the rate was lowered do not
  lower it again, and those that wait for their turn wait anew.
"""

import mmap
import os
import threading
import time
import zlib
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, Optional

from ...util.notices import notice
from ...util.text import counted

#: seconds between requests: the longest that is chosen here (a registry may ask for more with Retry-After)
_MAX_INTERVAL = 10.0
#: and what is too short to be waited for
_NO_INTERVAL = 0.005
#: seconds that responses are counted for the first guess
_WINDOW = 1.0
#: what becomes of the interval with each response: as long as none was too short (the first guess is what little was
#: served until then, so a bucket that holds few makes it too low), the share of the way to the one that was, in powers,
#: and at least; and with a refusal
_FROM_GUESS = 0.93
_APPROACH = 0.03
_PROBE = 0.996
_SLOW_DOWN = 1.1
#: responses from one refusal to the next that tell the rate
_ENOUGH = 4
#: fewer responses in the window say nothing
_FEW = 2
#: responses without a refusal after which the rate is about right
_SURE = 25
#: the rate that was measured is not used in full: each refusal is a request in vain
_MARGIN = 1.08
#: a rate of more requests a second than this is no limit that a user need be told of
_WORTH_TELLING = 100.0

_HOSTS = 256
_INTERVAL, _NEXT, _SLOWED, _EMPTY, _SERVED, _SERVED_SINCE, _PROBING, _MEASURED, _TOO_SHORT, _TOLD, _KEY = range(11)
_FIELDS = 16
#: numbers of all hosts: anonymous memory that forked processes share. Without a lock: what two processes do at once is
#: at worst a request too early.
_numbers: Any = memoryview(mmap.mmap(-1, _HOSTS * _FIELDS * 8)).cast("d")


class HostLimiter:
    """``clock``: seconds that all processes agree on."""

    def __init__(self, host: str, numbers: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._numbers = numbers
        self._clock = clock
        self._recent: Deque[float] = deque(maxlen=256)
        self.after_fork()

    def after_fork(self) -> None:
        self._turn = threading.Lock()
        self._change = threading.Condition()
        self._in_flight = 0

    @property
    def served(self) -> int:
        """Requests that were not refused, of all processes."""
        return int(self._numbers[_SERVED])

    @property
    def interval(self) -> float:
        """Seconds between two requests; 0: no limit is known."""
        return float(self._numbers[_INTERVAL])

    @property
    def rate(self) -> float:
        """Requests a second that are allowed; 0: no limit is known."""
        return 1 / self.interval if self.interval else 0.0

    def begin(self, sleep: Callable[[float], None]) -> float:
        """Wait until a request may be sent; when that is. To be followed by :meth:`end`."""
        with self._change:
            # requests that are answered late, or a host that limits connections and not requests
            while self._in_flight > self._most_at_once():
                if not self._change.wait(1.0):
                    break
            self._in_flight += 1
        try:
            self._wait_for_turn(sleep)
        except BaseException:
            self._finished()
            raise
        return self._clock()

    def _most_at_once(self) -> float:
        if self._numbers[_INTERVAL]:
            return max(1.0, self.rate)  # responses that take a second each
        return self._numbers[_SERVED]

    def _wait_for_turn(self, sleep: Callable[[float], None]) -> None:
        if self._is_limited():
            with self._turn:  # one waits for the next slot, the others for this one
                for seconds in self._waits():
                    sleep(seconds)

    def _is_limited(self) -> bool:
        return bool(self._numbers[_INTERVAL]) or bool(self._numbers[_NEXT] > self._clock())

    def _waits(self) -> Iterator[float]:
        """How long to wait for a slot; again, if meanwhile another request was refused."""
        numbers = self._numbers
        while True:
            now = self._clock()
            slot = max(now, numbers[_NEXT])
            numbers[_NEXT] = slot + numbers[_INTERVAL]
            if slot <= now:
                return
            yield slot - now
            if numbers[_EMPTY] <= now:
                return

    def _finished(self) -> None:
        with self._change:
            self._in_flight -= 1
            self._change.notify()

    def end(self) -> None:
        """Without a response."""
        self._finished()

    def end_served(self) -> None:
        """With a response that is no refusal."""
        self._finished()
        numbers = self._numbers
        numbers[_SERVED] += 1
        if not numbers[_INTERVAL]:
            self._recent.append(self._clock())
            return
        numbers[_SERVED_SINCE] += 1
        if numbers[_PROBING]:
            faster = numbers[_INTERVAL] / 2
            numbers[_INTERVAL] = faster if faster > _NO_INTERVAL else 0.0
        else:
            numbers[_INTERVAL] *= self._speed_up()
            if numbers[_SERVED_SINCE] > _SURE:
                self._tell(self.rate)

    def _speed_up(self) -> float:
        """What the interval is multiplied by after a response: the less, the farther it is from one too short."""
        interval, nearest = self._numbers[_INTERVAL], _SLOW_DOWN * self._numbers[_TOO_SHORT]
        if not nearest:
            return _FROM_GUESS
        return max(_FROM_GUESS, min(_PROBE, (nearest / interval) ** _APPROACH))

    def end_refused(self, sent: float, retry_after: Optional[float], guess: float) -> None:
        """``sent``: when the request began. ``retry_after``: seconds in which no request is to be sent at all, if the
        host said so. ``guess``: seconds between requests, where nothing else is known."""
        self._finished()
        numbers, now = self._numbers, self._clock()
        if sent > numbers[_SLOWED]:  # else it was on its way when the rate was lowered
            numbers[_INTERVAL] = min(_MAX_INTERVAL, self._slower(now, guess))
            numbers[_SLOWED] = now
        wait = numbers[_INTERVAL] if retry_after is None else retry_after
        numbers[_NEXT] = max(numbers[_NEXT], now + wait)
        numbers[_EMPTY], numbers[_SERVED_SINCE] = now, 0

    def _slower(self, now: float, guess: float) -> float:
        """The interval after a refusal."""
        numbers = self._numbers
        elapsed, served = now - numbers[_EMPTY], numbers[_SERVED_SINCE]
        if not numbers[_INTERVAL]:
            recent = sum(1 for at in self._recent if at > now - _WINDOW)
            numbers[_PROBING] = recent < _FEW
            return guess if recent < _FEW else _MARGIN * _WINDOW / recent
        interval, was_guess = numbers[_INTERVAL], bool(numbers[_PROBING])
        numbers[_TOO_SHORT] = interval
        if served:
            numbers[_PROBING] = 0
        if served >= _ENOUGH:
            if numbers[_MEASURED]:  # else the bucket may have been full for a part of that time
                self._tell(served / elapsed)
            numbers[_MEASURED] = elapsed / served
            # within limits: it may be that there was nothing to ask for
            return min(max(_MARGIN * elapsed / served, _SLOW_DOWN * interval), 2 * interval)
        if was_guess or not served:
            return 2 * interval
        return min(max(elapsed / (served + 1), _SLOW_DOWN * interval), 2 * interval)

    def _tell(self, rate: float) -> None:
        if rate < _WORTH_TELLING and not self._numbers[_TOLD]:
            self._numbers[_TOLD] = 1
            notice(f"the registry {self._host} allows about {counted(max(1, round(rate)), 'request')} a second")


_limiters: Dict[str, HostLimiter] = {}


def limiter_for(host: str) -> HostLimiter:
    """``HOST[:PORT]``."""
    found = _limiters.get(host)
    if found is None:
        found = _limiters.setdefault(host, HostLimiter(host, _numbers_of(host)))
    return found


def _numbers_of(host: str) -> Any:
    """The same for a host in all processes. (Hosts beyond the last place share one.)"""
    key = zlib.crc32(host.encode()) + 1
    for place in range(_HOSTS):
        start = (key + place) % _HOSTS * _FIELDS
        if _numbers[start + _KEY] in (0.0, key):
            break
    _numbers[start + _KEY] = key
    return _numbers[start : start + _FIELDS]


def forget_rates() -> None:
    """As if no host had ever been asked (for tests)."""
    _limiters.clear()
    for number in range(len(_numbers)):
        _numbers[number] = 0.0


def _after_fork() -> None:
    for limiter in list(_limiters.values()):
        limiter.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
