# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the user should know although nothing failed, from any depth of the library.

Printed to standard error, unless somebody who knows the terminal better takes it: :func:`send_notices_to`.
"""

import sys
from typing import Callable, Set


def print_notice(message: str) -> None:
    print(f"Warning: {message}", file=sys.stderr, flush=True)


_receive: Callable[[str], None] = print_notice
_known: Set[str] = set()


def send_notices_to(receive: Callable[[str], None]) -> None:
    """From now on, and all of them: whoever receives them now has been told none yet."""
    global _receive
    _receive = receive
    _known.clear()


def notice(message: str) -> None:
    """One line, once in a process."""
    if message not in _known:
        _known.add(message)
        _receive(message)
