# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Registries that allow only so many requests a second: everybody waits for his turn, and nobody gives up."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from spack_oci.content import BytesSource
from spack_oci.errors import RateLimited
from spack_oci.registry import RetryPolicy
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import SMALL, Sleeps, fetch, keep, layer, store_at


@pytest.mark.parametrize("retry_after", ["", "1"])
def test_a_push_with_many_threads_to_a_throttled_registry(retry_after):
    """Each blob takes three requests, and none fails. (How few are refused, and how little time is lost, is found on a
    simulated clock, in test_registry_limiter.py: here it depends on the machine.)"""
    rate, blobs = 20, [b"blob %d" % n for n in range(30)]
    with fault_registry(rate=rate, burst=rate, retry_after=retry_after) as registry:
        store = store_at(registry, retry=RetryPolicy(attempts=2))
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda data: store.put_blob(layer(data), BytesSource(data)), blobs))
        statuses = [line.split()[1] for line in registry.methods()]
        served, refused = len(statuses) - statuses.count("429"), statuses.count("429")
    assert served == 3 * len(blobs)
    assert refused <= 0.4 * len(statuses)  # without a limiter: more


def test_refusals_do_not_count_as_tries_while_others_are_served():
    """By the limit of tries it would give up after two."""
    with fault_registry(Fault("GET", "/blobs/", status=429, times=6)) as registry:
        keep(registry, SMALL)
        store = store_at(registry, retry=RetryPolicy(attempts=2, base=0.01))
        assert fetch(store, SMALL) == SMALL
        assert registry.methods() == ["GET 429"] * 6 + ["GET 200"]


def test_a_registry_that_serves_nothing_any_more():
    sleeps = Sleeps()
    with fault_registry(Fault("GET", "/blobs/", status=429, times=999)) as registry:
        store = store_at(registry, retry=RetryPolicy(attempts=2, patience=120, sleep=sleeps))
        with pytest.raises(RateLimited, match="429"):
            fetch(store, SMALL)
        assert 5 < len(registry.requests()) < 20
    assert sum(sleeps) > 30


def test_a_registry_that_serves_nothing_and_says_at_once_for_ever():
    headers = {"Retry-After": "0"}
    with fault_registry(Fault("GET", "/blobs/", status=429, headers=headers, times=1 << 30)) as registry:
        store = store_at(registry, retry=RetryPolicy(attempts=2, patience=120, sleep=Sleeps()))
        with pytest.raises(RateLimited, match="429"):
            fetch(store, SMALL)
        assert 5 < len(registry.requests()) < 60


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}], ids=["says-nothing", "at-once"])
def test_a_mirror_is_not_waited_for(headers):
    with fault_registry(Fault("GET", "/blobs/", status=429, headers=headers, times=999)) as registry:
        store = store_at(registry, retry=RetryPolicy(sleep=Sleeps()).never_waiting())
        with pytest.raises(RateLimited):
            fetch(store, SMALL)
        assert registry.methods() == ["GET 429"]


def test_a_wait_that_only_the_message_tells():
    """As ghcr does: a fraction of a second, for which nobody should give up."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 10.305464ms, allowed: 2000/minute"}]}'
    with fault_registry(Fault("GET", "/blobs/", status=429, body=body, times=999)) as registry:
        with pytest.raises(RateLimited, match="TOOMANYREQUESTS") as error:
            fetch(store_at(registry, retry=RetryPolicy(patience=0.03, max_retry_after=0.02)), SMALL)
        assert error.value.retry_after == pytest.approx(0.0103, abs=0.001)


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":[{"code":"DENIED","message":"You have exceeded a secondary rate limit"}]}',
        b'\xef\xbb\xbf{"message":"secondary rate limit","typeKey":"x"}',
    ],
)
def test_a_rate_limit_that_is_told_as_forbidden(body):
    """As ghcr's secondary limit is: no advice about permissions."""
    fault = Fault("GET", "/blobs/", status=403, body=body, times=9)
    with fault_registry(fault) as registry, pytest.raises(RateLimited, match="secondary rate limit"):
        fetch(store_at(registry), SMALL)
