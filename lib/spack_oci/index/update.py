# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Making the index of a cache say what the cache has: incrementally, and with any number of writers at once.

**Incremental.** The tags are the truth, the index is a summary of them. The last document of ours says what is known;
a package's spec is identified by the DAG hash in its tag, so that only tags it does not list are read, and those that
are gone are dropped. (A tag that was pushed again keeps its old layer in the index until its pusher merges, or until
``full``. The old layer has the same package; a reader that finds it deleted reads the tag.)

**Many writers.** A registry offers no way to replace a tag only if it still has the value that was read, so two writers
that start from the same index can overwrite each other. Each of them therefore runs this loop::

    look:     read the index, then list the tags
    complete? the index has all that was pushed here, and all the tags, and both documents belong together: done
    back off: wait a random time, look again, perhaps somebody else has completed it
    write:    what the index has, plus what was pushed here, plus the missing tags, minus those that are gone

Why this ends with every package of every pusher in the index: a pusher merges only after its tags are written, and
stops only after a look that came *after* its last write and showed a complete index. Take the last write that anybody
makes, by V. V looks afterwards. A package that this last index lacks was tagged before that look, or after it. If
before, V sees the tag, finds the index incomplete and writes again, so it was not the last write. If after, the pusher
of that package has yet to merge, looks, finds its package missing and writes, so again it was not the last. Hence the
last index lacks nothing. Two documents are two places to overwrite; ours names the manifest of the other and is
written after it, so a look also finds a mixture of two writers incomplete, and the same argument holds for the pair.

Who is killed between a write and the look after it may leave behind an index without the packages of somebody who had
finished. Nothing is damaged then: the tags are there, readers of the index do not see those packages, and the next
writer of any package, or ``update-index``, adds them. The same holds when a Spack without this extension overwrites
``index.spack``: ours then names another manifest, readers fall back, and the next writer of ours repairs both.

The loop is bounded. While others keep on pushing, tags appear between every write and the look after it, and nobody
ever sees a complete index. So after ``attempts`` writes a writer that sees everything of its own, and misses only tags
that it first saw after its last write, leaves those to their pushers, who have yet to merge them, and reports them
(``pending``). Only a pusher that tagged, merged and looked entirely within the time of that one last write could lose
its packages by that, until the next write.
"""

import functools
import itertools
import random
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ..content import ContentStore
from ..descriptor import Descriptor
from ..errors import (
    ContentError,
    DigestMismatch,
    IndexUpdateError,
    InvalidContent,
    NotFound,
    ServerFailure,
    SpackOciError,
    UnexpectedResponse,
)
from ..index.read_package import IndexedPackage, read_package
from ..package.record import is_package_tag
from ..util.text import counted, elided
from .model import PackageEntry, PackageIndex
from .publish import (
    DATABASE_TAG,
    DOCUMENT_TAG,
    DocumentManifest,
    Published,
    decompress,
    is_current,
    publish,
    read_document,
    read_document_manifest,
)

Warn = Callable[[str], None]

#: where cosign stores the signature of a manifest
_SIGNATURE_TAG = re.compile(r"sha256-([0-9a-f]{64})\.sig\Z")

#: how often an incomplete listing of the tags is asked for again
_LISTINGS = 5

#: what makes one tag unreadable; everything else would befall the others too and ends the update
_UNREADABLE = (ContentError, ServerFailure, UnexpectedResponse)


@dataclass(frozen=True)
class Backoff:
    """How long a writer that finds the index incomplete waits before it looks again.

    A random time up to ``2**n`` cycles of its own (a look and a write, as long as they took), at most ``limit``
    seconds. Random, so that writers that collided do not collide again; in cycles, because that is how long the others
    are busy.
    """

    attempts: int = 12
    shortest_cycle: float = 0.05
    limit: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def wait(self, attempt: int, cycle: float) -> None:
        self.sleep(self.uniform(0.0, min(self.limit, max(cycle, self.shortest_cycle) * 2.0**attempt)))


@dataclass(frozen=True)
class IndexUpdate:
    """What an update came to."""

    #: packages in the index now
    total: int
    #: packages that the index did not know before, and that it knows no longer
    added: int
    removed: int
    #: tag -> why it could not be read
    unreadable: Mapping[str, str] = field(default_factory=dict)
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
        return {**vars(self), "unreadable": dict(self.unreadable), "pending": list(self.pending)}

    def lines(self, url: str) -> List[Tuple[str, bool]]:
        """For people: (text, is it a warning)."""
        changes = f"{self.added} added, {self.removed} removed" if self.added or self.removed else "nothing new"
        lines = [(f"Index of {url}: {counted(self.total, 'package')} ({changes})", False)]
        if self.unreadable:
            named = elided(sorted(self.unreadable))
            lines.append((f"{counted(len(self.unreadable), 'tag')} could not be read: {named}", True))
        if self.pending:
            text = f"{counted(len(self.pending), 'package')} of other pushers came meanwhile; they add them themselves"
            lines.append((text, False))
        return lines


def update_index(
    store: ContentStore,
    *,
    full: bool = False,
    strict: bool = False,
    jobs: int = 16,
    warn: Warn = lambda message: None,
    backoff: Optional[Backoff] = None,
) -> IndexUpdate:
    """Make the index say what the tags say. ``full``: read every tag again, as if there were no index.

    A tag that cannot be read is left out, named with ``warn`` and in the result; with ``strict`` it makes the update
    fail in the end (IndexUpdateError), after the index was written. ``jobs``: tags read at a time.
    """
    result = _Writer(store, [], jobs, warn, backoff or Backoff()).run(full=full, patient=False)
    if strict and result.unreadable:
        raise IndexUpdateError(
            f"the index of {store.url} lacks {len(result.unreadable)} tags that could not be read:"
            f" {', '.join(sorted(result.unreadable))}"
        )
    return result


def merge_pushed(
    store: ContentStore,
    pushed: Iterable[IndexedPackage],
    *,
    jobs: int = 16,
    warn: Warn = lambda message: None,
    backoff: Optional[Backoff] = None,
) -> IndexUpdate:
    """Add what was just pushed, without reading it back, to the index as it is, whoever else is writing it."""
    return _Writer(store, list(pushed), jobs, warn, backoff or Backoff()).run(full=False, patient=True)


class _Look(NamedTuple):
    """The index as it was, and the tags as they were after that."""

    #: None: there is no document of ours, or none that can be read
    document: Optional[DocumentManifest]
    #: of ``index.spack``
    database: Optional[Descriptor]
    packages: PackageIndex
    #: those of packages
    tags: Set[str]
    #: digests of manifests that have a signature, as far as tags tell (cosign's ``sha256-HEX.sig``)
    signed: Set[str]


class _Writer:
    def __init__(self, store: ContentStore, own: List[IndexedPackage], jobs: int, warn: Warn, backoff: Backoff) -> None:
        self._store = store
        self._own = {package.entry.tag: package for package in own}
        self._jobs = max(1, jobs)
        self._warn = warn
        self._backoff = backoff
        #: everything that was learnt, from any index that was seen and from tags: nothing is read twice
        self._known = PackageIndex()
        #: tags that were read here: no index knows better
        self._fresh: Set[str] = set()
        self._unreadable: Dict[str, str] = {}
        #: (digest of a document manifest, its packages): what was seen or written last
        self._last: Tuple[Optional[str], PackageIndex] = (None, PackageIndex())
        self._before: Set[str] = set()

    def run(self, full: bool, patient: bool) -> IndexUpdate:
        """``patient``: leave the tags of others to them at first.

        Not where there is no index of ours, or where Spack has written another: without what only Spack knows, the
        first index written would be a step back.
        """
        began = time.monotonic()
        look = self._look()
        self._before = set(look.packages.tags)
        if not full:
            self._learn(look.packages)
            if self._is_complete(look):
                return self._result(look, None, 0)
        patient = patient and bool(self._own) and look.document is not None and is_current(look.document, look.database)
        published = self._write(look, read_others=not patient, fall_back_on=look.packages)
        for attempt in range(self._backoff.attempts):
            cycle = time.monotonic() - began
            written_with = look.tags
            look = self._look()
            if self._is_complete(look):
                return self._result(look, published, attempt + 1)
            if attempt == self._backoff.attempts - 1:
                break
            self._backoff.wait(attempt, cycle)
            began = time.monotonic()
            look = self._look()
            self._learn(look.packages)
            if self._is_complete(look):
                return self._result(look, published, attempt + 1)
            published = self._write(look, read_others=True, fall_back_on=look.packages)
        return self._give_up(look, written_with, published)

    # The steps of the loop

    def _look(self) -> _Look:
        """The index first, the tags second: a tag that appears in between makes the index look incomplete."""
        document, index = self._read_index()
        try:
            database: Optional[Descriptor] = self._store.resolve(DATABASE_TAG)
        except NotFound:
            database = None
        listed = self._listed(document is not None)
        signed = {f"sha256:{match.group(1)}" for match in map(_SIGNATURE_TAG.match, listed) if match}
        return _Look(document, database, index, {tag for tag in listed if is_package_tag(tag)}, signed)

    def _listed(self, with_document: bool) -> Set[str]:
        """All tags. A listing without the tag that was just read is a moment behind; of what it lacks, we would say
        that it is gone.
        """
        for attempt in range(_LISTINGS):
            if attempt:
                self._backoff.wait(attempt, self._backoff.shortest_cycle)
            listed = set(self._store.tags())
            if not with_document or DOCUMENT_TAG in listed:
                return listed
        raise IndexUpdateError(
            f"{self._store.url} has {DOCUMENT_TAG}, but does not list it among its {len(listed)} tags",
            remedy="its listing is incomplete, and packages would be lost by believing it; try again later",
        )

    def _read_index(self) -> Tuple[Optional[DocumentManifest], PackageIndex]:
        try:
            document = read_document_manifest(self._store)
        except NotFound:
            return None, PackageIndex()
        except InvalidContent as e:
            return self._without_index(e)
        try:
            if document.descriptor.digest != self._last[0]:
                lines = decompress(read_document(self._store, document))
                self._last = (document.descriptor.digest, PackageIndex.from_lines(lines))
            return document, self._last[1]
        except (NotFound, InvalidContent, DigestMismatch) as e:
            return self._without_index(e)

    def _without_index(self, error: SpackOciError) -> Tuple[None, PackageIndex]:
        self._warn(f"the index of {self._store.url} is made anew, because it cannot be read: {error.message}")
        return None, PackageIndex()

    def _is_complete(self, look: _Look) -> bool:
        if look.document is None or not is_current(look.document, look.database):
            return False
        for tag, package in self._own.items():
            found = look.packages.entry(package.dag_hash)
            if found is None or found.tag != tag or found.manifest.digest != package.entry.manifest.digest:
                return False
        return not self._missing(look) and not self._gone(look) and not _newly_signed(look.packages, look.signed)

    def _missing(self, look: _Look) -> Set[str]:
        return look.tags - look.packages.tags.keys() - self._unreadable.keys()

    def _gone(self, look: _Look) -> Set[str]:
        """What was just pushed is kept: a listing that is a moment behind does not unmake it."""
        return look.packages.tags.keys() - look.tags - self._own.keys()

    def _learn(self, index: PackageIndex) -> None:
        for tag in index.tags.keys() - self._own.keys() - self._fresh:
            self._known.adopt(index, tag)

    def _write(self, look: _Look, read_others: bool, fall_back_on: PackageIndex) -> Published:
        for package in self._own.values():
            self._known.add(package.nodes, package.entry)
        if read_others:
            missing = look.tags - self._known.tags.keys() - self._unreadable.keys()
            self._read(sorted(missing), look.tags, fall_back_on)
        for tag in list(self._known.tags.keys() - look.tags - self._own.keys()):
            self._known.remove(tag)
        for dag_hash, entry in _newly_signed(self._known, look.signed):
            self._known.replace_entry(dag_hash, replace(entry, signed=True))
        self._known.prune()
        published = publish(self._store, self._known)
        written = PackageIndex()
        for tag in self._known.tags:
            written.adopt(self._known, tag)
        self._last = (published.document_manifest.digest, written)
        return published

    def _read(self, tags: List[str], listed: Set[str], fall_back_on: PackageIndex) -> None:
        for tag, outcome in _read_all(self._store, tags, self._jobs, self._known):
            if isinstance(outcome, IndexedPackage):
                self._add(tag, outcome, listed)
                continue
            if not isinstance(outcome, ContentError) and tag in fall_back_on.tags:
                self._known.adopt(fall_back_on, tag)
                self._warn(f"{tag}: kept as the index had it, because it cannot be read: {outcome}")
                continue
            self._unreadable[tag] = outcome.message
            self._warn(f"{tag} is not in the index, because it cannot be read: {outcome}")

    def _add(self, tag: str, package: IndexedPackage, listed: Set[str]) -> None:
        """Take over what was read. Of two tags with one package, the one that Spack gives it is in the index."""
        known = self._known.entry(package.dag_hash)
        if known is not None and known.tag != tag and known.tag in listed:
            kept, other = sorted((known.tag, tag), key=lambda t: (t != package.tag_of_spack, t))
            self._unreadable[other] = f"it holds the same package as {kept}"
            self._warn(f"{other} is not in the index, because it holds the same package as {kept}")
            if kept != tag:
                return
        self._known.add(package.nodes, package.entry)
        self._fresh.add(tag)

    def _give_up(self, look: _Look, written_with: Set[str], published: Published) -> IndexUpdate:
        missing = self._missing(look)
        own = all(package.dag_hash in look.packages for package in self._own.values())
        together = look.document is not None and is_current(look.document, look.database)
        if own and together and not missing & written_with:
            return self._result(look, published, self._backoff.attempts, tuple(sorted(missing)))
        raise IndexUpdateError(
            f"the index of {self._store.url} was overwritten by others {self._backoff.attempts} times and lacks"
            f" {len(missing)} packages",
            remedy="nothing is lost: run `spack oci update-index` when the other pushes have ended",
        )

    def _result(
        self, look: _Look, published: Optional[Published], writes: int, pending: Tuple[str, ...] = ()
    ) -> IndexUpdate:
        assert look.document is not None and look.database is not None
        now = set(look.packages.tags)
        return IndexUpdate(
            total=len(now),
            added=len(now - self._before),
            removed=len(self._before - now),
            unreadable=dict(sorted(self._unreadable.items())),
            pending=pending,
            digest=look.document.named_database,
            manifest=look.database.digest,
            document_manifest=look.document.descriptor.digest,
            writes=writes,
            database_size=published.database.size if published else 0,
            document_size=published.document.size if published else 0,
        )


def _newly_signed(index: PackageIndex, signed: Set[str]) -> List[Tuple[str, PackageEntry]]:
    """Packages whose signature the index does not know yet."""
    if not signed:
        return []
    return [(h, entry) for h, entry in index.packages() if not entry.signed and entry.manifest.digest in signed]


def _read_all(
    store: ContentStore, tags: List[str], jobs: int, known: PackageIndex
) -> Iterator[Tuple[str, Union[IndexedPackage, SpackOciError]]]:
    """Read tags concurrently; only ``2 * jobs`` of their documents are in memory at a time."""
    if not tags:
        return
    waiting = iter(tags)
    done: SimpleQueue[Tuple[str, Future[IndexedPackage]]] = SimpleQueue()
    running = 0
    pool = ThreadPoolExecutor(min(jobs, len(tags)), "read-tag")
    try:
        while True:
            for tag in itertools.islice(waiting, 2 * jobs - running):
                future = pool.submit(read_package, store, tag, known)
                future.add_done_callback(functools.partial(_report, done, tag))
                running += 1
            if not running:
                return
            tag, future = done.get()
            running -= 1
            yield tag, _outcome(future)
    finally:
        pool.shutdown(cancel_futures=True)


def _report(
    done: "SimpleQueue[Tuple[str, Future[IndexedPackage]]]", tag: str, future: "Future[IndexedPackage]"
) -> None:
    done.put((tag, future))


def _outcome(done: "Future[IndexedPackage]") -> Union[IndexedPackage, SpackOciError]:
    try:
        return done.result()
    except _UNREADABLE as e:
        return e
