# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How hard layers are compressed when the user leaves it to us: fast, or, where the link is what a push waits for, as
small as Spack's.

The default level makes 12% more bytes than gzip's 6 in a seventh of the time. That pays on a fast link, and costs 12%
more time, and room for ever, on a slow one, while the processors idle. So what large layers take to be sent is
measured, and what is packed from then on is packed for that link. Both levels are gzip, which every Spack reads. What
is in a layer (its diff ID) does not depend on it, nor does the tag; which level it was, where not the default, is in
the manifest, and a layer that the blob cache has of either level is sent again as it is.
"""

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, ContextManager, Iterator, List, Mapping, Optional, Sequence, Tuple

from ...archive.codec import Compression, slowdown_of_six
from ...content.blob_cache import LayerKey
from ...package.relocation_summary import LEVEL

if TYPE_CHECKING:
    from .plan import PlannedPackage

#: prefixes of more bytes than this are compressed by all cores together
LARGE = 16 << 20
#: makes as few bytes as Spack, which uses it
SMALL_LEVEL = 6
#: blobs of fewer bytes say more of the time of requests than of the link
MEASURED = 4 << 20
#: bytes that have to have been sent before it is known how fast
ENOUGH = 8 << 20
#: bytes of prefixes whose layers are measured first, so many of them, and of all that makes it worth it
_MEDIUM = (14 << 20, 64 << 20)
_FIRST = 2
_WORTH_MEASURING = 256 << 20
#: how many times as fast as the link the packers have to be, so that they do not become what is waited for: as fast as
#: they were, for the machine may have other things to do
_MARGIN = 1.2
#: bytes that level 6 makes of one
_RATIO = 1 / 3


def compression_for(
    wanted: Compression, sent: Optional[float], packed: Optional[float], packed_small: Optional[float] = None
) -> Compression:
    """What to pack with now. ``wanted``: the user's; the others are bytes a second, None where not known: ``sent`` by
    the link, ``packed`` by all packers at the default level, ``packed_small`` at the small one. A level that the user
    has given stays, and so does zstd.
    """
    if not is_automatic(wanted) or sent is None or packed is None:
        return wanted
    made = _RATIO * (packed_small or packed / slowdown_of_six())
    return replace(wanted, level=SMALL_LEVEL) if made >= _MARGIN * sent else wanted


def order_of_packing(planned: "Sequence[PlannedPackage]", wanted: Compression) -> "Tuple[List[PlannedPackage], int]":
    """Large packages first, so that none of them is left alone at the end; the others with dependencies first, so that
    tags come all the time, and a push that is killed has lost little.

    Where the level is chosen for the link, and enough is to be packed that it pays, two of medium size go before all,
    and nothing else is packed until they have told how fast the link is: their number is returned, too.
    """
    order = sorted(planned, key=lambda item: -item.size if item.size > LARGE else 0)
    sizes = [item.size for item in planned if item.known is None]
    medium = [item for item in reversed(order) if item.known is None and _MEDIUM[0] <= item.size <= _MEDIUM[1]]
    if not is_automatic(wanted) or sum(sizes) < _WORTH_MEASURING or len(medium) < _FIRST:
        return order, 0
    first = medium[:_FIRST]
    return first + [item for item in order if not any(item is one for one in first)], _FIRST


def is_automatic(compression: Compression) -> bool:
    return compression.algorithm == "gzip" and compression.level is None


def alternatives(wanted: Compression) -> Tuple[Compression, ...]:
    """What a layer may have been packed with that will do: the first is what is packed with if nothing is known."""
    return (wanted, replace(wanted, level=SMALL_LEVEL)) if is_automatic(wanted) else (wanted,)


def level_annotation(wanted: Compression, key: Optional[LayerKey]) -> Mapping[str, str]:
    """That of the manifest: library, version and level that make the same bytes again; nothing for the default."""
    if key is None or not is_automatic(wanted) or key.encoder == wanted.encoder:
        return {}
    return {LEVEL: key.encoder}


class Rates:
    """How fast a push packs and sends, and what to pack with therefore."""

    def __init__(self, wanted: Compression) -> None:
        self._wanted = wanted
        self.sent, self._packed, self._packed_small = Rate(), Rate(), Rate()

    def compression(self) -> Compression:
        return compression_for(self._wanted, self.sent.value, self._packed.value, self._packed_small.value)

    def packing(self, size: int, compression: Compression) -> ContextManager[None]:
        """Around the packing of a prefix of ``size`` bytes."""
        return (self._packed if compression == self._wanted else self._packed_small).measured(size)


class Rate:
    """Bytes a second that all transfers together reach, or all packers. Safe to use from many threads.

    Each transfer counts for its share of the time: where four run at once, a fourth of it. So one that is complete says
    how fast the link is, whatever the buffers of the system have taken of the others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._running = 0
        self._shared = 0.0
        self._last = 0.0
        self._bytes = 0
        self._seconds = 0.0

    @contextlib.contextmanager
    def measured(self, size: int) -> Iterator[None]:
        """Around the transfer of a blob of ``size`` bytes. One that fails, or is small, does not count."""
        began = self._change(1)
        try:
            yield
        except BaseException:
            self._change(-1)
            raise
        ended = self._change(-1)
        if size >= MEASURED:
            with self._guard:
                self._bytes += size
                self._seconds += ended - began

    def _change(self, by: int) -> float:
        """One more or less; the time so far, divided among those that ran."""
        with self._guard:
            now = self._clock()
            if self._running:
                self._shared += (now - self._last) / self._running
            self._running += by
            self._last = now
            return self._shared

    @property
    def value(self) -> Optional[float]:
        with self._guard:
            if self._bytes < ENOUGH:
                return None
            return self._bytes / max(self._seconds, 1e-9)
