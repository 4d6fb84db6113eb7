# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The loop of a writer of an index. Why it ends with every package of every writer: see the package's docstring."""

from typing import AbstractSet, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, TypeVar

from ...content import RepositoryWriter
from ...errors import (
    ContentError,
    IndexUpdateError,
    InvalidContent,
    NotAPackage,
    NotFound,
    SpackOciError,
)
from ...util.progress import Work
from ...util.text import counted
from ..model import PackageIndex
from ..publish import (
    DOCUMENT_TAG,
    Published,
    publish,
)
from .look import Look, Looker, newly_signed, others_are_at_work
from .read_package import IndexedPackage
from .read_tags import ListedButMissing, read_digests, read_packages
from .settings import Backoff, IndexUpdate, UpdateSettings
from .signatures import SignatureUpdate

__all__ = ["Backoff", "IndexUpdate", "UpdateSettings", "merge_pushed", "update_index"]

T = TypeVar("T")
#: how often a push looks at an index of which one document is older than the other
_LOOKS_AGAIN = 4
#: seconds after which it is asked before the uploads, too, whether somebody else has written
_LONG = 1.0
#: how long a cycle, a look and a write, takes, in looks
_LOOKS_IN_A_CYCLE = 4
#: how often who has written last waits for others to merge what is missing, before it reads that
_PATIENCE = 3
#: how many of its last attempts a writer makes whoever else is writing
_INSISTS = 4


def update_index(
    store: RepositoryWriter,
    settings: Optional[UpdateSettings] = None,
    *,
    full: bool = False,
    compare_digests: bool = True,
    create: bool = True,
) -> IndexUpdate:
    """Make the index say what the tags say.

    ``full``: read every tag again, as if there were no index. ``compare_digests``: read those again that have another
    digest than the index says. A tag that cannot be read is left out, or stays as it was if the registry and not the
    content is to blame; it is named with ``warn`` and in the result. Without ``create``, NotFound is raised where there
    is neither a package nor an index: the name may be mistyped.
    """
    writer = _Writer(store, [], settings or UpdateSettings(), create)
    return writer.keep_signatures(writer.run(full, compare_digests and not full, patient=False))


def merge_pushed(
    store: RepositoryWriter, pushed: Iterable[IndexedPackage], settings: Optional[UpdateSettings] = None
) -> IndexUpdate:
    """Add what was just pushed, without reading it back, to the index as it is, whoever else is writing it."""
    writer = _Writer(store, list(pushed), settings or UpdateSettings())
    return writer.keep_signatures(writer.run(False, False, patient=True))


class _Writer:
    def __init__(
        self, store: RepositoryWriter, own: List[IndexedPackage], settings: UpdateSettings, create: bool = True
    ) -> None:
        self._store = store
        self._create = create
        self._index_store = settings.index_store or store
        self._own = {package.entry.tag: package for package in own}
        self._settings = settings
        self._warn = settings.warn
        self._reporter = settings.reporter
        self._backoff = settings.backoff
        self._jobs = max(1, settings.jobs)
        #: everything that was learnt, from any index that was seen and from tags: nothing is read twice
        self._known = PackageIndex()
        #: tag -> digest of its manifest, of what was pushed or read here: no index knows better
        self._expected = {tag: package.entry.manifest.digest for tag, package in self._own.items()}
        #: tags of which an index had another digest than the expected one
        self._contested: Set[str] = set()
        #: tag -> the digest that an index had when the tag was asked
        self._asked: Dict[str, str] = {}
        #: tags with another digest than the index says, yet to be read
        self._changed: Set[str] = set()
        self._gives_way = self._was_overtaken = False
        self._writes = 0
        #: digest of the document manifest that was written here last
        self._written = ""
        #: tags that were missing after that: who finished while it was written is among those who pushed them
        self._answers_for: Set[str] = set()
        #: tags of others that are read here
        self._due: Set[str] = set()
        self._reads_others = True
        #: how often others were at work for all of ``_PATIENCE``
        self._waits = 0
        #: when the last look began, of the monotonic clock
        self._looked = 0.0
        self._compared = 0
        self._unreadable: Dict[str, str] = {}
        self._kept: Dict[str, str] = {}
        self._looker = Looker(store, self._settings)
        self._before = PackageIndex()
        #: the last look of :meth:`run`
        self._last: Optional[Look] = None
        self._signatures = SignatureUpdate(self._index_store, settings.signatures)

    def keep_signatures(self, result: IndexUpdate) -> IndexUpdate:
        """After :meth:`run`: of several who sign a package at once, none loses a signature (see
        ``spack_oci.operations.trust.write``)."""
        writer = self
        for attempt in range(1, self._backoff.attempts):
            look = writer._last
            if look is None or not self._signatures.keep_together(look.document, look.packages, look.announced):
                break
            self._backoff.wait(attempt, self._backoff.clock() - self._looked)
            writer = _Writer(self._store, list(self._own.values()), self._settings)
            writer.run(False, False, patient=False)
        return result

    def run(self, full: bool, compare_digests: bool, patient: bool) -> IndexUpdate:
        """``patient``: leave the tags of others to them, as long as others are seen to push or to merge.

        Not where Spack has written an index that ours does not know: without what only Spack knows, the first index
        written would be a step back.
        """
        self._signatures.announce()
        look = self._look()
        if not (self._create or look.tags or look.document or look.database):
            raise NotFound(f"{self._store.url} has neither packages nor an index")
        self._before = look.packages
        self._check_own(look.packages)
        self._contested.update(self._outdated(look))
        if not full:
            self._claim(look)
            self._learn(look.packages)
            if compare_digests:
                self._find_changed(look)
            if self._is_complete(look):
                return self._result(look, None)
        if patient and self._own:
            look = self._past_a_write_of_others(look)
            self._reads_others = not look.is_known
            if self._others(look):
                look = self._wait_in_line(look, self._cycle_after_look(), moves=False)
                if self._is_done(look):
                    return self._result(look, None)
        published: Optional[Published] = None
        written_with = look.tags
        overtaken = 0
        for _ in range(self._backoff.attempts + self._backoff.overtakes):
            if self._writes >= self._backoff.attempts:
                break
            cycle = self._backoff.clock() - self._looked
            # the last times, whoever else is writing: one of all has to get through
            self._gives_way = self._writes < self._backoff.attempts - _INSISTS
            written = self._write(look)
            published = written or published
            if self._was_overtaken:
                overtaken += 1
            else:
                written_with, overtaken = look.tags, 0
                if written is not None:
                    look = self._look()
                    self._answers_for = self._missing(look)
                    self._ask_who_was_last(look)
                elif self._reads_others:
                    return self._result(look, published)
                if not self._is_done(look) and self._is_left_to_others(look):
                    look = self._wait_for_others(look)
                    if self._waits > 1 and self._is_left_to_others(look):
                        return self._result(look, published)
                    if not self._is_done(look):
                        continue
                if self._is_done(look):
                    return self._result(look, published)
            look = self._back_off(look, overtaken or self._writes, cycle)
            if self._is_done(look):
                return self._result(look, published)
        return self._give_up(look, written_with, published)

    def _past_a_write_of_others(self, look: Look) -> Look:
        """Of two documents that do not belong together, somebody may be about to write the second."""
        for attempt in range(1, _LOOKS_AGAIN):
            if look.is_known:
                break
            self._backoff.wait(attempt, self._backoff.clock() - self._looked)
            look = self._look_again()
        return look

    def _others(self, look: Look) -> float:
        """About how many pushers have yet to merge, if each has pushed as much as this one."""
        theirs = self._missing(look) - self._known.tags.keys() - self._own.keys() - self._due
        return len(theirs) / max(1, len(self._own)) if not self._reads_others else 0.0

    def _back_off(self, look: Look, attempt: int, cycle: float) -> Look:
        if self._others(look):
            return self._wait_in_line(look, cycle, moves=True)
        self._backoff.wait(attempt, cycle)
        return self._look_again()

    def _wait_in_line(self, look: Look, cycle: float, moves: bool) -> Look:
        """Others are pushing and will merge as well: all at once, each would undo what the others do. ``moves``: they
        are certainly there; what a look finds missing may be of pushers that have been killed."""
        backoff = self._backoff
        left = backoff.place_in_line(cycle, self._others(look))
        while True:
            # looks again meanwhile: the line gets shorter, and so does a cycle, which took long while all were at work
            part = min(left, max(backoff.limit, 2 * backoff.quiet(cycle)) if moves else backoff.quiet(cycle))
            backoff.sleep(part)
            before, look = look, self._look_again()
            left -= part
            if left <= 0 or self._is_done(look) or not (moves or others_are_at_work(before, look)):
                return look
            moves = True
            left = min(left, backoff.place_in_line(self._cycle_after_look(), self._others(look)))

    def _wait_for_others(self, look: Look) -> Look:
        """Nobody has written since this writer did: look until what is missing is merged, or have it read here."""
        for _ in range(_PATIENCE):
            self._backoff.wait_to_settle(self._cycle_after_look())
            before, look = look, self._look_again()
            if self._is_done(look) or not self._is_left_to_others(look):
                return look
            if not others_are_at_work(before, look):
                self._due = self._missing(look)
                return look
        self._waits += 1
        self._due = self._missing(look) & self._answers_for
        return look

    def _is_done(self, look: Look) -> bool:
        """Nothing is missing, or only what others have just pushed: what was tagged before the last write, who made
        that sees to, and what was tagged after it, who pushed it."""
        if self._is_complete(look):
            return True
        is_last = look.document is not None and look.document.descriptor.digest == self._written
        return self._is_left_to_others(look) and not (is_last and self._missing(look) & self._answers_for)

    def _is_left_to_others(self, look: Look) -> bool:
        """All that was written is in the index, and it only lacks packages that others have just pushed."""
        if self._reads_others or not look.is_consistent:
            return False
        if self._changed & look.tags or self._outdated(look) or self._gone(look):
            return False
        written = (self._known.tags.keys() & look.tags) | self._own.keys()
        return written <= look.packages.tags.keys() and self._signatures.is_complete(
            look.document, look.packages, look.signed
        )

    # The steps of the loop

    def _look(self) -> Look:
        self._looked = self._backoff.clock()
        return self._looker.look(self._own)

    def _cycle_after_look(self) -> float:
        """Seconds that a look and a write take, as far as the look tells that has just ended."""
        return _LOOKS_IN_A_CYCLE * (self._backoff.clock() - self._looked)

    def _look_again(self) -> Look:
        look = self._look()
        self._give_up_deleted(look)
        self._learn(look.packages)
        self._claim(look)
        return look

    def _give_up_deleted(self, look: Look) -> None:
        """Of what was pushed here, what a prune has taken away since: a listing alone may be a moment behind."""
        unlisted = sorted(self._own.keys() - look.tags)
        for tag, outcome in read_digests(self._store, unlisted, self._jobs):
            if isinstance(outcome, NotFound):
                del self._own[tag], self._expected[tag]
                if tag in self._known.tags:
                    self._known.remove(tag)

    def _is_complete(self, look: Look) -> bool:
        if not look.is_consistent or self._changed & look.tags:
            return False
        if any(tag not in look.packages.tags for tag in self._own) or self._outdated(look):
            return False
        if not self._signatures.is_complete(look.document, look.packages, look.signed):
            return False
        return not self._missing(look) and not self._gone(look) and not newly_signed(look.packages, look.signed)

    def _missing(self, look: Look) -> Set[str]:
        return look.tags - look.packages.tags.keys() - self._unreadable.keys()

    def _gone(self, look: Look) -> Set[str]:
        """What was just pushed is kept: a listing that is a moment behind does not unmake it."""
        return look.packages.tags.keys() - look.tags - self._own.keys()

    def _outdated(self, look: Look) -> List[str]:
        """Tags of which the index says something else than was pushed or read here."""
        return [
            tag
            for tag, digest in self._expected.items()
            if tag in look.packages.tags
            and not look.packages.has_same_entry(self._known, tag)
            and look.packages.manifest_of(tag) != digest
        ]

    def _ask_who_was_last(self, look: Look) -> None:
        """An index had another digest than was pushed or read here: it was old, or the tag has been moved since."""
        self._contested.update(self._outdated(look))
        self._ask(sorted(self._contested & self._expected.keys()), look)

    def _claim(self, look: Look) -> None:
        """The same before a write: to write what is not under the tag any more would make somebody else write it again.
        Nothing is asked twice of one index."""
        outdated = [tag for tag in self._outdated(look) if self._asked.get(tag) != look.packages.manifest_of(tag)]
        self._contested.update(outdated)
        self._asked.update((tag, look.packages.manifest_of(tag)) for tag in outdated)
        self._ask(sorted(outdated), look)

    def _ask(self, tags: Sequence[str], look: Look) -> None:
        for tag, digest in read_digests(self._store, tags, self._jobs):
            if isinstance(digest, str) and digest != self._expected[tag]:
                del self._expected[tag]
                self._own.pop(tag, None)
                if tag in look.packages.tags and look.packages.manifest_of(tag) == digest:
                    self._known.adopt(look.packages, tag)
                else:
                    self._read_again(tag)

    def _find_changed(self, look: Look) -> None:
        known = sorted((look.packages.tags.keys() & look.tags) - self._expected.keys())
        self._compared = len(known)
        for tag, digest in self._shown("tags compared", known, read_digests(self._store, known, self._jobs)):
            if digest != look.packages.manifest_of(tag):
                self._read_again(tag)

    def _shown(self, unit: str, tags: Sequence[str], reading: Iterator[Tuple[str, T]]) -> Iterator[Tuple[str, T]]:
        self._reporter.begin(Work(len(tags), unit))
        try:
            for tag, outcome in reading:
                self._reporter.finished(tag)
                yield tag, outcome
        finally:
            self._reporter.end()

    def _read_again(self, tag: str) -> None:
        self._changed.add(tag)
        if tag in self._known.tags:
            self._known.remove(tag)

    def _learn(self, index: PackageIndex) -> None:
        for tag in index.tags.keys() - self._expected.keys() - self._changed - self._kept.keys():
            self._known.adopt(index, tag)

    def _write(self, look: Look) -> Optional[Published]:
        """None: the index has already what would be written, or somebody else has written it (``_was_overtaken``)."""
        self._was_overtaken = False
        for package in self._own.values():
            self._known.add(package.nodes, package.entry)
        missing = look.tags - self._known.tags.keys() - self._unreadable.keys()
        self._read(sorted(missing if self._reads_others else missing & (self._changed | self._due)), look)
        for tag in list(self._known.tags.keys() - look.tags - self._own.keys()):
            self._known.remove(tag)
        for dag_hash, entry in newly_signed(self._known, look.signed):
            self._known.replace_entry(dag_hash, entry._replace(signed=True))
        self._known.prune()
        signatures = self._signatures
        table = signatures.new_table(look.document, look.packages, self._known, look.signed)
        if look.is_consistent and self._known.is_same_as(look.packages):
            is_complete = signatures.is_complete(look.document, look.packages, look.signed)
            if is_complete and table == signatures.table_of(look.document):
                return None
        is_long = self._backoff.clock() - self._looked > _LONG
        if (is_long or self._others(look)) and self._check_overtaken(look):
            return None

        publishing = signatures.sign(look.document), lambda: self._check_overtaken(look)
        published = publish(self._index_store, self._known, table, *publishing)
        if published is None:
            return None
        self._writes += 1
        self._written = published.document_manifest.digest
        self._looker.knows(published.document_manifest.digest, self._known.copy())
        return published

    def _check_overtaken(self, look: Look) -> bool:
        """Whether somebody has written since ``look``: to write over that would make both write once more."""
        if self._gives_way:
            try:
                now = self._index_store.resolve(DOCUMENT_TAG).digest
            except NotFound:
                now = None
            self._was_overtaken = now != (look.document.descriptor.digest if look.document else None)
        return self._was_overtaken

    def _read(self, tags: List[str], look: Look) -> None:
        contradictions: Dict[str, SpackOciError] = {}
        reading = read_packages(self._store, tags, self._jobs, self._known, self._backoff.wait)
        for tag, outcome in self._shown("tags read", tags, reading):
            if isinstance(outcome, ListedButMissing):
                contradictions[tag] = outcome
            elif isinstance(outcome, IndexedPackage):
                self._add(tag, outcome, look.tags)
            else:
                self._not_read(tag, outcome, look.packages)
        if contradictions:
            listed_now = set(self._store.tags())
            for tag, error in contradictions.items():
                if tag in listed_now:  # else it was deleted meanwhile
                    self._not_read(tag, error, look.packages)

    def _not_read(self, tag: str, error: SpackOciError, index: PackageIndex) -> None:
        self._changed.discard(tag)
        if not isinstance(error, ContentError) and tag in index.tags:
            self._known.adopt(index, tag)
            self._kept[tag] = error.message
            self._warn(f"{tag}: kept as the index had it, because it cannot be read: {error}")
        else:
            self._unreadable[tag] = error.message
            self._warn(f"{tag} is not in the index, because it cannot be read: {error}")

    def _add(self, tag: str, package: IndexedPackage, listed: Set[str]) -> None:
        """Take over what was read. Of two tags with one package, the one that Spack gives it is in the index."""
        self._changed.discard(tag)
        known = self._known.entry(package.dag_hash)
        if known is not None and known.tag != tag and known.tag in listed:
            kept, other = sorted((known.tag, tag), key=lambda t: (t != package.tag_of_spack, t))
            self._unreadable[other] = f"it holds the same package as {kept}"
            self._warn(f"{other} is not in the index, because it holds the same package as {kept}")
            if kept != tag:
                return
        try:
            self._check_new(package, self._known)
            self._known.add(package.nodes, package.entry)
            self._expected[tag] = package.entry.manifest.digest
        except (InvalidContent, NotAPackage) as e:
            self._unreadable[tag] = e.message
            self._warn(f"{tag} is not in the index, because it cannot be read: {e}")

    def _check_own(self, index: PackageIndex) -> None:
        checked: Set[bytes] = set()  # most nodes are those of many packages
        for tag, package in list(self._own.items()):
            try:
                self._check_new(package, index, checked)
                checked.update(node.data for node in package.nodes)
            except (InvalidContent, NotAPackage) as e:
                del self._own[tag], self._expected[tag]
                self._unreadable[tag] = e.message
                self._warn(f"{tag} is not in the index, because it cannot be read: {e}")

    def _check_new(
        self, package: IndexedPackage, index: PackageIndex, checked: AbstractSet[bytes] = frozenset()
    ) -> None:
        """Read with Spack's reader the nodes that neither are among those ``checked`` nor in ``index``. Raises
        NotAPackage that names one."""
        package.entry.check()
        new = [node for node in package.nodes if node.data not in checked and not index.has_same_node(node)]
        self._settings.check_nodes(new)

    def _give_up(self, look: Look, written_with: Set[str], published: Optional[Published]) -> IndexUpdate:
        missing = self._missing(look)
        own = all(tag in look.packages.tags for tag in self._own) and not self._outdated(look)
        if own and look.is_consistent and not missing & written_with:
            return self._result(look, published)
        raise IndexUpdateError(
            f"the index of {self._store.url} was written by others all the time, for {self._backoff.attempts} writes,"
            f" and lacks {counted(len(missing), 'package')}",
            remedy="nothing is lost: run `spack oci update-index` when the other pushes have ended",
        )

    def _result(self, look: Look, published: Optional[Published]) -> IndexUpdate:
        self._last = look
        assert look.document is not None and look.database is not None
        before, now = self._before.tags.keys(), look.packages.tags.keys()
        return IndexUpdate(
            total=len(now),
            added=len(now - before),
            changed=len(look.packages.changed_since(self._before)),
            removed=len(before - now),
            compared=self._compared,
            unreadable=dict(sorted(self._unreadable.items())),
            kept=dict(sorted(self._kept.items())),
            pending=tuple(sorted(self._missing(look))),
            digest=look.document.named_database,
            manifest=look.database.digest,
            document_manifest=look.document.descriptor.digest,
            writes=self._writes,
            database_size=published.database.size if published else 0,
            document_size=published.document.size if published else 0,
        )
