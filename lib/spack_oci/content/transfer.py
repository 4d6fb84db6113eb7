# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Moves blobs from one store to another: what is there is left alone, what can be mounted is, the rest is streamed."""

import enum
from dataclasses import dataclass
from typing import BinaryIO, Iterable, Optional

from ..descriptor import Descriptor
from ..errors import InvalidReference
from ..reference import Repository, parse_url
from .interfaces import BlobReader, BlobWriter, Presence, Progress


class Transfer(enum.Enum):
    """What it took to have a blob in the destination."""

    PRESENT = "present"
    MOUNTED = "mounted"
    SENT = "sent"


@dataclass(frozen=True)
class TransferCounts:
    """What the transfer of some blobs took. ``sent_bytes``: 0 if everything was there or could be mounted."""

    present: int = 0
    mounted: int = 0
    sent: int = 0
    sent_bytes: int = 0
    #: layers that only their owner distributes (``urls``)
    foreign: int = 0

    def __add__(self, other: "TransferCounts") -> "TransferCounts":
        return TransferCounts(
            self.present + other.present,
            self.mounted + other.mounted,
            self.sent + other.sent,
            self.sent_bytes + other.sent_bytes,
            self.foreign + other.foreign,
        )

    @classmethod
    def of(cls, transfer: Transfer, blob: Descriptor) -> "TransferCounts":
        if transfer is Transfer.SENT:
            return cls(sent=1, sent_bytes=blob.size)
        return cls(mounted=1) if transfer is Transfer.MOUNTED else cls(present=1)


@dataclass(frozen=True)
class StoredBlob:
    """A blob of a store as the source of an upload (:class:`~spack_oci.content.BlobSource`)."""

    store: BlobReader
    descriptor: Descriptor

    def open(self) -> BinaryIO:
        return self.store.open_blob(self.descriptor)  # type: ignore[return-value]  # it has read and close

    def __len__(self) -> int:
        return self.descriptor.size


class BlobMover:
    """Moves blobs of ``source`` to ``destination``; safe to use from many threads. ``progress``: bytes sent."""

    def __init__(self, source: BlobReader, destination: BlobWriter, progress: Optional[Progress] = None) -> None:
        self._source = source
        self._destination = destination
        self._progress = progress
        self._mount_from = mountable_repository(destination.url, [source.url])

    def move(self, blob: Descriptor) -> Transfer:
        """Raises NotFound if the source does not have it either."""
        presence = Presence.UNLIKELY
        if self._mount_from:
            if self._destination.has_blob(blob.digest):
                return Transfer.PRESENT
            if self._destination.mount_blob(blob, self._mount_from):
                return Transfer.MOUNTED
            presence = Presence.EXCLUDED
        source = StoredBlob(self._source, blob)
        sent = self._destination.put_blob(blob, source, self._progress, presence)
        return Transfer.SENT if sent else Transfer.PRESENT


def mountable_repository(target: str, origins: Iterable[str]) -> Optional[str]:
    """The name of the first repository among ``origins`` from which a blob can be mounted into ``target`` (all URLs).

    It is another repository of the same registry, spoken to in the same way: on one host, the ports of http and https
    may be two registries. None if there is none, or if ``target`` itself is an origin: the blob should be there.
    """
    origins = list(origins)
    here = _repository(target)
    if here is None or target in origins:
        return None
    for there in map(_repository, origins):
        if there is not None and there.api_root == here.api_root and there.name != here.name:
            return there.name
    return None


def _repository(url: str) -> Optional[Repository]:
    try:
        location = parse_url(url)
    except InvalidReference:
        return None
    return location if isinstance(location, Repository) else None
