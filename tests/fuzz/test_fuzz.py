# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Every parser for a few seconds, with a seed that a failure names; `make fuzz MINUTES=60` takes its time."""

import os
import time

import pytest

from fuzz.harness import fuzz, target_names

#: for all targets together; each has at most twenty
SECONDS = float(os.environ.get("SPACK_OCI_FUZZ_SECONDS", "60"))


@pytest.mark.parametrize("name", target_names())
def test_no_damaged_input_breaks_a_promise(name):
    seed = int(os.environ.get("SPACK_OCI_FUZZ_SEED", time.time()))
    outcome = fuzz(name, min(20.0, SECONDS / len(target_names())), seed, keep=False)
    print(outcome)
    assert not outcome.findings, f"make fuzz, seed {seed}:\n" + "\n".join(outcome.findings[:5])
