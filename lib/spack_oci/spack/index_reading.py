# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Indexes of OCI mirrors, read by Spack's concretizer and installers."""

import functools
import time
from typing import Any, Callable, Dict, Iterable, Optional, Sequence, Tuple, Union

import spack.llnl.util.tty as tty
import spack.mirrors.mirror

from ..content import ContentStore
from ..errors import InvalidContent, NotFound, SpackOciError, StorageError, TrustError
from ..index.index_cache import IndexCache, describe_age, refresh_index
from ..index.read import IndexDocument, NotModified
from ..reference import is_oci_url, parse_url
from ..util.concurrency.threads import DaemonPool
from . import compat
from .configuration import mirrors
from .fetching import fetching_index_cache, index_cache


def fetch_and_cache_index(original: Callable, self: Any, metadata: Any, cache_entry: Optional[Dict] = None) -> bool:
    """Hook of ``BinaryIndexCache._fetch_and_cache_index``.

    True: the local copy is new; False: it is as it was. Spack is told of a failure by its own exceptions.
    """
    cache_entry = cache_entry or {}
    if not is_oci_url(metadata.url):
        return original(self, metadata, cache_entry)
    try:
        index = _at_once.fetch(metadata.url, lambda url: _known_digest(self, url))
    except NotFound:
        if not hasattr(self, "mirrors_without_index"):  # since 1.3, Spack warns of these itself
            _warn_once(f"the mirror at {metadata.url} has no index, or is not there")
        return compat.no_index(metadata.url)
    except TrustError as e:
        raise compat.index_error(f"the index of {metadata.url} is refused: {e}") from e
    except SpackOciError as e:
        if cache_entry.get("index_path"):
            age = describe_age(index_cache().age(parse_url(metadata.url).url))
            tty.warn(f"the index of {metadata.url} cannot be had; the copy of {age} ago is used: {e}")
            return False
        message = f"the index of {metadata.url} cannot be had: {e}"
        _warn_once(message)
        raise compat.index_error(message) from e
    if isinstance(index, NotModified):
        return False
    _keep(self, metadata, cache_entry, index.pieces(), index.digest.partition(":")[2])
    return True


@functools.cache
def _warn_once(message: str) -> None:
    """Since 1.2, the concretizer and the new installer go on without a word when no index can be had."""
    tty.warn(message)


def _known_digest(cache: Any, url: str) -> Optional[str]:
    """Of the copy of an index that Spack has."""
    entry = cache._local_index_cache.get(str(compat.mirror_metadata(url))) or {}
    return f"sha256:{entry['index_hash']}" if entry.get("index_hash") else None


_Outcome = Union[IndexDocument, NotModified, SpackOciError]


class _AtOnce:
    """Asks all OCI mirrors when Spack asks the first, which would wait for one after the other."""

    #: seconds for which an answer is the one to the question that Spack is going to ask
    _LIFETIME = 10.0

    def __init__(self) -> None:
        self._outcomes: Dict[str, Tuple[float, _Outcome]] = {}

    def fetch(self, url: str, known_digest: Callable[[str], Optional[str]]) -> Union[IndexDocument, NotModified]:
        """The index of the mirror at ``url``, unless it is the one with ``known_digest(url)``. Raises SpackOciError."""
        asked, outcome = self._outcomes.pop(url, (0.0, None))
        if outcome is None or time.monotonic() - asked > self._LIFETIME:
            self._ask([url, *(m.fetch_url for m in mirrors.configured(mirrors.FETCH))], known_digest)
            _, outcome = self._outcomes.pop(url)
        if isinstance(outcome, SpackOciError):
            raise outcome
        return outcome

    def _ask(self, urls: Sequence[str], known_digest: Callable[[str], Optional[str]]) -> None:
        self._outcomes.clear()
        urls = list(dict.fromkeys(urls))
        cache, asked = fetching_index_cache([mirror_of_url(url) for url in urls]), time.monotonic()
        with DaemonPool(min(len(urls), _MIRRORS_AT_ONCE), "fetch-index") as pool:
            running = {}
            for url in urls:
                try:  # in this thread: it asks Spack's configuration
                    mirror = mirror_of_url(url)
                    store = mirrors.open_index_store(mirror, mirrors.FETCH)
                    key = mirrors.open_store(mirror, mirrors.FETCH).url
                except SpackOciError as e:
                    self._outcomes[url] = (asked, e)
                    continue
                running[url] = pool.submit(_fetch, key, store, known_digest(url), cache)
            for url, future in running.items():
                try:
                    self._outcomes[url] = (asked, future.result())
                except SpackOciError as e:
                    self._outcomes[url] = (asked, e)
                except Exception as e:  # content that no check foresaw must not keep the other mirrors out
                    error = InvalidContent(f"the index of {url} cannot be understood ({type(e).__name__}: {e})")
                    self._outcomes[url] = (asked, error)


_MIRRORS_AT_ONCE = 8
_at_once = _AtOnce()


def _fetch(
    url: str, store: ContentStore, known_digest: Optional[str], cache: IndexCache
) -> Union[IndexDocument, NotModified]:
    """The index, unless its database is the one with ``known_digest``; our own copy, which tells where layers are,
    follows. ``url``: of the mirror; ``store``: where its index is.
    """
    try:
        found = refresh_index(cache, url, store)
        if isinstance(found, NotModified) and found.digest != known_digest:  # Spack's copy is not there
            kept = cache.load(url)
            found = kept.index if kept is not None else cache.fetch(url, store, None)
    except StorageError as e:
        tty.warn(str(e))
        found = cache.fetch(url, store, None)
    if isinstance(found, NotModified):
        return found
    for label, reason in sorted(found.left_out.items())[:_NAMED]:
        tty.warn(f"the index of {url} has a package that Spack cannot read, and does without {label}: {reason}")
    if len(found.left_out) > _NAMED:
        tty.warn(f"the index of {url} has {len(found.left_out) - _NAMED} more such packages")
    return NotModified(found.digest) if found.digest == known_digest else found


#: packages that an index has to do without, of which each is named
_NAMED = 5


def mirror_of_url(url: str) -> "spack.mirrors.mirror.Mirror":
    """The configured mirror that is fetched from ``url``, else an anonymous one."""
    for mirror in spack.mirrors.mirror.MirrorCollection(binary=True).values():
        if mirror.fetch_url == url:
            return mirror
    return spack.mirrors.mirror.Mirror(url)


def _keep(cache: Any, metadata: Any, old_entry: Dict, pieces: Iterable[bytes], index_hash: str) -> None:
    """Store an index where Spack's own function stores it, so that everything that reads it finds it."""
    from spack.binary_distribution import compute_hash

    key = f"{compute_hash(str(metadata))[:10]}_{index_hash[:10]}.json"
    compat.init_cache_entry(cache._index_file_cache, key)
    with cache._index_file_cache.write_transaction(key) as (_, new):
        for piece in pieces:
            new.write(piece.decode("utf-8"))
    cache._local_index_cache[str(metadata)] = {"index_hash": index_hash, "index_path": key, "etag": None}
    old_key = old_entry.get("index_path")
    if old_key and old_key != key:
        cache._index_file_cache.remove(old_key)
