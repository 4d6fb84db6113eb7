# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How many transfers at the same time: enough to use the link, and no more.

Transfers share a link. Eight large packages that are fetched together all arrive at the end, and until then there is
nothing to install; fetched one after the other, the first is there after an eighth of the time. So what is under way is
bounded in bytes, too: by what arrives in a few seconds. Small packages, each of which costs a round trip,
and links whose speed grows with the number of connections, get as many as are allowed.
"""

import time
from typing import Callable

#: always allowed, whatever their size: one may be waiting for the server
_LEAST = 2
#: bytes under way that are few whatever the link
_FEW = 32 << 20
#: seconds that what is under way may take
_SECONDS = 2.0


class Flight:
    """The transfers under way; not for several threads. ``most``: how many there may be."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._started = now()
        self._count = 0
        self._size = 0
        self._arrived = 0

    @property
    def has_room(self) -> bool:
        """Whether another one should begin."""
        if self._count < min(_LEAST, self._most):
            return True
        rate = self._arrived / max(self._now() - self._started, 1e-3)
        return self._count < self._most and self._size < max(_FEW, _SECONDS * rate)

    def begin(self, size: int) -> None:
        """``size``: bytes, 0 if not known."""
        self._count += 1
        self._size += size

    def end(self, size: int) -> None:
        """``size``: as at its beginning."""
        self._count -= 1
        self._size -= size
        self._arrived += size
