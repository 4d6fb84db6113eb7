# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Python's garbage collector, in processes that live for one command and may have much of Spack in memory."""

import atexit
import gc


def relax_collector() -> None:
    """What is in memory now stays: to look at Spack's modules and database takes 50 ms each time, and in a forked
    process copies their pages. What a command makes itself is not much. May be called again when it is, but not again
    and again: what is in circles and not collected yet stays, too.

    At the end of the process nothing is looked at: it goes anyway, and that look would take as long once more.
    """
    gc.freeze()
    gc.set_threshold(20_000)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
