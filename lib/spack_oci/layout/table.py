# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``index.json`` of an OCI image layout: which tag is which manifest.

Reads it when it changed, changes it under a lock, and makes what several threads want to change in one replacement: the
file grows with the number of tags, so a replacement for each of 20,000 pushed packages would be the slowest part of it.
"""

import contextlib
import os
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from ..descriptor import Descriptor
from ..errors import NotFound, SpackOciError, StorageError
from ..util.concurrency.locks import exclusive_lock
from ..util.files import storage_errors
from .index_json import REF_NAME, Entries, Entry, Index, entries_besides, index_json, look_up, parse_index, tag_of

#: directory in the layout that is ours alone: the lock and the files being written
PRIVATE = ".spack-oci"

#: seconds after which a file's time of change tells it from the one that replaces it
_SETTLED = 0.1

#: bytes of ``index.json`` from which on it is searched for what is asked for, and how often, before all of it is read
_LARGE, _LOOKUPS = 1 << 20, 8


class _Change:
    """What one thread wants done to the entries, and what came of it."""

    def __init__(self, apply: Callable[[Entries], Entries]) -> None:
        self.apply = apply
        self.done = False
        self.error: Optional[SpackOciError] = None


class ReferenceTable:
    """The entries of one layout's ``index.json``. Safe for many threads and many processes."""

    def __init__(
        self, path: str, url: str, replace_file: Callable[[str, bytes], None], sync_blobs: Callable[[], None]
    ) -> None:
        self._path = os.path.join(path, "index.json")
        self._private = os.path.join(path, PRIVATE)
        self._url = url
        self._replace_file = replace_file
        self._sync_blobs = sync_blobs
        #: one thread at a time applies; others queue meanwhile
        self._applying = threading.Lock()
        self._queueing = threading.Lock()
        self._queue: List[_Change] = []
        #: (identity of the file, what is in it)
        self._seen: Tuple[Any, Index] = (None, Index({}, {}))
        #: tags that were looked up without reading all
        self._lookups = 0

    def entries(self) -> Entries:
        """The entries as they are now; not to be changed."""
        return self._current().document.get("manifests") or []

    def tagged(self) -> Dict[str, Entry]:
        """Tag -> entry; of several entries with one tag the first, as skopeo takes it."""
        return self._current().tagged

    def find(self, tag: str) -> Optional[Entry]:
        """The entry of one tag, if there is one. Of a large file that was not read yet, it alone is read."""
        data = self._unread()
        found = look_up(data, tag) if data is not None else None
        return found.entry if found is not None else self.tagged().get(tag)

    def besides(self, endings: Tuple[str, ...]) -> Entries:
        """Entries whose tags do not end so, and those without a tag; of a large file, no others are kept in memory."""
        data = self._unread()
        found = entries_besides(data, endings) if data is not None else None
        if found is None:
            found = [e for e in self.entries() if not (tag_of(e) or "").endswith(endings)]
        return found

    def _unread(self) -> Optional[bytes]:
        """The file, if it is large and was not read yet. None also when it has been asked for some times."""
        with self._reading():
            status = os.stat(self._path)
            if self._lookups >= _LOOKUPS or status.st_size < _LARGE or identity_of(status) == self._seen[0]:
                return None
            self._lookups += 1
            with open(self._path, "rb") as f:
                return f.read()

    def change(self, apply: Callable[[Entries], Entries]) -> None:
        """Replace the entries by ``apply(entries)``; it returns the same object when nothing is to be changed.

        Whichever thread gets the lock first applies what all of them queued.
        """
        mine = _Change(apply)
        with self._queueing:
            self._queue.append(mine)
        with self._applying:
            if not mine.done:
                with self._queueing:
                    queued, self._queue = self._queue, []
                self._apply(queued)
        if mine.error is not None:
            raise mine.error

    def _apply(self, queued: List[_Change]) -> None:
        failure: Optional[SpackOciError] = StorageError(f"changing the tags of {self._url}: interrupted")
        try:
            with storage_errors(f"changing the tags of {self._url}"), self._file_lock():
                before = self.entries()
                entries = before
                for change in queued:
                    try:
                        entries = change.apply(entries)
                    except SpackOciError as e:
                        change.error = e
                if entries is not before:
                    self.replace(entries)
            failure = None
        except SpackOciError as e:
            failure = e
        finally:
            for change in queued:
                change.error = change.error or failure
                change.done = True

    def replace(self, entries: Entries) -> None:
        """Write the file anew; the caller holds the lock. What the entries name is durable before they are."""
        self._sync_blobs()
        self._replace_file("index.json", index_json(self._current().document, entries))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """No other thread or process changes the entries meanwhile."""
        with self._applying, self._file_lock():
            yield

    @contextlib.contextmanager
    def _file_lock(self) -> Iterator[None]:
        os.makedirs(self._private, exist_ok=True)
        with exclusive_lock(os.path.join(self._private, "lock")):
            yield

    def _current(self) -> Index:
        with self._reading():
            identity, index = self._seen
            if identity_of(os.stat(self._path)) != identity:
                # a large table need not be in memory twice
                self._seen = identity, index = (None, Index({}, {}))
                with open(self._path, "rb") as f:
                    # of the file that was opened: another writer may have replaced it since
                    status = os.fstat(f.fileno())
                    data = f.read()
                # A file that was written just now may be replaced by one of the same size, in the same tick of the
                # file system's clock and with the inode of its predecessor: it is read again next time.
                settled = time.time() - status.st_mtime > _SETTLED
                index = parse_index(data, self._url)
                self._seen = (identity_of(status) if settled else None, index)
        return index

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise StorageError.from_os_error(f"reading index.json of {self._url}", e) from e


def identity_of(status: os.stat_result) -> Tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def bare_descriptor(entry: Entry) -> Descriptor:
    return Descriptor.from_dict(entry).bare


def put_entry(entries: Entries, descriptor: Descriptor, tag: Optional[str], children: Set[str]) -> Entries:
    listed = any(e["digest"] == descriptor.digest for e in entries)
    if tag is None and listed:
        return entries
    entry = descriptor.to_dict()
    if tag is not None:
        entry["annotations"] = {REF_NAME: tag}
        if listed and entry in entries:
            return entries
    replaced = children | {descriptor.digest}
    kept = [e for e in entries if (tag_of(e) != tag if tag_of(e) else e["digest"] not in replaced)]
    return [*kept, entry]


def drop_entries(
    entries: Entries,
    url: str,
    reference: str,
    *,
    tag: Optional[str] = None,
    digest: Optional[str] = None,
    may_be_absent: bool = False,
) -> Entries:
    kept = [e for e in entries if (tag_of(e) != tag if tag is not None else e["digest"] != digest)]
    if len(kept) == len(entries):
        if may_be_absent:
            return entries
        raise NotFound(f"{url} has no {'tag' if tag is not None else 'manifest'} {reference}")
    return kept
