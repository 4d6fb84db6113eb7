# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How an index is updated, and what came of it."""

import random
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...content import RepositoryWriter
from ...util.progress import Reporter, Silent
from ...util.text import counted, elided
from ..nodes import Node
from .signatures import IndexSignatures

Warn = Callable[[str], None]
#: reads nodes as Spack does; raises NotAPackage that names one that Spack cannot read
CheckNodes = Callable[[Sequence[Node]], None]
#: cycles that each writer in a line has for itself; as they wait for random times, one would not do
_SHARE = 2.5
#: more in a line are not believed: most of what is missing then is of pushers that update no index, or were killed
_LONGEST_LINE = 50.0
#: cycles in which somebody of a line has moved something: but for one time in fifty
_QUIET = 10.0


class Backoff(NamedTuple):
    """How long a writer that finds the index incomplete waits before it looks again.

    A random time up to ``2**n`` cycles of its own (a look and a write, as long as they took), at most ``limit``
    seconds. Random, so that writers that collided do not collide again; in cycles, because that is how long the others
    are busy.
    """

    #: writes in all
    attempts: int = 12
    #: how often others may be faster: each time, one of them has got on
    overtakes: int = 100
    shortest_cycle: float = 0.05
    limit: float = 20.0
    #: the same for a writer in a line of which it has seen that it moves
    line_limit: float = 300.0
    #: seconds, at least, in which nothing has to move for a writer to think that nobody will merge what is missing
    settle: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform
    #: seconds of a clock that only goes forward
    clock: Callable[[], float] = time.monotonic

    def wait(self, attempt: int, cycle: float = 0.0) -> None:
        self.sleep(self.uniform(0.0, min(self.limit, self._cycle(cycle) * 2.0**attempt)))

    def place_in_line(self, cycle: float, others: float) -> float:
        """When it is the turn of a writer, in seconds from now, so that it and about ``others`` more seldom meet."""
        return self.uniform(0.0, min(self.line_limit, self._cycle(cycle) * _SHARE * (1.0 + min(others, _LONGEST_LINE))))

    def quiet(self, cycle: float) -> float:
        """Nobody is at work, if nothing has moved for so many seconds."""
        return max(self.settle, _QUIET * cycle)

    def wait_to_settle(self, cycle: float) -> None:
        shortest = self.quiet(cycle)
        self.sleep(self.uniform(shortest, 1.5 * shortest))

    def _cycle(self, measured: float) -> float:
        return max(measured, self.shortest_cycle)


class UpdateSettings(NamedTuple):
    """How to update an index."""

    #: tags read at a time
    jobs: int = 16
    warn: Warn = lambda message: None
    backoff: Backoff = Backoff()
    #: asked of nodes that the index does not have yet
    check_nodes: CheckNodes = lambda nodes: None
    #: told of tags that are read or compared
    reporter: Reporter = Silent()
    #: where the index is, if not in the repository of the packages
    index_store: Optional[RepositoryWriter] = None
    #: of packages, and who signs the index; None: the signatures that it has are kept
    signatures: Optional[IndexSignatures] = None


class IndexUpdate(NamedTuple):
    """What an update came to."""

    #: packages in the index now
    total: int
    #: packages that the index did not know before, those whose content it knows anew, and those that it knows no longer
    added: int
    changed: int
    removed: int
    #: tags whose digest was compared with the index: so many HEAD requests in a registry
    compared: int = 0
    #: tag -> why it could not be read; it is not in the index
    unreadable: Mapping[str, str] = {}
    #: tag -> why it could not be read; it is in the index as it was before
    kept: Mapping[str, str] = {}
    #: tags that others are pushing just now and will merge themselves
    pending: Tuple[str, ...] = ()
    #: digest of the database that ``index.spack`` holds
    digest: str = ""
    #: digests of the manifests behind ``index.spack`` and behind ours
    manifest: str = ""
    document_manifest: str = ""
    #: how often the index was written; 0: it was complete
    writes: int = 0
    #: bytes of the database and of our document, if they were written
    database_size: int = 0
    document_size: int = 0

    def to_dict(self) -> Dict[str, Any]:
        return {
            **self._asdict(),
            "unreadable": dict(self.unreadable),
            "kept": dict(self.kept),
            "pending": list(self.pending),
        }

    def lines(self, url: str) -> List[Tuple[str, bool]]:
        """For people: (text, is it a warning)."""
        counts = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        changes = ", ".join(f"{count} {word}" for word, count in counts if count) or "nothing new"
        lines = [(f"Index of {url}: {counted(self.total, 'package')} ({changes})", False)]
        if self.unreadable:
            named = elided(sorted(self.unreadable))
            lines.append((f"{counted(len(self.unreadable), 'tag')} could not be read: {named}", True))
        if self.kept:
            named = elided(sorted(self.kept))
            lines.append((f"{counted(len(self.kept), 'tag')} could not be read and stayed as before: {named}", True))
        if self.pending:
            text = f"{counted(len(self.pending), 'package')} of other pushers came meanwhile; they add them themselves"
            lines.append((text, False))
        return lines
