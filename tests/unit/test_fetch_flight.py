# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How many transfers are begun at the same time."""

import pytest
from spack_oci.cache.flight import Flight

MB = 1 << 20


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def begun(flight, size, limit=100):
    count = 0
    while flight.has_room and count < limit:
        flight.begin(size)
        count += 1
    return count


@pytest.mark.parametrize("size, expected", [(0, 8), (MB, 8), (10 * MB, 4), (100 * MB, 2), (10**12, 2)])
def test_large_ones_do_not_share_the_link_with_many(size, expected):
    assert begun(Flight(8), size) == expected


def test_what_is_allowed_is_never_exceeded():
    assert begun(Flight(1), 100 * MB) == 1 and begun(Flight(3), 1) == 3


@pytest.mark.parametrize("seconds, expected", [(1.0, 4), (0.1, 8), (100.0, 2)])
def test_a_fast_link_gets_more(seconds, expected):
    """100 MB in ``seconds``: as many more as it brings in two seconds."""
    clock = Clock()
    flight = Flight(8, clock)
    for _ in range(2):
        flight.begin(100 * MB)
    clock.seconds += seconds
    for _ in range(2):
        flight.end(100 * MB)
    assert begun(flight, 100 * MB) == expected
