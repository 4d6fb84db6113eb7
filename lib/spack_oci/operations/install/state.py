# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package on its way through an install."""

from dataclasses import dataclass
from typing import Optional, Set

from .arriving import Arriving
from .outcome import InstallItem


@dataclass
class State:
    item: InstallItem
    #: dependencies in the plan that are not finished yet
    waiting: Set[str]
    #: the package whose prefix this one's is in, if the plan has one
    outer: Optional["State"] = None
    #: its layer has begun to arrive, and is worth it
    arriving: Optional[Arriving] = None
    #: its fetch is over
    fetched: bool = False
    extracted: bool = False
    #: a worker has begun with it, so that there may be something to discard
    touched: bool = False
    #: nothing is to be done to it any more; it is finished when what it depends on is
    prepared: bool = False
    finished: bool = False
    error: Optional[BaseException] = None
    skipped: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Also the packages whose prefixes this one is in."""
        return self.finished and (self.outer is None or self.outer.complete)

    @property
    def over(self) -> bool:
        return self.finished or self.skipped or self.error is not None


def may_be_made(state: State) -> bool:
    """A package in the prefix of another one: when that is finished, as its hooks read the whole prefix; or, where the
    outer one depends on it and cannot be finished without it, when it is extracted."""
    outer = state.outer
    if outer is None:
        return True
    return outer.extracted if state.item.dag_hash in outer.item.dependencies else outer.finished
