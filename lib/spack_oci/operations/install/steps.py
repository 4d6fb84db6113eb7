# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an install does to each package, which is the caller's business."""

from typing import Any, Callable, Protocol, Sequence

from ...content import Progress
from .arriving import Begin
from .outcome import InstallItem


class Steps(Protocol):
    """What is done to a package. Every method may raise; an Exception is the package's failure."""

    #: whether :meth:`finish` looks at what a package depends on
    finish_needs_dependencies: bool

    def fetch(self, item: InstallItem, progress: Progress, begun: Begin) -> Any:
        """In a thread: bring the layer to this machine; the result is pickled for :meth:`extract`. What ``progress``
        raises ends it. ``begun`` may be called with what :meth:`extract_arriving` needs, pickled, when a layer that is
        worth it has begun to arrive."""

    def extract(self, item: InstallItem, fetched: Any) -> None:
        """In a worker process: make the prefix."""

    def extract_arriving(self, item: InstallItem, begun: Any, check: Callable[[], None]) -> None:
        """As :meth:`extract`, while :meth:`fetch` goes on. ``check`` raises Cancelled when that has failed; who waits
        for more of the layer calls it. Whatever this raises, the package is extracted once more when it is there."""

    def finish(self, item: InstallItem) -> None:
        """In a worker process: what has to be done to a complete prefix; all dependencies are finished, if it needs
        them."""

    def register(self, items: Sequence[InstallItem]) -> None:
        """In the calling process: make the packages known, in this order (dependencies first)."""

    def discard(self, item: InstallItem) -> None:
        """In the calling process: remove the prefix and whatever a killed worker left of it."""
