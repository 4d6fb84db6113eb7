# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Removes from an OCI image layout what no tag reaches: what a registry's garbage collector does for a registry."""

import contextlib
import os
import secrets
import time
from typing import Dict, Iterable, Iterator, Set, Tuple

from ..descriptor import parse_json
from ..errors import NotFound
from ..util.concurrency.cancellation import signals_wait
from ..util.files import storage_errors
from .documents import children_of
from .index_json import Entries, tag_of
from .store import LayoutStore
from .table import PRIVATE


def collect_garbage(store: LayoutStore, grace: float = 86400.0, roots: Iterable[str] = ()) -> Tuple[int, int]:
    """Remove blobs that no entry of ``index.json`` reaches and that are older than ``grace`` seconds.

    ``roots``: digests of manifests that stay, too, with all that they reach.

    The grace protects the blobs of a push that has not written its manifest yet. A referrer without a tag stays only as
    long as its subject. Returns (number of files, bytes) that were removed.
    """
    with storage_errors(f"collecting garbage in {store.url}"), store.table.lock():
        before = time.time() - grace
        entries = store.table.entries()
        keep, kept_entries = _reachable(store, entries, roots)
        if len(kept_entries) < len(entries):
            store.table.replace(kept_entries)
        count = size = 0
        for digest, path in _blobs(store.path):
            status = os.lstat(path)
            if digest in keep or status.st_mtime > before:
                continue
            with signals_wait():  # what is moved away is removed or brought back
                removed = _remove_unused(store.path, path, before)
            if removed:
                count, size = count + 1, size + status.st_size
        drop_old_temporaries(store, before)
    return count, size


def _reachable(store: LayoutStore, entries: Entries, roots: Iterable[str]) -> Tuple[Set[str], Entries]:
    """Digests that the entries reach, and the entries without the referrers of subjects that are gone."""
    keep: Set[str] = set()
    for root in roots:
        _mark(store, root, keep)
    kept: Entries = []
    referrers: Entries = []
    for entry in entries:
        if tag_of(entry) is None and store.subject_of(entry["digest"]):
            referrers.append(entry)
        else:
            kept.append(entry)
            _mark(store, entry["digest"], keep)
    while True:  # a referrer may itself be a subject: of the signature of an SBOM
        alive = [e for e in referrers if store.subject_of(e["digest"]) in keep]
        if not alive:
            return keep, kept
        kept += alive
        referrers = [e for e in referrers if e not in alive]
        for entry in alive:
            _mark(store, entry["digest"], keep)


def _remove_unused(layout: str, path: str, before: float) -> bool:
    """Remove a blob, unless a push has begun to use it since it was looked at.

    A push marks what it finds by a new time of change, without a lock. So the blob is moved away first, where no push
    finds it, and brought back if it was marked until then.
    """
    directory = os.path.join(layout, PRIVATE, "tmp")
    os.makedirs(directory, exist_ok=True)
    aside = os.path.join(directory, secrets.token_hex(16))
    os.rename(path, aside)
    if os.lstat(aside).st_mtime > before:
        os.rename(aside, path)
        return False
    os.unlink(aside)
    return True


def _mark(store: LayoutStore, root: str, keep: Set[str]) -> None:
    """Add all that the manifest ``root`` reaches to ``keep``.

    Raises InvalidContent for one that is not understood: what it needs could not be told from garbage.
    """
    pending = [root]
    while pending:
        digest = pending.pop()
        if digest in keep:
            continue
        keep.add(digest)
        try:
            _, data = store.get_manifest(digest)
        except NotFound:
            continue
        label = f"the manifest {digest} of {store.url}"
        children = children_of(parse_json(data, label), label)
        keep.update(child.digest for child in children.blobs)
        pending.extend(child.digest for child in children.manifests)


def _blobs(path: str) -> Iterator[Tuple[str, str]]:
    for algorithm in os.listdir(os.path.join(path, "blobs")):
        for name in os.listdir(os.path.join(path, "blobs", algorithm)):
            yield f"{algorithm}:{name}", os.path.join(path, "blobs", algorithm, name)


def old_temporaries(store: LayoutStore, before: float) -> Dict[str, int]:
    """Path -> bytes of what writers that were killed have left, not touched since ``before`` (seconds since 1970)."""
    directory = os.path.join(store.path, PRIVATE, "tmp")
    found = {}
    with storage_errors(f"looking for temporary files of {store.url}"):
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            path = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                if status.st_mtime < before:
                    found[path] = status.st_size
    return found


def drop_old_temporaries(store: LayoutStore, before: float) -> int:
    """Remove them; how many."""
    count = 0
    with storage_errors(f"removing temporary files of {store.url}"):
        for path in old_temporaries(store, before):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                count += 1
    return count
