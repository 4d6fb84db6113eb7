# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Writers, readers, a prune and a copy of one cache at the same time, each in a process of its own, and what has to be
true in the end: nothing that is kept is lost, nothing that was pruned comes back, the index says what the tags say.
"""

import multiprocessing
import random
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Set

from spack_oci.content import ContentStore
from spack_oci.errors import NotFound, SpackOciError
from spack_oci.index.condemned import reprieve
from spack_oci.index.read import IndexDocument, fetch_index
from spack_oci.index.update.loop import Backoff, UpdateSettings, merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.layout import LayoutStore
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.lifecycle.contents import read_contents, read_current_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.operations.lifecycle.prune import Keep, PruneResult, condemn, delete_condemned, plan_prune
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from support.packages.cache_builder import chain, node, push_package, tag_of

#: seconds between taking out of the index and deleting; readers read the index anew before that is over
GRACE, AGE_OF_INDEX = 2.5, 0.3
SETTINGS = UpdateSettings(backoff=Backoff(limit=0.5))


class Extent(NamedTuple):
    """``kept``, ``doomed``: packages at the start; ``each``: writers, and readers; ``seconds``."""

    kept: int
    doomed: int
    each: int
    seconds: float


def open_store(url: str) -> Any:
    location = parse_url(url)
    if isinstance(location, LayoutDirectory):
        store = LayoutStore(location, durable=False)
        store.create()
        return store
    return open_repository(location)


def _push(store: ContentStore, package: Dict[str, Any]) -> None:
    """As ``execute_push`` does it: off the plan of a prune before and after the tag is there, then into the index."""
    reprieve(store, [tag_of(package)])
    push_package(store, [package])
    reprieve(store, [tag_of(package)])
    merge_pushed(store, [read_package(store, tag_of(package))], SETTINGS)


def write(url: str, number: int, until: float) -> int:
    """Push packages and add them to the index, one after the other; how many."""
    store, count = open_store(url), 0
    while time.time() < until:
        _push(store, node(f"w{number}-{count}"))
        count += 1
    return count


def push_again(url: str, number: int, until: float) -> int:
    """Push what :func:`prune` takes away, ``back-N``, again and with the same content; how many."""
    store, count, chosen = open_store(url), 0, random.Random(number)
    while time.time() < until:
        _push(store, node(f"back-{chosen.randrange(BACK)}"))
        count += 1
    return count


#: packages that are condemned and pushed again
BACK = 6


def read(url: str, number: int, until: float) -> int:
    """Fetch packages that the index names, as installs do; how many."""
    store, count, chosen = open_store(url), 0, random.Random(number)
    while time.time() < until:
        asked_at = time.time()
        index, read_at = fetch_index(store), time.time()
        assert isinstance(index, IndexDocument)
        entries = list(index.entries().values())
        while entries and time.time() < min(until, read_at + AGE_OF_INDEX):
            try:
                with store.open_blob(chosen.choice(entries).layer) as reader:
                    reader.read()
            except NotFound:
                if time.time() < asked_at + GRACE:
                    raise
                break  # on a busy machine: its index is older than a reader may have it
            count += 1
    return count


def prune(url: str, number: int, until: float) -> int:
    """Remove what is called ``old``, again and again; how many."""
    store, count = open_store(url), 0
    while time.time() < until:
        count += len(prune_once(store, GRACE, back=True).deleted)
        time.sleep(0.2)
    return count


def prune_once(store: Any, grace: float, back: bool = False) -> PruneResult:
    doomed = ("old-", "back-") if back else ("old-",)
    contents = read_current_contents(store, SETTINGS)
    wanted = {h for tag, h in contents.need_index().tags.items() if not tag.startswith(doomed)}
    result = condemn(store, plan_prune(store, contents, Keep(named=frozenset(wanted))), SETTINGS)
    result = delete_condemned(store, lambda: read_current_contents(store, SETTINGS), result, SETTINGS, grace=grace)
    assert not result.failed, result.failed
    return result


def copy(url: str, target: str, until: float) -> int:
    """Copy the cache again and again; how many packages. What a prune removes meanwhile fails alone."""
    source, store, count = open_store(url), open_store(target), 0
    while time.time() < until:
        both = compare(source, store)
        result = execute_copy(source, store, both.found, plan_copy(both, Selection()), SETTINGS, jobs=2)
        assert all(tag.startswith(("old-", "back-")) for tag in result.failed), result.failed
        count += len(result.copied)
    return count


def _run(function: Callable[..., int], words: Any, results: Any) -> None:
    try:
        results.put((function.__name__, function(*words)))
    except (Exception, SpackOciError):
        results.put((function.__name__, traceback.format_exc()))


def fill(url: str, extent: Extent) -> Set[str]:
    """The tags that stay."""
    store = open_store(url)
    kept = [*chain("keep", 5), *(node(f"keep-lone-{number}") for number in range(extent.kept - 5))]
    for number in range(5):
        push_package(store, kept[number:5])
    for package in [*kept[5:], *(node(f"old-{number}") for number in range(extent.doomed))]:
        push_package(store, [package])
    update_index(store, SETTINGS)
    return {tag_of(package) for package in kept}


def run_together(url: str, target: str, extent: Extent) -> Dict[str, int]:
    """How much of each was done. AssertionError with what went wrong in one of the processes."""
    open_store(target)
    context, until = multiprocessing.get_context("fork"), time.time() + extent.seconds
    results = context.Queue()
    work: List[Any] = [(prune, (url, 0, until)), (copy, (url, target, until)), (push_again, (url, 0, until))]
    work += [(function, (url, number, until)) for function in (write, read) for number in range(extent.each)]
    children = [context.Process(target=_run, args=(function, words, results)) for function, words in work]
    for child in children:
        child.start()
    found = [results.get(timeout=extent.seconds + 300) for _ in children]
    for child in children:
        child.join()
    assert all(isinstance(count, int) for _, count in found), "\n".join(str(c) for _, c in found if isinstance(c, str))
    done = {name: sum(count for other, count in found if other == name) for name, _ in found}
    assert all(done.values()), done
    return done


def what_is_wrong(url: str, target: str, kept: Set[str], written: int) -> Iterator[str]:
    """After :func:`run_together`: two more prunes, which end what was begun, then all has to be in order."""
    store = open_store(url)
    for _ in range(2):
        prune_once(store, 0)
    contents = read_contents(store)
    there = {tag for tag in contents.packages if tag.startswith("w")}
    if len(there) != written:
        yield f"{written} packages were pushed, {len(there)} are there"
    came_back = [tag for tag in contents.packages if tag.startswith("old-")]
    if came_back:
        yield f"{came_back} have come back"
    others = {tag for tag in contents.packages - there if not tag.startswith("back-")}
    if others != kept:
        yield f"kept and gone: {sorted(kept - others)}; not kept and there: {sorted(others - kept)}"
    if set(contents.need_index().tags) != contents.packages:
        yield f"index and tags differ in {sorted(set(contents.need_index().tags) ^ contents.packages)}"
    yield from (str(finding) for finding in verify_cache(store, contents, Level.BLOBS).findings)
    both = compare(store, open_store(target))
    result = execute_copy(store, both.destination, both.found, plan_copy(both, Selection(), delete=True), SETTINGS)  # type: ignore[arg-type]
    yield from (f"{tag} was not copied: {error}" for tag, error in result.failed.items())
    copied = read_contents(both.destination)
    if copied.packages != contents.packages:
        yield "the copy differs"
    yield from (f"in the copy: {finding}" for finding in verify_cache(both.destination, copied, Level.BLOBS).findings)  # type: ignore[arg-type]
