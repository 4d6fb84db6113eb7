# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Python's garbage collector, in processes that live for one push or install and have much of Spack in memory."""

import gc


def relax_collector() -> None:
    """What is in memory now stays: to look at Spack's modules and database takes 50 ms each time, and in a forked
    process copies their pages. What a push or an install makes itself is not much.
    """
    gc.freeze()
    gc.set_threshold(20_000)
