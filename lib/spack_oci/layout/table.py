# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``index.json`` of an OCI image layout: which tag is which manifest.

Reads it when it changed, changes it under a lock, and makes what several threads want to change in one replacement: the
file grows with the number of tags, so a replacement for each of 20,000 pushed packages would be the slowest part of it.
"""

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ..descriptor import OCI_INDEX, Descriptor, parse_json
from ..errors import InvalidContent, NotFound, SpackOciError, StorageError
from ..util.concurrency.locks import exclusive_lock
from ..util.files import storage_errors
from ..util.schemas import validate

REF_NAME = "org.opencontainers.image.ref.name"
#: directory in the layout that is ours alone: the lock and the files being written
PRIVATE = ".spack-oci"

#: seconds after which a file's time of change tells it from the one that replaces it
_SETTLED = 0.1

#: an entry of ``index.json``
Entry = Mapping[str, Any]
Entries = List[Entry]


class TaggedEntry(Mapping[str, Any]):
    """An entry as we write it for a tag: a hundred thousand of them as dictionaries take twice as much memory."""

    __slots__ = ("_size", "_type", "digest", "tag")

    def __init__(self, media_type: str, digest: str, size: int, tag: str) -> None:
        # tag and digest are also in the index and, for a copy, in the table and index of the other cache
        self._type, self.digest, self.tag = map(sys.intern, (media_type, digest, tag))
        self._size = size

    def to_dict(self) -> Dict[str, Any]:
        annotations = {REF_NAME: self.tag}
        return {"mediaType": self._type, "digest": self.digest, "size": self._size, "annotations": annotations}

    def __getitem__(self, key: str) -> Any:
        return self.digest if key == "digest" else self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_MEMBERS)

    def __len__(self) -> int:
        return len(_MEMBERS)


_MEMBERS = ("mediaType", "digest", "size", "annotations")


def _compact(data: Dict[str, Any]) -> Entry:
    """An object of ``index.json``; as it is, if it is no entry as we write it."""
    annotations = data.get("annotations")
    if len(data) != len(_MEMBERS) or not isinstance(annotations, dict) or len(annotations) != 1:
        return data
    values: List[Any] = [data.get("mediaType"), data.get("digest"), data.get("size"), annotations.get(REF_NAME)]
    return TaggedEntry(*values) if list(map(type, values)) == [str, str, int, str] else data


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
        #: (identity of the file, the document, tag -> first entry with it)
        self._seen: Tuple[Any, Dict[str, Any], Dict[str, Entry]] = (None, {}, {})

    def entries(self) -> Entries:
        """The entries as they are now; not to be changed."""
        return self._current()[1].get("manifests") or []

    def tagged(self) -> Dict[str, Entry]:
        """Tag -> entry; of several entries with one tag the first, as skopeo takes it."""
        return self._current()[2]

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
        self._replace_file("index.json", index_json(self._current()[1], entries))

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

    def _current(self) -> Tuple[Any, Dict[str, Any], Dict[str, Entry]]:
        try:
            seen = self._seen
            if identity_of(os.stat(self._path)) != seen[0]:
                # a large table need not be in memory twice
                seen = self._seen = (None, {}, {})
                with open(self._path, "rb") as f:
                    # of the file that was opened: another writer may have replaced it since
                    status = os.fstat(f.fileno())
                    data = f.read()
                # A file that was written just now may be replaced by one of the same size, in the same tick of the
                # file system's clock and with the inode of its predecessor: it is read again next time.
                settled = time.time() - status.st_mtime > _SETTLED
                seen = self._seen = (identity_of(status) if settled else None, *_parse_index(data, self._url))
        except OSError as e:
            raise StorageError.from_os_error(f"reading index.json of {self._url}", e) from e
        return seen


def identity_of(status: os.stat_result) -> Tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _parse_index(data: bytes, url: str) -> Tuple[Dict[str, Any], Dict[str, Entry]]:
    label = f"index.json of {url}"
    document = parse_json(data, label, _compact)
    if not _is_plain(document):
        document = parse_json(data, label)
        validate(document, "layout-index", label)
    tagged: Dict[str, Entry] = {}
    for entry in document.get("manifests") or ():
        try:
            Descriptor.from_dict(entry)
            tag = tag_of(entry)
        except (InvalidContent, AttributeError) as e:
            raise InvalidContent(f"{label} has an entry that is no descriptor: {_shown(entry)}") from e
        if tag is not None:
            tagged.setdefault(tag, entry)
    return document, tagged


def _shown(entry: Any) -> str:
    return str(entry.to_dict() if isinstance(entry, TaggedEntry) else entry)[:200]


def _is_plain(document: Dict[str, Any]) -> bool:
    """Has what we write and no more; then the check of each entry is enough. To import what validates schemas takes as
    long as the rest of a command that only lists."""
    entries = document.get("manifests")
    return (
        document.keys() <= {"schemaVersion", "mediaType", "manifests"}
        and document.get("schemaVersion") == 2
        and document.get("mediaType", OCI_INDEX) == OCI_INDEX
        and isinstance(entries, list)
        and all(isinstance(entry, (dict, TaggedEntry)) for entry in entries)
    )


def index_json(previous: Dict[str, Any], entries: Entries) -> bytes:
    """Sorted, so that its bytes do not depend on the order in which packages were pushed."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, **previous}
    document["manifests"] = sorted(entries, key=lambda e: (tag_of(e) or "", e["digest"]))
    return json.dumps(document, separators=(",", ":"), default=TaggedEntry.to_dict).encode()


def tag_of(entry: Entry) -> Optional[str]:
    if isinstance(entry, TaggedEntry):
        return entry.tag
    return (entry.get("annotations") or {}).get(REF_NAME)


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
