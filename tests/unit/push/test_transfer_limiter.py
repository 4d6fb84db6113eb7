# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How many transfers are begun at the same time."""

import pytest
from spack_oci.operations.install.transfer_limiter import TransferLimiter

MB = 1 << 20


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def begun(limiter, size, limit=100):
    count = 0
    while limiter.has_room and count < limit:
        limiter.begin(size)
        count += 1
    return count


@pytest.mark.parametrize("size, expected", [(0, 8), (MB, 8), (10 * MB, 4), (100 * MB, 2), (10**12, 2)])
def test_large_ones_do_not_share_the_link_with_many(size, expected):
    assert begun(TransferLimiter(8), size) == expected


def test_what_is_allowed_is_never_exceeded():
    assert begun(TransferLimiter(1), 100 * MB) == 1 and begun(TransferLimiter(3), 1) == 3


@pytest.mark.parametrize("seconds, expected", [(1.0, 4), (0.1, 8), (100.0, 2)])
def test_a_fast_link_gets_more(seconds, expected):
    """100 MB in ``seconds``: as many more as it brings in two seconds."""
    clock = Clock()
    limiter = TransferLimiter(8, clock)
    for _ in range(2):
        limiter.begin(100 * MB)
    clock.seconds += seconds
    for _ in range(2):
        limiter.end(100 * MB)
    assert begun(limiter, 100 * MB) == expected


def test_a_slow_link_is_left_to_one_that_is_watched_until_it_is_nearly_there():
    clock = Clock()
    limiter = TransferLimiter(8, clock, watched=True)
    limiter.begin(100 * MB)
    clock.seconds = 1.0
    limiter.arrive(10 * MB)
    assert not limiter.has_room
    clock.seconds = 9.4
    limiter.arrive(84 * MB)
    assert not limiter.has_room, "0.6 seconds are left"
    clock.seconds = 9.6
    limiter.arrive(2 * MB)
    assert limiter.has_room, "0.4 seconds are left"
    limiter.begin(MB)
    limiter.end(4 * MB)
    assert begun(limiter, 1000) == 7, "and small ones go together"


def test_a_fast_link_is_shared_by_those_that_are_watched_too():
    clock = Clock()
    limiter = TransferLimiter(8, clock, watched=True)
    assert begun(limiter, 100 * MB) == 2
    clock.seconds = 1.0
    limiter.arrive(150 * MB)
    assert begun(limiter, 100 * MB) == 3, "two seconds at 150 MB: 300 MB less the 50 under way"


def test_time_in_which_nothing_is_wanted_does_not_make_a_link_slow():
    clock = Clock()
    limiter = TransferLimiter(8, clock, watched=True)
    limiter.begin(100 * MB)
    clock.seconds = 1.0
    limiter.end(100 * MB)
    clock.seconds = 1000.0
    assert begun(limiter, 100 * MB) == 2
