# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import pytest
from spack_oci.util.sizes import format_seconds, format_size


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1500, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (1 << 30, "1.1 GB"),
        (5e12, "5.0 TB"),
        (5e16, "50000.0 TB"),
    ],
)
def test_sizes_are_in_powers_of_1000(count, text):
    assert format_size(count) == text


@pytest.mark.parametrize("seconds, text", [(0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7620, "2h07m")])
def test_times(seconds, text):
    assert format_seconds(seconds) == text
