# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a spec to a verified layer on this machine: which mirror, which package, is there room for its strings."""

import contextlib
import time
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar, Union

import spack.mirrors.mirror
import spack.spec

from ..archive.unpack.leading import old_prefix_in
from ..archive.unpack.limits import announced, check_space
from ..content import ContentStore, Progress
from ..content.blob_cache import BlobCache, with_room
from ..content.cached_fetch import fetch_into_cache, open_arriving, use_cached
from ..descriptor import VerifyingReader
from ..errors import InvalidContent, SpackOciError, TrustError
from ..index.index_cache import IndexCache, refresh_index
from ..operations.install import locate
from ..operations.install.fetch import RemotePackage
from ..operations.install.locate import PackageGuard
from ..package.record import package_tag
from ..reference import image_name
from ..relocate.mapping import Relocation
from ..relocate.preflight import check_lengths, check_summary
from ..util.concurrency.cancellation import Cancelled
from ..util.concurrency.threads import DaemonPool
from . import compat
from .configuration import mirrors, settings
from .specs import packages

T = TypeVar("T")


class FetchedPackage:
    """What our ``download_tarball`` returns in the place of a stage: a layer in the blob cache."""

    def __init__(
        self, remote: RemotePackage, store: ContentStore, cache: BlobCache, relocation: Optional[Relocation] = None
    ) -> None:
        """``relocation``: what it was fetched for, if that is known."""
        self.remote = remote
        self.relocation = relocation
        self._store = store
        self._cache = cache

    @property
    def save_filename(self) -> str:
        return self._cache.path(self.remote.layer.digest)

    def use(self, use: Callable[[VerifyingReader], T], path: str) -> T:
        """Make something of the layer at ``path``; see :func:`.use_cached`."""
        return use_cached(self._store, self.remote.layer, self._cache, use, path)

    def destroy(self) -> None:
        """The cache has its own rules for what goes."""


class ArrivingPackage(NamedTuple):
    """A layer on its way into the blob cache, in the place of a :class:`FetchedPackage`. ``check``: see
    :func:`.open_arriving`."""

    remote: RemotePackage
    path: str
    check: Callable[[], None]
    relocation: Optional[Relocation] = None

    def use(self, use: Callable[[VerifyingReader], T], path: str) -> T:
        """As :meth:`FetchedPackage.use`, once."""
        with open_arriving(self.path, self.remote.layer, self.check) as reader:
            return use(reader)


Package = Union[FetchedPackage, ArrivingPackage]


def configured_mirrors() -> List["spack.mirrors.mirror.Mirror"]:
    """Of binaries, of every kind, in their order."""
    return list(spack.mirrors.mirror.MirrorCollection(binary=True).values())


def candidates(
    spec: "spack.spec.Spec", indexed: Sequence[Any], configured: Optional[List["spack.mirrors.mirror.Mirror"]] = None
) -> List["spack.mirrors.mirror.Mirror"]:
    """The mirrors to ask, in Spack's order: those whose index names the package, then all others as ``configured``
    (:func:`configured_mirrors`, for who asks for many specs)."""
    configured = configured_mirrors() if configured is None else configured
    by_url = {m.fetch_url: m for m in reversed(configured)}
    urls = [compat.indexed_url(m) for m in indexed]
    first = [by_url.get(url) or spack.mirrors.mirror.Mirror(url) for url in urls]
    ordered = {m.fetch_url: m for m in [*first, *configured]}
    return [m for m in ordered.values() if compat.matches_binary(m, spec, "fetch")]


def blob_cache() -> BlobCache:
    return settings.blob_cache(settings.read())


def index_cache() -> IndexCache:
    """What was last known of the indexes of OCI mirrors."""
    return IndexCache(settings.read().index_directory)


def fetching_index_cache(others: Sequence["spack.mirrors.mirror.Mirror"] = ()) -> IndexCache:
    """The same, for who fetches indexes: under the policies of configured mirrors and of ``others``."""
    from .configuration import trust

    return IndexCache(settings.read().index_directory, fetch=trust.index_fetch(others))


#: when this process, or the one that it was forked from, began to read indexes
_STARTED = time.time()
#: URLs whose index need not be asked for again in this process
_confirmed: Set[str] = set()


def confirm_indexes(configured: Sequence["spack.mirrors.mirror.Mirror"]) -> None:
    """See to it that what is kept of the indexes of OCI mirrors is what they have now: a request each, once a command.

    Without that, an install of a concrete spec, for which Spack fetches no index, would take packages as they were
    when it last fetched one. A mirror without a kept index is left alone, unless its policy has a max_age, and one that
    cannot be asked, too: the install will meet its failure. Raises TrustError for an index that the policy of its
    mirror refuses.
    """
    from .configuration import trust

    cache = index_cache()
    pending = []
    for mirror in configured:
        with contextlib.suppress(SpackOciError):
            url = mirrors.open_store(mirror, mirrors.FETCH).url
            if url in _confirmed or (cache.known(url) is None and not trust.asks_for_age(mirror)):
                continue
            _confirmed.add(url)
            if cache.age(url) > time.time() - _STARTED:
                pending.append((url, mirrors.open_index_store(mirror, mirrors.FETCH)))

    if not pending:
        return
    cache = fetching_index_cache(configured)

    def confirm(item: Tuple[str, ContentStore]) -> Optional[TrustError]:
        try:
            refresh_index(cache, *item)
        except TrustError as e:
            return e
        except SpackOciError:
            pass
        return None

    with DaemonPool(8, "index") as pool:
        refused = [error for error in pool.map(confirm, pending) if error is not None]
    if refused:
        raise refused[0]


def tag_of(spec: "spack.spec.Spec") -> str:
    return package_tag(spec.name, str(spec.version), spec.dag_hash())


def guard_of(
    mirror: "spack.mirrors.mirror.Mirror", unsigned: bool = False, warn: Optional[Callable[[str], None]] = None
) -> Optional[PackageGuard]:
    """See :func:`spack_oci.spack.configuration.trust.guard_of`."""
    from .configuration import trust

    return trust.guard_of(mirror, lambda: mirrors.open_store(mirror, mirrors.FETCH), unsigned, warn)


def check(mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec", guard: PackageGuard) -> None:
    """Raise TrustError if ``guard`` does not accept the package that ``mirror`` has; see :func:`.check_package`."""
    confirm_indexes([mirror])
    store = mirrors.open_store(mirror, mirrors.FETCH)
    locate.check_package(store, tag_of(spec), spec.dag_hash(), index_cache(), guard)


def is_proven(mirror: "spack.mirrors.mirror.Mirror", spec: "spack.spec.Spec", guard: PackageGuard) -> bool:
    """Whether what is kept of the mirror's index is enough for ``guard``; see :func:`.locate.is_proven`."""
    confirm_indexes([mirror])
    store = mirrors.open_store(mirror, mirrors.FETCH)
    return locate.is_proven(store, tag_of(spec), spec.dag_hash(), index_cache(), guard)


def fetch(
    mirror: "spack.mirrors.mirror.Mirror",
    spec: "spack.spec.Spec",
    relocation: Optional[Relocation] = None,
    cache: Optional[BlobCache] = None,
    progress: Optional[Progress] = None,
    tell: Optional[Callable[[str], Any]] = None,
    guard: Optional[PackageGuard] = None,
    arrives: Optional[Callable[[RemotePackage, str], Any]] = None,
) -> FetchedPackage:
    """The package of ``spec`` from ``mirror``, in the blob cache.

    ``relocation``: where it will be installed; a package whose strings cannot fit there is not downloaded
    (PrefixTooLong). ``progress``: told of the bytes that arrive; ``tell``: of where it is found; ``guard``: of the
    mirror's policy (:func:`guard_of`): a package that it does not accept is not downloaded (TrustError); ``arrives``:
    as of :func:`.fetch_into_cache`. Raises NotFound only if the mirror says so, and every other error as it is; content
    that makes the code fail in a way that no check foresaw is an InvalidContent, so that another mirror is asked.
    """
    try:
        return _fetch(mirror, spec, relocation, cache, progress, tell, guard, arrives)
    except (SpackOciError, OSError, Cancelled):
        raise
    except Exception as e:
        raise InvalidContent(
            f"{packages.label(spec)} of {mirror.fetch_url} cannot be understood ({type(e).__name__}: {e})",
            remedy="push it again with --force",
        ) from e


def _fetch(
    mirror: "spack.mirrors.mirror.Mirror",
    spec: "spack.spec.Spec",
    relocation: Optional[Relocation],
    cache: Optional[BlobCache],
    progress: Optional[Progress],
    tell: Optional[Callable[[str], Any]],
    guard: Optional[PackageGuard],
    arrives: Optional[Callable[[RemotePackage, str], Any]],
) -> FetchedPackage:
    confirm_indexes([mirror])
    store = mirrors.open_store(mirror, mirrors.FETCH)
    cache = cache or blob_cache()

    def into_cache(remote: RemotePackage) -> bool:
        if tell is not None:
            tell(f"Fetching {image_name(store.url, tag_of(spec))}")
        peek = _preflight(remote, spec, relocation, cache)
        told = (lambda path: arrives(remote, path)) if arrives is not None else None
        return fetch_into_cache(store, remote.layer, cache, progress, peek, told)

    remote, _ = locate.fetch_package(store, tag_of(spec), spec.dag_hash(), into_cache, index_cache(), guard)
    return FetchedPackage(remote, store, cache, relocation)


def _preflight(
    remote: RemotePackage, spec: "spack.spec.Spec", relocation: Optional[Relocation], cache: BlobCache
) -> Optional[Callable[[bytes], None]]:
    """Raise PrefixTooLong or StorageError if the package is known not to fit; else, what to ask the first bytes of the
    download.
    """
    if relocation is None:
        return None
    label, dag_hash = packages.label(spec), spec.dag_hash()
    prefix = relocation.new_prefixes.get(dag_hash) or str(spec.prefix)
    with_room(
        cache,
        prefix,
        announced(remote.relocation_summary),
        lambda: check_space(prefix, remote.relocation_summary, label),
    )
    if remote.relocation_summary:
        check_summary(remote.relocation_summary, dag_hash, relocation, label)
        return None
    if not _has_binaries(spec):
        return None

    def peek(data: bytes) -> None:
        """Spack says only in the first bytes of its tarballs where a package was built."""
        old_prefix = old_prefix_in(data)
        if old_prefix is not None:
            check_lengths(old_prefix, dag_hash, relocation, label)

    return peek


def _has_binaries(spec: "spack.spec.Spec") -> bool:
    """Whether a compiler made it: then it holds programs or libraries, whose RPATH names its own prefix."""
    return any(edge.virtuals and set(edge.virtuals) & {"c", "cxx", "fortran"} for edge in spec.edges_to_dependencies())
