# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A repository of a registry as a :class:`~spack_oci.content.ContentStore`."""

import threading
from typing import BinaryIO, Dict, Iterator, List, Optional, Tuple, TypeVar

from ..content import BlobSource, Progress
from ..descriptor import Descriptor, VerifyingReader, check_digest
from ..errors import NotFound
from ..reference import Repository
from .client import RegistryClient
from .downloads import Downloader
from .manifests import Manifests, head_or_first_byte
from .settings import RegistrySettings
from .transport import Transport
from .uploads import Uploader

T = TypeVar("T")


class RegistryStore:
    """One repository. Methods: see ContentStore; errors: see ``spack_oci.errors``. Safe to use from many threads."""

    def __init__(self, repository: Repository, settings: RegistrySettings, transport: Transport) -> None:
        self.repository = repository
        self.settings = settings
        self.url = repository.url
        self.client = RegistryClient(repository, settings, transport)
        self.uploader = Uploader(self.client)
        self._downloads = Downloader(self.client)
        self._manifests = Manifests(self.client)

    def resolve(self, reference: str) -> Descriptor:
        return self._manifests.resolve(reference)

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        return self._manifests.get(reference)

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        return self._manifests.put(data, media_type, tag)

    def delete_manifest(self, reference: str) -> None:
        self._manifests.delete(reference)

    def has_blob(self, digest: str) -> bool:
        url = f"{self.repository.endpoint}/blobs/{check_digest(digest)}"
        try:
            head_or_first_byte(self.client, url, f"looking for {digest} in {self.repository}", {})
        except NotFound:
            return False
        return True

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        return self._downloads.open(descriptor)

    def save_blob(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress] = None) -> None:
        """Write a blob into an empty, seekable file; content that arrives damaged is fetched once more."""
        self._downloads.save(descriptor, target, progress)

    def put_blob(self, descriptor: Descriptor, source: BlobSource, progress: Optional[Progress] = None) -> bool:
        if self.has_blob(descriptor.digest):
            return False
        self.uploader.put(descriptor, source, progress)
        return True

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return self.uploader.mount(descriptor.digest, from_repository)

    def tags(self) -> Iterator[str]:
        return self._manifests.tags()

    def referrers(self, digest: str, artifact_type: Optional[str] = None) -> List[Descriptor]:
        return self._manifests.referrers(digest, artifact_type)

    def close(self) -> None:
        self.uploader.close()

    def __enter__(self) -> "RegistryStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_transports: Dict[Tuple[object, ...], Transport] = {}
_guard = threading.Lock()


def _transport_for(settings: RegistrySettings) -> Transport:
    """Connections are shared by all repositories with the same network settings."""
    key = (
        settings.verify_tls,
        settings.ca_bundle,
        settings.client_cert,
        settings.client_key,
        settings.connect_timeout,
        settings.read_timeout,
        settings.minimum_rate,
        settings.connections,
    )
    with _guard:
        if key not in _transports:
            _transports[key] = Transport(settings)
        return _transports[key]


def open_repository(repository: Repository, settings: Optional[RegistrySettings] = None) -> RegistryStore:
    """The repository, ready to be used. Nothing is sent yet.

    ``settings`` default to no credentials, the system's certificates and the usual timeouts.
    """
    settings = settings or RegistrySettings()
    return RegistryStore(repository, settings, _transport_for(settings))
