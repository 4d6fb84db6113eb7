# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A store that takes the layers of packages and nothing else of them: for an image that stands alone."""

from typing import Iterator, Optional, Tuple

from ...content import BlobSource, BlobWriter, Presence, Progress
from ...descriptor import DOCKER_CONFIG, OCI_CONFIG, Descriptor, VerifyingReader
from ...errors import NotFound


class LayersOnly:
    """A :class:`~spack_oci.content.RepositoryWriter` without tags, which keeps neither configs nor manifests.

    Layers go to ``store``.
    """

    def __init__(self, store: BlobWriter) -> None:
        self._store = store
        self.url = store.url

    def resolve(self, reference: str) -> Descriptor:
        raise NotFound(f"{self.url} has no {reference}")

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        raise NotFound(f"{self.url} has no {reference}")

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        raise NotFound(f"{self.url} has no {descriptor.digest}")

    def tags(self) -> Iterator[str]:
        return iter(())

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        return Descriptor.of(data, media_type)

    def has_blob(self, digest: str) -> bool:
        return self._store.has_blob(digest)

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        if descriptor.media_type in (OCI_CONFIG, DOCKER_CONFIG):
            return False
        return self._store.put_blob(descriptor, source, progress, presence)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return self._store.mount_blob(descriptor, from_repository)
