# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every parser with the same inputs each time; `make fuzz MINUTES=60` takes its time, and others."""

import os

import pytest

from fuzz.harness import fuzz, target_names

#: for each target as many as take about two seconds
INPUTS = {
    "artifacts": 100,
    "build_info": 10_000,
    "elf": 1_500,
    "http": 250,
    "index": 8_000,
    "index_cache": 250,
    "manifest": 800,
    "tar": 500,
    "text": 2_000,
}


@pytest.mark.parametrize("name", target_names())
def test_no_damaged_input_breaks_a_promise(name):
    seed = int(os.environ.get("SPACK_OCI_FUZZ_SEED", "1"))
    outcome = fuzz(name, seed, inputs=INPUTS[name], keep=False)
    print(outcome)
    assert not outcome.findings, f"make fuzz, seed {seed}:\n" + "\n".join(outcome.findings[:5])
