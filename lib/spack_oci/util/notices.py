# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the user should know although nothing failed, from any depth of the library.

Printed to standard error, unless somebody who knows the terminal better takes it: :func:`send_notices_to`.
"""

import sys
from typing import Callable, Set


def _print(message: str) -> None:
    print(f"Warning: {message}", file=sys.stderr, flush=True)


_receive: Callable[[str], None] = _print
_known: Set[str] = set()


def send_notices_to(receive: Callable[[str], None]) -> None:
    global _receive
    _receive = receive


def notice(message: str) -> None:
    """One line, once in a process."""
    if message not in _known:
        _known.add(message)
        _receive(message)


def forget_notices() -> None:
    """What was said may be said again (for tests)."""
    _known.clear()
