# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A system that allows no more of something."""

import threading
from typing import Any, Callable


def at_most(count: int, function: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """``function`` that works so many times, and raises ``error`` from then on."""
    left = list(range(count))

    def limited(*args: Any) -> Any:
        if not left:
            raise error
        left.pop()
        return function(*args)

    return limited


def threads_at_most(count: int) -> Callable[..., Any]:
    """For ``threading.Thread.start``."""
    return at_most(count, threading.Thread.start, RuntimeError("can't start new thread"))
