# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How many transfers at the same time: enough to use the link, and no more.

Transfers share a link. Eight large packages that are fetched together all arrive at the end, and until then there is
nothing to install; fetched one after the other, the first is there after an eighth of the time. So what is under way is
bounded in bytes, too: by what arrives in a few seconds. Small packages, each of which costs a round trip,
and links whose speed grows with the number of connections, get as many as are allowed.

Where the transfers are watched, and the link is so slow that one of them fills it, the next one begins half a second
(``_OVERLAP``) before the end of the one before.
"""

import threading
import time
from typing import Callable

#: always allowed, whatever their size: one may be waiting for the server
_LEAST = 2
#: bytes under way that are few whatever the link
FEW = 32 << 20
#: seconds that what is under way may take
_SECONDS = 2.0
#: bytes a second that one connection brings, wherever it leads
_SLOW = 25e6
#: seconds before the end of a transfer when the next one begins, on such a link: some round trips
_OVERLAP = 0.5


class TransferLimiter:
    """The transfers under way. ``most``: how many there may be; ``watched``: :meth:`arrive` is told of what comes."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic, watched: bool = False) -> None:
        self._most = most
        self._now = now
        self._watched = watched
        self._count = 0
        #: seconds in which something was under way, until the time ``_since``
        self._busy = 0.0
        self._since = now()
        self._size = 0
        self._arrived = 0
        self._guard = threading.Lock()

    @property
    def has_room(self) -> bool:
        """Whether another one should begin."""
        if self._count >= self._most:
            return False
        rate = self._rate()
        if self._watched and 0 < rate < _SLOW:
            return not self._count or self._size < _OVERLAP * rate
        return self._count < _LEAST or self._size < max(FEW, _SECONDS * rate)

    def _rate(self) -> float:
        """Bytes a second, so far."""
        return self._arrived / max(self._busy + (self._now() - self._since if self._count else 0.0), 1e-3)

    def begin(self, size: int) -> None:
        """``size``: bytes, 0 if not known."""
        with self._guard:
            if not self._count:
                self._since = self._now()
            self._count += 1
            self._size += size

    def arrive(self, count: int) -> None:
        """So many bytes of a transfer are there, and are not told again at its end. From any thread."""
        with self._guard:
            self._size -= count
            self._arrived += count

    def end(self, rest: int) -> None:
        """``rest``: its size, without what has been told by :meth:`arrive`."""
        with self._guard:
            self._count -= 1
            self._size -= rest
            self._arrived += rest
            if not self._count:
                self._busy += self._now() - self._since
