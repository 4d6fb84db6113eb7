# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The last step of a push: the image of a package whose layers are all in the store gets its tag.

Its documents and run environment are Python, two thirds of what a small package costs; so a push of many packages does
this step in forked processes, while its own threads send layers.
"""

import os
import threading
import time
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from ... import __version__
from ...content import BytesSource, Presence, RepositoryWriter
from ...descriptor import Descriptor
from ...errors import ContentError, NotFound
from ...image.manifest import EPOCH, BuiltImage, build_package_image
from ...package.documents import read_layer_descriptor
from ...package.record import Layer, Package
from ...package.relocation_summary import PUSHER, annotations_of_summary
from ...trust.payload import Subject, repository_of
from ...trust.provenance import MEDIA_TYPE as PROVENANCE_TYPE
from ...trust.provenance import envelope, statement
from ...trust.sbom import MEDIA_TYPE as SBOM_TYPE
from ...util.concurrency.processes import ProcessPool, available_cores
from ..trust.attach import attach
from ..trust.write import SignatureWriter, Written
from .plan import PushSettings, read_layer, worth_forking

#: they share what their parent had in memory, but each adds some 10 MiB, and asks for tokens of its own
MOST_PROCESSES = 4


class TagJob(NamedTuple):
    """``number``: of the package in the list that a :class:`Tagger` was made with; ``layers``: of its image, without
    the base's; ``relocation_summary``: of its own layer; ``is_new``: that layer was not in the store before; ``level``:
    annotations that say how it was compressed."""

    number: int
    layers: Sequence[Layer]
    relocation_summary: Mapping[str, Any]
    is_new: bool
    level: Mapping[str, str] = {}


class Tagged(NamedTuple):
    """``manifest``: of the image that has the tag; ``signature``: None if nothing was to be signed; ``licenses``: those
    that the image says the package has, empty if it says none; ``replaced``: the tag was that of another layer."""

    manifest: Descriptor
    signature: Optional[Written] = None
    licenses: str = ""
    replaced: bool = False


class Tagger:
    """Tags ``packages``, and signs them before, if ``settings`` have a signer: what has a tag has its signature too,
    whenever the push is killed. Safe to use from many threads.
    """

    def __init__(
        self, packages: Sequence[Package], store: RepositoryWriter, settings: PushSettings, *, created: str, force: bool
    ) -> None:
        self._packages = packages
        self._store = store
        self._settings = settings
        self._created = created
        self._force = force
        self._making_parts = threading.Lock()
        self._writer = SignatureWriter(store, settings.signer) if settings.signer is not None else None

    def tag(self, job: TagJob) -> Tagged:
        """Raises SigningError, and what the store raises."""
        package = self._packages[job.number]
        with self._making_parts:
            package.complete()
        image = build_package_image(
            package=package,
            layers=job.layers,
            base=self._settings.base,
            annotations={
                PUSHER: f"spack-oci {__version__}",
                **annotations_of_summary(job.relocation_summary),
                **job.level,
                **package.annotations,
            },
            created=self._created,
        )
        config = BytesSource(image.config)
        licenses = package.provenance().get("licenses", "")
        written = None
        sbom = self._attach_sbom(package, image)
        if self._writer is not None:
            subject = _subject(self._store.url, package, image, job.layers[-1], sbom)
            is_fresh = job.is_new and self._settings.index_follows
            written = self._writer.sign(subject, package.label, fresh=is_fresh)
            if self._settings.provenance:
                self._attach_provenance(subject, package, image, job.layers[:-1])
        tagged = self._tagged(package.tag) if self._force else None
        if tagged == image.manifest_descriptor.digest and not job.is_new:
            # the same again: what --force is for is to make sure of the blobs
            self._store.put_blob(image.config_descriptor, config)
            return Tagged(image.manifest_descriptor, written, licenses)
        replaced = tagged is not None and self._has_other_layer(package.tag, job.layers[-1])
        # a config names the digest of the layer's content, so where the layer was not, the config is not either
        presence = Presence.EXCLUDED if job.is_new else Presence.POSSIBLE
        self._store.put_blob(image.config_descriptor, config, presence=presence)
        manifest = self._store.put_manifest(image.manifest, image.media_type, package.tag)
        return Tagged(manifest, written, licenses, replaced)

    def _attach_sbom(self, package: Package, image: BuiltImage) -> Optional[str]:
        """Its digest; None: there is none."""
        data = package.sbom() if self._settings.sbom else b""
        return attach(self._store, image.manifest_descriptor, data, SBOM_TYPE).digest if data else None

    def _attach_provenance(
        self, subject: Subject, package: Package, image: BuiltImage, dependencies: Sequence[Layer]
    ) -> None:
        facts, signer = package.build_facts(), self._settings.signer
        if facts is None or signer is None:
            return
        node = package.spec_document["spec"]["nodes"][0]
        layers = [(layer.label, layer.descriptor.digest) for layer in dependencies]
        made = statement(subject, package.tag, node, facts, layers)
        attach(self._store, image.manifest_descriptor, envelope(made, signer), PROVENANCE_TYPE)

    def _tagged(self, tag: str) -> Optional[str]:
        """The digest that a tag has now; None: there is no such tag."""
        try:
            return self._store.resolve(tag).digest
        except NotFound:
            return None

    def _has_other_layer(self, tag: str, layer: Layer) -> bool:
        try:
            if read_layer_descriptor(self._store, tag).digest == layer.descriptor.digest:
                return False
            # the same content may be compressed in another way
            return read_layer(self._store, tag).diff_id != layer.diff_id
        except ContentError:
            return False  # nothing that could be replaced: a forced push mends what is broken


def _subject(url: str, package: Package, image: BuiltImage, layer: Layer, sbom: Optional[str]) -> Subject:
    return Subject(
        repository=repository_of(url),
        manifest=image.manifest_descriptor.digest,
        dag_hash=package.dag_hash,
        layer=layer.descriptor.digest,
        layer_size=layer.descriptor.size,
        diff_id=layer.diff_id,
        config=image.config_descriptor.digest,
        sbom=sbom,
    )


def tagging_processes(tagger: Tagger, packages: int, settings: PushSettings) -> Optional[ProcessPool]:
    """Processes for :meth:`Tagger.tag`, with as many requests at a time as ``settings`` allow; None: they are not worth
    it, or the system allows no more."""
    if not worth_forking(settings, packages):
        return None
    requests = max(1, settings.transfer_jobs)
    processes = min(available_cores(), requests, MOST_PROCESSES)
    try:
        return ProcessPool(lambda job, _: tagger.tag(job), processes, name="tag", threads=-(-requests // processes))
    except OSError:
        return None


def created_from_environment() -> str:
    """``archive_timestamp`` of what is pushed: SOURCE_DATE_EPOCH, else 1970.

    Neither the time of the push nor the install's would be the same on the next machine; nothing reads this field.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch.isdecimal():
        return EPOCH
    try:
        at = time.gmtime(int(epoch))
    except (ValueError, OverflowError, OSError):  # more digits than Python reads, or a year that there is not
        return EPOCH
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", at)
