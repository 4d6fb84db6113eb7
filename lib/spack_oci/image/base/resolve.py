# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Base images: find the one for a platform, and bring its layers where the packages' images will be.

A base image comes from any store, behind any number of indexes, in Docker's or OCI's vocabulary. Its layers are never
unpacked or compressed again: they are mounted when source and target are repositories of one registry, else streamed
from the one to the other, each once. Foreign layers (``urls``) stay where their owner wants them to be.
"""

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...content import BlobReader, BlobWriter, ContentReader, read_blob
from ...content.platform import Platform, select
from ...content.transfer import BlobMover, TransferCounts
from ...descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, parse_json
from ...errors import ImageError, NotFound, ResponseError, TransportError
from ...reference import ImageReference, Repository
from ...util.concurrency.threads import DaemonPool
from ...util.progress import Reporter, Silent, Work
from ...util.schemas import validate
from ..manifest import Base, is_foreign

#: indexes may hold indexes; deeper than this nobody goes
_MAX_DEPTH = 3
#: an index with more entries than this is not meant for people
_MAX_ENTRIES = 1000


def display_name(reference: ImageReference) -> str:
    """A reference as container tools write it: ``HOST/NAME:TAG``; a layout as its URL."""
    return str(reference).partition("://")[2] if isinstance(reference.location, Repository) else str(reference)


def resolve_base(store: ContentReader, reference: ImageReference, platform: Platform) -> Base:
    """Manifest and config of ``reference``, the image for ``platform`` if it is an index. Nothing is copied.

    ``store``: the one that ``reference.location`` names. Raises :class:`ImageError` if it is not there, for another
    platform (lists those there are) or no image; what else the store raises is passed on.
    """
    name = display_name(reference)
    try:
        descriptor, data = store.get_manifest(reference.reference)
    except NotFound as e:
        raise ImageError(
            f"base image {name} is not there: {e.message}",
            remedy="check its name and tag, for example with `skopeo inspect`; a private one needs `spack oci login`",
        ) from e
    except (TransportError, ResponseError) as e:
        e.message = f"reading base image {name}: {e.message}"
        raise
    if descriptor.media_type in INDEX_TYPES:
        candidates = _images_of_index(store, data, name)
        descriptor = select(candidates, platform, f"base image {name}")
        descriptor, data = _manifest_of_index(store, descriptor, name)
    manifest, config = _documents(store, descriptor, data, name)
    base = Base(manifest, config, name, descriptor.digest)
    found = Platform.from_document(config)
    if found is None or found.rank_for(platform) is None:
        raise ImageError(
            f"base image {name} is for {found or 'no platform that it names'}, the packages are for {platform}",
            remedy="choose a base image of the packages' platform",
        )
    return base


def _images_of_index(store: ContentReader, data: bytes, name: str) -> List[Tuple[Platform, Descriptor]]:
    """The images below an index with their platforms; nested indexes are followed, attestations left out."""
    found = []
    entries = [(descriptor, 0) for descriptor in _entries(data, name)]
    for descriptor, depth in entries:  # which grows meanwhile
        if descriptor.media_type in INDEX_TYPES and depth < _MAX_DEPTH:
            nested = _entries(_manifest_of_index(store, descriptor, name)[1], name)
            entries.extend((below, depth + 1) for below in nested)
        elif descriptor.media_type in MANIFEST_TYPES:
            platform = _platform_of_entry(store, descriptor, name)
            if platform:
                found.append((platform, descriptor))
        if len(entries) > _MAX_ENTRIES:
            raise ImageError(f"base image {name}: its index has {len(entries)} entries and more")
    return found


def _entries(data: bytes, name: str) -> List[Descriptor]:
    label = f"the index of base image {name}"
    return [Descriptor.from_dict(e) for e in validate(parse_json(data, label), "image-index", label)["manifests"]]


def _platform_of_entry(store: ContentReader, descriptor: Descriptor, name: str) -> Optional[Platform]:
    """An index may leave the platform of an entry out (image-index.md: OPTIONAL); then the config knows."""
    if descriptor.platform is not None:
        return Platform.from_document(descriptor.platform)
    descriptor, data = _manifest_of_index(store, descriptor, name)
    label = f"the manifest of {name}"
    config = Descriptor.from_dict(validate(parse_json(data, label), "manifest", label)["config"])
    return Platform.from_document(parse_json(read_blob(store, config), name)) if "image" in config.media_type else None


def _manifest_of_index(store: ContentReader, descriptor: Descriptor, name: str) -> Tuple[Descriptor, bytes]:
    try:
        return store.get_manifest(descriptor.digest)
    except NotFound as e:
        raise ImageError(
            f"base image {name} is damaged: its index names {descriptor.digest}, which is not there",
            remedy="push the base image anew, with all its platforms",
        ) from e


def _documents(
    store: ContentReader, descriptor: Descriptor, data: bytes, name: str
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    if descriptor.media_type not in MANIFEST_TYPES:
        raise ImageError(
            f"base image {name} has a manifest of type {descriptor.media_type}",
            remedy="only OCI images and Docker's schema 2 can be a base; copy it with `skopeo copy --format oci`",
        )
    label = f"the manifest of base image {name}"
    manifest = validate(parse_json(data, label), "manifest", label)
    # OCI manifests need not say what they are
    manifest["mediaType"] = descriptor.media_type
    config = Descriptor.from_dict(manifest["config"])
    try:
        config_data = read_blob(store, config)
    except NotFound as e:
        raise ImageError(f"base image {name} is damaged: its config {config.digest} is not there") from e
    label = f"the config of base image {name}"
    return manifest, validate(parse_json(config_data, label), "image-config", label)


def copy_layers(
    base: Base,
    source: BlobReader,
    target: BlobWriter,
    *,
    jobs: int = 4,
    reporter: Optional[Reporter] = None,
) -> TransferCounts:
    """Bring the layers of ``base`` into ``target``: nothing if they are there, mounted if possible, else streamed."""
    shown = reporter or Silent()
    mover = BlobMover(source, target, shown.moved)

    def bring(entry: Mapping[str, Any]) -> TransferCounts:
        descriptor = Descriptor.from_dict(entry)
        try:
            return bring_blob(entry, descriptor)
        finally:
            shown.finished(descriptor.digest)

    def bring_blob(entry: Mapping[str, Any], descriptor: Descriptor) -> TransferCounts:
        if is_foreign(descriptor.media_type) and entry.get("urls"):
            return TransferCounts(foreign=1)
        try:
            return TransferCounts.of(mover.move(descriptor), descriptor)
        except NotFound as e:
            raise ImageError(f"base image {base.name} is damaged: its layer {descriptor.digest} is not there") from e

    # a base may name the same (empty) layer several times
    entries = list({entry["digest"]: entry for entry in base.layers}.values())
    if not entries:
        return TransferCounts()
    shown.begin(Work(len(entries), "layers of the base image", sum(entry["size"] for entry in entries), "copied"))
    try:
        with DaemonPool(min(jobs, len(entries)), "base-layer") as pool:
            return sum(pool.map(bring, entries), TransferCounts())
    finally:
        shown.end()
