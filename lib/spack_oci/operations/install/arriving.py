# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A large layer is extracted while it arrives, so that an install takes the longer of the two and not their sum.

A thread of the parent writes the layer to a file of the blob cache, from front to end, and a worker process reads that
file as it grows (:func:`~spack_oci.content.cached_fetch.open_arriving`). Each of the two takes the digest of all that
it has seen. So nothing becomes a prefix that was not verified to its last byte, whatever happens to the file meanwhile:
a download that was resumed continues it, and one that began anew, after damaged bytes or from another mirror, is found
out by the worker's own digest. Then, and for every other error, the extraction on the way does not count: the package
is extracted once more from the verified blob, and what comes of that is said.
"""

import mmap
import os
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, NamedTuple, Optional

from ...util.concurrency.cancellation import Cancelled

#: called when a layer has begun to arrive
Begin = Callable[[Any], None]


class Begun(NamedTuple):
    """What :meth:`.steps.Steps.extract_arriving` needs."""

    payload: Any


@dataclass
class Arriving:
    """A package whose layer has begun to arrive."""

    begun: Begun
    #: a process extracts it
    is_followed: bool = False
    #: which also does what comes after the extraction
    is_finished_at_once: bool = False
    fetch: "Optional[Future[Any]]" = None
    #: None is the result of one that did not count
    extraction: "Optional[Future[Optional[float]]]" = None

    @property
    def is_over(self) -> bool:
        return self.fetch is not None and self.extraction is not None

    @property
    def counts(self) -> bool:
        """When it is over: what the extraction came to is what the package comes to."""
        assert self.fetch is not None and self.extraction is not None
        if self.fetch.exception() is not None:
            return False
        # an error is that of a process that has died, or of what comes after the extraction
        return self.extraction.exception() is not None or self.extraction.result() is not None


class Watch:
    """Which downloads will not go on, as processes see it that were forked from this one later."""

    def __init__(self, names: Iterable[str]) -> None:
        self._places: Dict[str, int] = {name: place for place, name in enumerate(names)}
        self._parent = os.getpid()
        self._gone = mmap.mmap(-1, len(self._places))

    def give_up(self, name: str) -> None:
        self._gone[self._places[name]] = 1

    def give_up_all(self) -> None:
        for place in self._places.values():
            self._gone[place] = 1

    def check(self, name: str) -> None:
        """In a child: raise Cancelled if no more of that download will come."""
        if self._gone[self._places[name]] or os.getppid() != self._parent:
            raise Cancelled
