# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The interfaces behind which a registry, an OCI layout directory and the tests' memory are interchangeable.

Each is one thing that a store can do (read, write, list, delete); functions ask for what they need and no more, as in
oras-go's ``content/storage.go``. Blobs to be sent are :class:`BlobSource` values: something that can be opened from the
start as often as a retry needs it.
"""

import enum
import io
import os
from dataclasses import dataclass
from typing import (
    BinaryIO,
    Callable,
    Container,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Tuple,
    runtime_checkable,
)

from ..descriptor import Descriptor, VerifyingReader
from ..errors import InvalidContent, NotFound

#: called with the number of bytes that were moved since the last call
Progress = Callable[[int], None]

#: manifests and configs larger than this are refused (distribution-spec: registries may limit manifests to 4 MiB)
MAX_MANIFEST_SIZE = 4 << 20
_CHUNK = 1 << 20


class BlobSource(Protocol):
    def open(self) -> BinaryIO:
        """The content from its first byte; called again for every try."""


@dataclass(frozen=True)
class FileSource:
    path: str

    def open(self) -> BinaryIO:
        return open(self.path, "rb")

    def __len__(self) -> int:
        return os.path.getsize(self.path)


@dataclass(frozen=True)
class BytesSource:
    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Presence(enum.Enum):
    """What the caller knows of a blob that is to be stored."""

    #: it may be there: look first
    POSSIBLE = "possible"
    #: it is hardly there: look, but not by a request more where opening the upload tells as much
    UNLIKELY = "unlikely"
    #: it is not there: to look would be in vain. If it is there after all, it is stored once more
    EXCLUDED = "excluded"


class Resolver(Protocol):
    """Tags and digests to descriptors."""

    @property
    def url(self) -> str:
        """As a user would write it: a mirror URL."""

    def resolve(self, reference: str) -> Descriptor:
        """The descriptor of the manifest behind a tag or digest. Raises NotFound."""


class ManifestReader(Resolver, Protocol):
    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        """A manifest (or index) by tag or digest, verified, at most MAX_MANIFEST_SIZE. Raises NotFound."""


class BlobReader(Protocol):
    @property
    def url(self) -> str: ...

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        """Stream a blob; use as a context manager. Raises NotFound."""


class TagLister(Protocol):
    @property
    def url(self) -> str: ...

    def tags(self) -> Iterator[str]:
        """Every tag; empty if the repository does not exist yet."""


class ReferrerLister(Protocol):
    def referrers(
        self, digest: str, artifact_type: Optional[str] = None, listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        """Manifests whose subject is ``digest`` (distribution-spec, referrers API and its tag fallback).

        ``listed``: tags that the store was just seen to have, by somebody who asks for many manifests that are there:
        saves the requests that cannot find more.
        """


class BlobWriter(Protocol):
    @property
    def url(self) -> str: ...

    def has_blob(self, digest: str) -> bool:
        """False only if the store says so; an error is an error."""

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        """Store a blob if it is not there. True: it was sent; False: it was there."""

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        """Take a blob over from another repository of the same store, without transfer. False: not possible."""


class ManifestWriter(Protocol):
    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        """Store a manifest, by its digest when there is no tag. What it refers to must be there."""


class Deleter(Protocol):
    def delete_manifest(self, reference: str) -> None:
        """Remove a tag or, for a digest, a manifest and its tags. Raises NotFound."""


class ContentReader(ManifestReader, BlobReader, Protocol):
    """What reading a package or an image takes."""


class ContentWriter(BlobWriter, ManifestWriter, Protocol):
    """What storing a package or an image takes."""


class RepositoryReader(ContentReader, TagLister, Protocol):
    """What a plan reads: what is there, and of what."""


class RepositoryWriter(RepositoryReader, ContentWriter, Protocol):
    """What a push needs."""


class ContentStore(RepositoryWriter, ReferrerLister, Deleter, Protocol):
    """Everything that a registry or a layout does. Functions ask for the narrowest of the interfaces above.

    All methods are safe to call from several threads. Besides what is named above, every method may raise a
    :class:`~spack_oci.errors.TransportError` or :class:`~spack_oci.errors.ResponseError` (registry) or
    :class:`~spack_oci.errors.StorageError` (layout).
    """

    def close(self) -> None:
        """Give connections back."""


@runtime_checkable
class SavesBlobs(Protocol):
    """A store that knows a better way to bring a blob into a file than reading its stream."""

    def save_blob(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress] = None) -> None:
        """Write a blob, verified, into an empty, seekable file; content that arrives damaged is fetched once more."""


class GrowingBlob(BlobSource, Protocol):
    """A blob that is being written from its first byte to its last. What there is of it does not change."""

    def wait_for(self, size: int) -> int:
        """Wait until there are ``size`` bytes, or all; returns how many there are."""


class SentPart(Protocol):
    """The beginning of a blob that a store was sent before its digest was known."""

    def belongs_to(self, digest: str) -> None:
        """The next ``put_blob`` of ``digest`` sends what is missing."""

    def discard(self) -> None:
        """The blob will never come. Never raises an error of the store."""


@runtime_checkable
class SendsGrowing(Protocol):
    """A store that can be sent a blob while it is being made."""

    def send_growing(self, blob: GrowingBlob, progress: Optional[Progress] = None) -> Optional[SentPart]:
        """Send what there is of ``blob``, and what comes, until it is complete or something goes wrong, which is no
        error here: :meth:`~BlobWriter.put_blob` goes on from there. None: nothing was sent. Raises what reading the
        blob raises.
        """


@runtime_checkable
class ChecksBlobs(Protocol):
    """A store that can look at the content of a blob for less than it takes to send the blob."""

    def check_blob(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there and undamaged."""


@runtime_checkable
class ChecksWriting(Protocol):
    """A store that finds out for little whether it can be written to."""

    def check_writable(self) -> None:
        """Raises Unauthorized, Forbidden or StorageError if not; other errors if that cannot be found out."""


@runtime_checkable
class ReadsRanges(Protocol):
    """A store that reads a part of a blob."""

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``, which the caller verifies. Raises NotFound, UnexpectedResponse."""


class MissingStore(NamedTuple):
    """The :class:`RepositoryReader` of a repository that does not exist yet: for the plan of its first push."""

    url: str

    def resolve(self, reference: str) -> Descriptor:
        raise NotFound(f"{self.url} does not exist yet")

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        raise NotFound(f"{self.url} does not exist yet")

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        raise NotFound(f"{self.url} does not exist yet")

    def tags(self) -> Iterator[str]:
        return iter(())


def resolves_to(store: Resolver, reference: str, digest: str) -> bool:
    """Whether a tag or digest is there, and leads to the manifest with ``digest``."""
    try:
        return store.resolve(reference).digest == digest
    except NotFound:
        return False


def read_blob(store: BlobReader, descriptor: Descriptor, limit: int = MAX_MANIFEST_SIZE) -> bytes:
    """A small blob (a config, an index), whole and verified; InvalidContent when it is larger than ``limit``."""
    if descriptor.size > limit:
        raise InvalidContent(f"{descriptor.digest} of {store.url} has {descriptor.size} bytes, more than {limit}")
    with store.open_blob(descriptor) as reader:
        return reader.read()


def save_blob(store: BlobReader, descriptor: Descriptor, file: BinaryIO, progress: Optional[Progress] = None) -> None:
    """Write a blob to ``file``, verified, in the store's own way if it has one (:class:`SavesBlobs`)."""
    if isinstance(store, SavesBlobs):
        return store.save_blob(descriptor, file, progress)
    with store.open_blob(descriptor) as reader:
        for chunk in iter(lambda: reader.read(_CHUNK), b""):
            file.write(chunk)
            if progress is not None:
                progress(len(chunk))


def put_bytes(store: BlobWriter, data: bytes, media_type: str, **kwargs) -> Descriptor:
    """Store ``data`` as a blob and return its descriptor."""
    descriptor = Descriptor.of(data, media_type, **kwargs)
    store.put_blob(descriptor, BytesSource(data))
    return descriptor


def total_size(descriptors: Iterable[Descriptor]) -> int:
    return sum(d.size for d in descriptors)
