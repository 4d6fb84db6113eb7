# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A repository of a registry as a :class:`~spack_oci.content.ContentStore`."""

import os
import threading
from typing import BinaryIO, Container, Dict, Iterator, List, Optional, Tuple

from ..content import BlobSource, GrowingBlob, Presence, Progress, SentPart
from ..descriptor import Descriptor, VerifyingReader, sha256_digest
from ..errors import ContentError, ResponseError, TransportError
from ..reference import Repository
from .client import RegistryClient
from .downloads import Downloader
from .existence import has_blob
from .growing import GrowingUploads
from .http.transport import RequestsTransport, Transport
from .manifests import Manifests
from .settings import Mirror, RegistrySettings
from .uploads import Uploader


class RegistryStore:
    """One repository. Methods: see ContentStore; errors: see ``spack_oci.errors``. Safe to use from many threads.

    Pulls, that is ``get_manifest`` and ``open_blob``, go to the mirrors of the settings first. Whether something is
    there, which tags there are, and everything that writes is asked of the repository itself: a mirror may lag behind,
    and a push that believed it would leave holes.
    """

    def __init__(self, repository: Repository, settings: RegistrySettings, transport: Transport) -> None:
        self.repository = repository
        self.settings = settings
        self.url = repository.url
        self.client = RegistryClient(repository, settings, transport)
        self.uploader = Uploader(self.client)
        self._growing = GrowingUploads(self.uploader)
        mirrors = [_mirror_client(mirror, settings) for mirror in settings.mirrors]
        self._downloads = Downloader([*mirrors, self.client])
        self._mirrored = [Manifests(client) for client in mirrors]
        self._manifests = Manifests(self.client)

    def resolve(self, reference: str) -> Descriptor:
        return self._manifests.resolve(reference)

    def get_manifest(self, reference: str) -> Tuple[Descriptor, bytes]:
        """From the first mirror that has it, else from the repository itself, whose word on what is missing counts."""
        for mirror in self._mirrored:
            try:
                return mirror.get(reference)
            except (ContentError, ResponseError, TransportError):
                continue
        return self._manifests.get(reference)

    def put_manifest(self, data: bytes, media_type: str, tag: Optional[str] = None) -> Descriptor:
        return self._manifests.put(data, media_type, tag)

    def delete_manifest(self, reference: str) -> None:
        self._manifests.delete(reference)

    def has_blob(self, digest: str) -> bool:
        return has_blob(self.client, digest, self.client.scopes("pull"))

    def open_blob(self, descriptor: Descriptor) -> VerifyingReader:
        return self._downloads.open(descriptor)

    def read_range(self, descriptor: Descriptor, start: int, stop: int) -> bytes:
        return self._downloads.read_range(descriptor, start, stop)

    def save_blob(self, descriptor: Descriptor, target: BinaryIO, progress: Optional[Progress] = None) -> None:
        """Write a blob into an empty, seekable file; content that arrives damaged is fetched once more."""
        self._downloads.save(descriptor, target, progress)

    def put_blob(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        progress: Optional[Progress] = None,
        presence: Presence = Presence.POSSIBLE,
    ) -> bool:
        if presence is Presence.UNLIKELY:
            return self.uploader.put_unless_there(descriptor, source, progress)
        if presence is Presence.POSSIBLE and self.has_blob(descriptor.digest):
            return False
        self.uploader.put(descriptor, source, progress)
        return True

    def send_growing(self, blob: GrowingBlob, progress: Optional[Progress] = None) -> Optional[SentPart]:
        return self._growing.send(blob, progress)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return self.uploader.mount(descriptor.digest, from_repository)

    def check_writable(self) -> None:
        """See ChecksWriting: opens an upload and cancels it."""
        session = self.uploader.start(sha256_digest(b"whether spack-oci may write here"))
        if session is not None:
            self.uploader.cancel(session)

    def tags(self) -> Iterator[str]:
        return self._manifests.tags()

    def referrers(
        self, digest: str, artifact_type: Optional[str] = None, listed: Optional[Container[str]] = None
    ) -> List[Descriptor]:
        return self._manifests.referrers(digest, artifact_type, listed)

    def close(self) -> None:
        self.uploader.close()

    def __enter__(self) -> "RegistryStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mirror_client(mirror: Mirror, origin: RegistrySettings) -> RegistryClient:
    """A mirror is not waited for: what follows it is tried instead. Credential sources answer for hosts, so it gets
    none that are not for it."""
    settings = mirror.settings or origin._replace(mirrors=())
    settings = settings._replace(retry=settings.retry.never_waiting())
    return RegistryClient(mirror.repository, settings, transport_for(settings))


_transports: Dict[Tuple[object, ...], Transport] = {}
_guard = threading.Lock()


def _after_fork() -> None:
    """Another thread may have held the lock in the moment of the fork."""
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def transport_for(settings: RegistrySettings) -> Transport:
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
            _transports[key] = RequestsTransport(settings)
        return _transports[key]


def open_repository(repository: Repository, settings: Optional[RegistrySettings] = None) -> RegistryStore:
    """The repository, ready to be used. Nothing is sent yet.

    ``settings`` default to no credentials, the system's certificates and the usual timeouts.
    """
    settings = settings or RegistrySettings()
    return RegistryStore(repository, settings, transport_for(settings))
