# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading many tags of a build cache concurrently: packages, or only the digests of their manifests.

A tag that cannot be read is an outcome and not an exception, whatever the reason is: content is foreign, and one tag
must not keep the others out of the index. Only what would befall the other tags too (no network, not allowed, too many
requests) ends the work.
"""

import contextlib
import functools
import itertools
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Callable, Iterable, Iterator, Optional, Tuple, TypeVar, Union

from ...content import ContentReader, Resolver
from ...errors import (
    ContentError,
    InvalidReference,
    NotAPackage,
    NotFound,
    ServerFailure,
    SpackOciError,
    StorageError,
    UnexpectedResponse,
)
from ...util.concurrency.cancellation import next_event
from ...util.concurrency.threads import DaemonPool
from ..model import PackageIndex
from .read_package import IndexedPackage, read_package

T = TypeVar("T")

#: what makes one tag unreadable; every other SpackOciError would befall the others too
_OF_ONE_TAG = (ContentError, InvalidReference, ServerFailure, StorageError, UnexpectedResponse)

#: how often a manifest is asked for that the listing names and the registry then does not have
LOOKS = 4


class ListedButMissing(SpackOciError):
    """The listing names a tag, and its manifest is not there: an answer that contradicts the other."""


Outcome = Union[T, SpackOciError]
Wait = Callable[[int], None]


def read_packages(
    store: ContentReader, tags: Iterable[str], jobs: int, known: PackageIndex, wait: Wait
) -> Iterator[Tuple[str, Outcome[IndexedPackage]]]:
    """(tag, package or error) in the order in which they come. ``known``: see :func:`read_package`; ``wait``: called
    with the number of the try before a missing manifest is asked for again. Only ``2 * jobs`` documents are in memory.
    """
    return of_each_tag(lambda tag: _read_listed(store, tag, known, wait), tags, jobs)


def read_digests(store: Resolver, tags: Iterable[str], jobs: int) -> Iterator[Tuple[str, Outcome[str]]]:
    """(tag, digest of its manifest or error): a HEAD request each in a registry, none in a layout."""
    return of_each_tag(lambda tag: store.resolve(tag).digest, tags, jobs)


def _read_listed(store: ContentReader, tag: str, known: PackageIndex, wait: Wait) -> IndexedPackage:
    for attempt in range(LOOKS):
        if attempt:
            wait(attempt)
        with contextlib.suppress(NotFound):
            return read_package(store, tag, known)
    raise ListedButMissing(f"{store.url} lists the tag, but has no manifest for it ({LOOKS} times asked)")


def of_each_tag(function: Callable[[str], T], tags: Iterable[str], jobs: int) -> Iterator[Tuple[str, Outcome[T]]]:
    """(tag, what ``function`` has returned or raised) in the order in which they come."""
    waiting = iter(tags)
    done: SimpleQueue[Tuple[str, Future[T]]] = SimpleQueue()
    running = 0
    pool: Optional[DaemonPool] = None
    try:
        while True:
            for tag in itertools.islice(waiting, 2 * jobs - running):
                pool = pool or DaemonPool(jobs, "read-tag")
                future = pool.submit(function, tag)
                future.add_done_callback(functools.partial(_report, done, tag))
                running += 1
            if not running:
                return
            tag, future = next_event(done)
            running -= 1
            yield tag, _outcome(tag, future)
    except (KeyboardInterrupt, SystemExit):
        if pool is not None:
            pool.abandon()
            pool = None
        raise
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _report(done: "SimpleQueue[Tuple[str, Future[T]]]", tag: str, future: "Future[T]") -> None:
    done.put((tag, future))


def _outcome(tag: str, done: "Future[Any]") -> Any:
    try:
        return done.result()
    except (ListedButMissing, *_OF_ONE_TAG) as e:
        return e
    except SpackOciError:
        raise
    except Exception as e:  # content that no check foresaw
        return NotAPackage(f"{tag} has content that cannot be understood ({type(e).__name__}: {ascii(e)[:200]})")
