# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches by their URL or path: opened, and their indexes read."""

import functools
import os
from typing import TYPE_CHECKING, Callable, Dict, Optional, Sequence, Union

from ..content import ContentReader, ContentStore
from ..errors import ConfigurationError, NotFound
from ..index.in_place import Wanted
from ..index.index_cache import CachedIndex, IndexCache, load_index
from ..index.packed_nodes import PackedDocuments
from ..reference import LayoutDirectory, Location, Repository, is_oci_url, layout_at, parse_url, suggested_url
from ..store.source import Source, is_plain_node
from ..util.text import elided
from . import settings
from .output import reporter, warn

if TYPE_CHECKING:
    from ..index.read import IndexDocument, KnownIndex, NotModified, OldDocument
    from ..index.update.loop import UpdateSettings
    from ..operations.trust.guard import Guard
    from ..operations.trust.index_signing import IndexSigning
    from ..operations.trust.write import Written
    from ..specs.constraints import Constraint
    from ..trust.signers import Signer


def location_of(word: str) -> Location:
    """A URL, or a directory or bundle (with a slash, ``.`` or ``..``). Raises ConfigurationError, InvalidReference."""
    if "://" in word:
        location = parse_url(word)
    elif meant_url(word):
        raise ConfigurationError(f"{word!r} is no cache", remedy=f"did you mean `{meant_url(word)}`?")
    elif "/" in word or word in (".", ".."):
        location = layout_at(settings.absolute(word))
    else:
        raise no_cache(word, "", " for a directory or bundle")
    return location if isinstance(location, Repository) else _opened(location)


def no_cache(word: str, more: str, how: str) -> ConfigurationError:
    """For a word in the place of a cache; ``more``: of what is wrong; ``how``: when to write a path."""
    remedy = f"write a URL, oci://HOST/NAME, or a path, ./{word},{how}"
    if os.path.exists(settings.absolute(word)):
        remedy = f"did you mean `./{word}`?"
    return ConfigurationError(f"{word!r} is no cache{more}", remedy=remedy)


def meant_url(word: str) -> str:
    """The URL that was meant by a word that is nearly one, and no path of anything; else empty."""
    url = suggested_url(word)
    return url if is_oci_url(url) and not os.path.exists(settings.absolute(word)) else ""


#: path of a bundle that a copy reads or writes -> where it does that
copied_bundles: Dict[str, LayoutDirectory] = {}


def _opened(location: LayoutDirectory) -> LayoutDirectory:
    """Of a bundle, where it is unpacked."""
    copied = copied_bundles.get(location.path)
    if copied is not None:
        return copied
    if not os.path.isfile(location.path):
        return location
    return LayoutDirectory(_unpacked(location.path), bundle=location.path)


@functools.lru_cache(None)
def _unpacked(path: str) -> str:
    """The layout of a bundle, in a directory that goes with this process."""
    from ..operations.lifecycle.bundles import unpacked

    return unpacked(path, settings.read().cache_root)


@functools.lru_cache(None)
def opened_once(process: int, location: Location, create: bool, writes: bool) -> ContentStore:
    if location.snapshot:
        from ..index.snapshots import SnapshotStore, unchangeable

        if create:
            raise unchangeable(location.url)
        return SnapshotStore(opened_once(process, location._replace(snapshot=""), create, writes), location.snapshot)
    if isinstance(location, LayoutDirectory):
        from ..layout import open_layout

        if not create and not os.path.isdir(location.path):
            raise NotFound(f"{location.url} does not exist", remedy="check the path; a push creates it")
        return open_layout(location, create=create)
    from ..registry import open_repository

    # who writes must not read through pull-through mirrors: they lag behind, and what they say would be written
    return open_repository(*settings.network().registry_of(location, with_mirrors=not writes))


def open_cache(word: str, *, create: bool = False, writes: bool = False) -> ContentStore:
    """One for each process, so that connections are shared; ``create``: make the directory if there is none;
    ``writes``: for a command that changes what is there. Raises ConfigurationError for a bundle then."""
    location = location_of(word)
    if writes and isinstance(location, LayoutDirectory) and location.bundle not in ("", *copied_bundles):
        raise ConfigurationError(
            f"{word} is a bundle, which no command changes but copy",
            remedy=f"change a directory, `spack-oci copy {word} ./DIRECTORY`, and copy that into a bundle again",
        )
    return opened_once(os.getpid(), location, create, writes)


def url_of(word: str) -> str:
    """As a user, and a policy, names a cache: of a bundle that of the file."""
    return location_of(word).url


def open_index(word: str, *, writes: bool = False) -> ContentStore:
    """Where the index of a cache is: in the cache, or in the repository of ``oci:index:repository``."""
    return opened_once(os.getpid(), settings.read().index_location(location_of(word)), False, writes)


def signer(ahead: bool = False) -> "Optional[Signer]":
    """Who signs what is written, by ``oci:signing``; None: nobody. ``ahead``: see
    :func:`spack_oci.configuration.trust.signer_of`."""
    section = settings.read().signing
    if not section.get("key") and not section.get("program"):
        return None  # and cryptography is not imported
    from ..configuration.trust import signer_of

    return signer_of(section, settings.absolute, ahead=ahead)


def index_settings(
    word: str, written: "Sequence[Written]" = (), renewed_by: "Optional[Signer]" = None
) -> "UpdateSettings":
    """How the index of a cache is written. ``written``: signatures that were just made; ``renewed_by``: who signs it
    whoever wrote it last."""
    from ..index.update.loop import UpdateSettings

    shown, options = reporter(), settings.read()
    return UpdateSettings(
        jobs=options.transfer_jobs,
        warn=shown.warn,
        reporter=shown,
        index_store=open_index(word, writes=True),
        signatures=index_signing(word, written, renewed_by) if renewed_by or signer() is not None else None,
    )


def index_signing(
    word: str, written: "Sequence[Written]" = (), renewed_by: "Optional[Signer]" = None
) -> "IndexSigning":
    """How an index is signed. ``renewed_by``: by whom, also one that has lost its signature."""
    from ..operations.trust.generations import Generations
    from ..operations.trust.index_signing import IndexSigning

    options, store = settings.read(), open_cache(word, writes=True)
    seen = Generations(options.trust_directory)
    by, renew = renewed_by or signer(), renewed_by is not None
    return IndexSigning(store, written, by, seen, warn, options.transfer_jobs, renew=renew)


def index_cache(unsigned: bool = False) -> IndexCache:
    """``unsigned``: indexes are fetched without a look at policies."""
    return IndexCache(settings.read().index_directory, fetch=None if unsigned else _fetch_under_policy)


def _fetch_under_policy(
    url: str,
    store: ContentReader,
    known: "Optional[KnownIndex]",
    old_document: "Callable[[], Optional[OldDocument]]",
) -> "Union[IndexDocument, NotModified]":
    from ..index.read import fetch_index

    options = settings.read()
    if not options.trust.get("policies"):
        return fetch_index(store, known, old_document)
    from ..configuration.trust import policy_of
    from ..operations.trust.generations import Generations
    from ..operations.trust.trusted_index import TrustedIndex

    policy = policy_of(options.trust, url, settings.absolute)
    if not policy.active:
        return fetch_index(store, known, old_document)
    generations = Generations(options.trust_directory)
    return TrustedIndex(policy, open_cache(url), generations, warn, jobs=options.transfer_jobs).fetch(
        store, known, old_document
    )


def wanted_by(constraints: "Sequence[Constraint]") -> Optional[Wanted]:
    """What of an index is looked at for them; None: all of it."""
    return Wanted.by([(constraint.name, constraint.hash) for constraint in constraints])


def read_index(word: str, unsigned: bool = False, wanted: Optional[Wanted] = None) -> CachedIndex:
    """Raises NotFound with what to do about it where there is none. ``unsigned``: see :func:`guard_of`; ``wanted``:
    only this is needed of it."""
    store = open_cache(word)
    try:
        found = load_index(index_cache(unsigned), store.url, lambda: open_index(word), ttl=0, wanted=wanted)
    except NotFound as e:
        from ..index.read import index_missing

        remedy = f"who may push to it makes one with `spack-oci update-index {word}`"
        raise index_missing(lambda: store, store.url, remedy) from e
    if found.warning:
        warn(f"{store.url}: {found.warning}")
    return found


def guard_of(word: str, unsigned: bool = False) -> Optional["Guard"]:
    """Who decides about the packages of a cache by the policies of the settings; None: there is none for it.

    ``unsigned``: --no-check-signature was given.
    """
    options, store = settings.read(), open_cache(word)
    if not options.trust.get("policies"):
        return None
    from ..configuration.trust import policy_of
    from ..operations.trust.guard import Guard

    policy = policy_of(options.trust, store.url, settings.absolute)
    if not policy.active:
        return None
    if unsigned:
        warn(f"signatures of {store.url} are not checked (--no-check-signature)")
        return None
    return Guard(policy, store, warn, index_cache())


def read_source(word: str, unsigned: bool = False, wanted: Optional[Wanted] = None) -> Source:
    """The packages of a cache. ``unsigned``: see :func:`guard_of`; ``wanted``: only these, and what they need, if they
    are there: to say what is there instead of them takes all."""
    found = source_of(word, read_index(word, unsigned, wanted), unsigned)
    if wanted is None or _has(found, wanted):
        return found
    return source_of(word, read_index(word, unsigned), unsigned)


def _has(source: Source, wanted: Wanted) -> bool:
    names = {source.graph[dag_hash]["name"] for dag_hash in source.available}
    hashes_there = all(any(h.startswith(prefix) for h in source.available) for prefix in wanted.prefixes)
    return wanted.names <= names and hashes_there


def source_of(word: str, index: CachedIndex, unsigned: bool = False) -> Source:
    """The same, of an index that was read."""
    url = url_of(word)
    graph, available, left_out = PackedDocuments(), set(), []
    for found in index.index.nodes():
        if is_plain_node(found.dag_hash, found.spec):
            graph.add(found.dag_hash, found.node)
            if found.is_cached:
                available.add(found.dag_hash)
        else:
            left_out.append(found.dag_hash)
    if left_out:
        warn(f"{url}: the index has entries that are no packages, which are left out: {elided(sorted(left_out))}")
    opener, kept, guard = functools.partial(open_cache, word), index_cache(), guard_of(word, unsigned)
    return Source(url, graph, available, opener, kept, index.index.entries, guard)


def looks_like_cache(word: str) -> bool:
    """Whether a word of the command line is a cache and not a spec (``/abcdefg`` is one)."""
    return (
        "://" in word
        or word in (".", "..")
        or word.startswith(("./", "../", "~/"))
        or (word.startswith("/") and (word.count("/") > 1 or os.path.exists(word)))
        or bool(meant_url(word))
    )
