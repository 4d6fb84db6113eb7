# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The rate that a host allows is found with few refusals, and used nearly in full. On a simulated clock."""

import heapq
import itertools
import os

import pytest
from spack_oci.registry.http.limiter import HostLimiter, limiter_for

LATENCY = 0.02


class Simulation:
    """Workers that send ``total`` requests through a limiter to a token bucket of ``rate``, as fast as they may."""

    def __init__(self, rate, burst, retry_after=None):
        self.rate, self.burst, self.retry_after = rate, burst, retry_after
        self.now = 100.0
        self.limiter = HostLimiter("h.example", memoryview(bytearray(8 * 16)).cast("d"), lambda: self.now)
        self.tokens, self.filled = float(burst), self.now
        self.served = self.refused = 0
        self.events, self.number = [], itertools.count()
        self.queue, self.is_somebody_waiting = [], False

    def at(self, when, *event):
        heapq.heappush(self.events, (when, next(self.number), *event))

    def run(self, total, workers=8):
        left = total
        for _ in range(workers):
            self.at(self.now, "next")
        while self.events:
            self.now, _, what, *rest = heapq.heappop(self.events)
            if what == "next" and left:
                left -= 1
                self.wish()
            elif what == "again":
                self.wish()
            elif what == "woken":
                self.wait(*rest)
            elif what == "sent":
                self.sent()
            elif what == "served":
                self.served += 1
                self.limiter.end_served()
                self.at(self.now, "next")
            elif what == "refused":
                self.refused += 1
                self.limiter.end_refused(rest[0], self.retry_after, 0.4)
                self.at(self.now, "again")
        return self.now - 100.0

    def wish(self):
        if self.limiter._in_flight > self.limiter._most_at_once():
            self.at(self.now + LATENCY, "again")
        elif self.is_somebody_waiting:
            self.queue.append(None)
        else:
            self.begin()

    def begin(self):
        self.is_somebody_waiting = True
        self.limiter._in_flight += 1
        self.wait(self.limiter._waits() if self.limiter._is_limited() else iter(()))

    def wait(self, waits):
        seconds = next(waits, None)
        if seconds is None:
            self.at(self.now, "sent")
        else:
            self.at(self.now + seconds, "woken", waits)

    def sent(self):
        self.tokens = min(self.burst, self.tokens + (self.now - self.filled) * self.rate)
        self.filled = self.now
        if self.tokens >= 1:
            self.tokens -= 1
            self.at(self.now + LATENCY, "served")
        else:
            self.at(self.now + LATENCY, "refused", self.now)
        self.is_somebody_waiting = False
        if self.queue:
            self.queue.pop()
            self.begin()


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(
    "rate, burst, total",
    [(3, 2, 36), (3, 2, 65), (3, 3, 65), (3, 3, 36), (10, 10, 75), (10, 10, 150), (10, 100, 500), (50, 50, 1500)],
)
def test_a_token_bucket_is_used_nearly_in_full_with_few_refusals(rate, burst, total, retry_after):
    simulation = Simulation(rate, burst, retry_after)
    seconds = simulation.run(total)
    assert simulation.served == total
    assert seconds <= 1.3 * total / rate
    assert simulation.refused <= 0.1 * (simulation.served + simulation.refused)


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("rate, burst", [(3, 1), (3, 2), (3, 5), (3, 10), (10, 1), (10, 2), (10, 3), (10, 5)])
def test_a_bucket_that_holds_few_costs_some_seconds_until_its_rate_is_found(rate, burst, retry_after, workers):
    """However many ask at once. (With one, a rate that was never measured was gone beyond again after each refusal.)"""
    simulation, total = Simulation(rate, burst, retry_after), 150
    seconds = simulation.run(total, workers)
    assert simulation.served == total
    assert seconds <= 1.3 * total / rate + 6
    assert simulation.refused <= 0.1 * (simulation.served + simulation.refused)


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_request_that_waits_for_its_turn_waits_anew_when_another_is_refused(is_refused):
    simulation = Simulation(3, 3)
    simulation.limiter.end_refused(simulation.now - 1, None, 0.4)
    waits = simulation.limiter._waits()
    assert next(waits) == pytest.approx(0.4)
    simulation.now += 0.4
    if is_refused:
        simulation.limiter.end_refused(simulation.now - 0.1, 1.0, 0.4)
        assert next(waits) == pytest.approx(1)
        simulation.now += 1
    assert next(waits, None) is None


def test_a_host_that_refuses_nothing_is_not_slowed_down():
    simulation = Simulation(1e6, 1e6)
    assert simulation.run(1000) <= 1.1 * 1000 / 8 * LATENCY + 8 * LATENCY
    assert simulation.limiter.rate == 0


def test_a_failure_now_and_then_is_forgotten_soon():
    """503 for a moment says nothing about a rate."""
    simulation = Simulation(1e6, 1e6)
    simulation.limiter.end_refused(simulation.limiter.begin(lambda seconds: None), None, 0.4)
    assert simulation.run(100, workers=1) <= 3 + 100 * LATENCY
    assert simulation.limiter.rate == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_processes_keep_to_one_rate():
    limiter = limiter_for("forked.example")
    child = os.fork()
    if child == 0:
        try:
            limiter.end_refused(limiter.begin(lambda seconds: None), None, 0.4)
            limiter_for("another.example").end_refused(limiter_for("another.example").begin(print), None, 0.2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert limiter.rate == pytest.approx(2.5)
    assert limiter_for("another.example").rate == pytest.approx(5)
    assert limiter_for("third.example").rate == 0


def test_the_user_is_told_the_rate_once(told):
    simulation = Simulation(3, 3)
    simulation.run(100)
    assert told == ["the registry h.example allows about 3 requests a second"]
