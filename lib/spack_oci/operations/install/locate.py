# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where the layer of a package is: from the index that is kept on the disk, or else from the package's tag.

The index makes an install one request a package, the blob. Where a Spack without this extension wrote the index last,
what ours says may be behind: that Spack may have pushed a package again. Then a HEAD request compares digests first.
When the blob that the index names is gone, the tag is read.
"""

from typing import Any, Callable, Optional, Protocol, Tuple, TypeVar

from ...content import ContentReader
from ...errors import BadSignature, NotAPackage, NotFound, StorageError
from ...index.entry import PackageEntry
from ...index.index_cache import IndexCache
from .fetch import RemotePackage, find_package

T = TypeVar("T")


def package_of_entry(entry: PackageEntry, dag_hash: str, url: str) -> RemotePackage:
    """What an install needs, without a request; ``document`` is empty."""
    relocation_summary = dict(entry.relocation)
    if entry.prefix_length is not None:
        relocation_summary["prefix_length"] = entry.prefix_length
    return RemotePackage(entry.tag, dag_hash, entry.manifest, entry.layer, entry.diff_id, {}, url, relocation_summary)


def indexed_package(
    index: Optional[IndexCache], store: ContentReader, tag: str, dag_hash: str
) -> Optional[RemotePackage]:
    """The package if the kept index of the store has it. An index that cannot be read is as good as none.

    Raises NotFound if the store has no such tag, where that is asked.
    """
    entry, is_current = _entry(index, store.url, tag, dag_hash)
    if entry is None or (not is_current and store.resolve(tag).digest != entry.manifest.digest):
        return None
    return package_of_entry(entry, dag_hash, store.url)


def _entry(index: Optional[IndexCache], url: str, tag: str, dag_hash: str) -> Tuple[Optional[PackageEntry], bool]:
    """What the kept index has of a package, and whether nobody can have pushed it again since."""
    try:
        entry = index.lookup(url, dag_hash) if index is not None else None
        if index is None or entry is None or entry.tag != tag:
            return None, False
        return entry, index.is_current(url)
    except StorageError:
        return None, False


class PackageGuard(Protocol):
    """Who decides whether a package may be used (:class:`~spack_oci.operations.trust.guard.Guard`)."""

    @property
    def required(self) -> bool:
        """Whether what is not as it should be stops an install."""

    def proves(self, remote: RemotePackage) -> bool:
        """Whether a package that the index names may be used, as far as the index can tell."""

    def demand(self, remote: RemotePackage) -> Any:
        """Raise TrustError if a package that was read from its tag may not be used."""

    def remember(self, remote: RemotePackage) -> None:
        """A package was accepted, as it is here."""

    def accepted(self, tag: str) -> Optional[RemotePackage]:
        """What :meth:`remember` was told of."""


def fetch_package(
    store: ContentReader,
    tag: str,
    dag_hash: str,
    fetch: Callable[[RemotePackage], T],
    index: Optional[IndexCache] = None,
    guard: Optional[PackageGuard] = None,
) -> Tuple[RemotePackage, T]:
    """Call ``fetch`` with the package, as the index has it or, if that is not there any more, as its tag has it.

    ``fetch`` raises NotFound when the layer is not in the store. ``guard`` is asked before anything is fetched; None:
    there is no policy. Raises NotFound when the package is not, and
    everything that :func:`~spack_oci.operations.install.fetch.find_package` and ``fetch`` raise.
    """
    remote = _without_the_tag(store, tag, dag_hash, index, guard)
    if remote is not None:
        try:
            return remote, fetch(remote)
        except NotFound:
            pass
    remote = _by_its_tag(store, tag, dag_hash, guard)
    return remote, fetch(remote)


def is_proven(store: ContentReader, tag: str, dag_hash: str, index: Optional[IndexCache], guard: PackageGuard) -> bool:
    """Whether the kept index says that ``guard`` accepts a package, for which :func:`check_package` would make no
    request; then neither that nor :func:`fetch_package` asks again."""
    entry, is_current = _entry(index, store.url, tag, dag_hash)
    if entry is None or not is_current:
        return False
    remote = package_of_entry(entry, dag_hash, store.url)
    if not guard.proves(remote):
        return False
    guard.remember(remote)
    return True


def check_package(
    store: ContentReader, tag: str, dag_hash: str, index: Optional[IndexCache], guard: PackageGuard
) -> None:
    """Raise TrustError if ``guard`` does not accept a package, before anything is fetched; what it does accept,
    :func:`fetch_package` does not ask for again. No request where the index proves it. Raises NotFound too."""
    remote = _without_the_tag(store, tag, dag_hash, index, guard)
    guard.remember(remote or _by_its_tag(store, tag, dag_hash, guard))


def _without_the_tag(
    store: ContentReader, tag: str, dag_hash: str, index: Optional[IndexCache], guard: Optional[PackageGuard]
) -> Optional[RemotePackage]:
    """The package as it was accepted before, or as the index has it, if that is proof enough."""
    known = guard.accepted(tag) if guard is not None else None
    if known is not None:
        return known
    remote = indexed_package(index, store, tag, dag_hash)
    return remote if remote is not None and (guard is None or guard.proves(remote)) else None


def _by_its_tag(store: ContentReader, tag: str, dag_hash: str, guard: Optional[PackageGuard]) -> RemotePackage:
    try:
        remote = find_package(store, tag, expected_hash=dag_hash)
    except NotAPackage as e:
        if guard is None or not guard.required:
            raise
        raise BadSignature(e.message, remedy=e.remedy) from e  # a stop, not a mirror that has nothing
    if guard is not None:
        guard.demand(remote)
    return remote
