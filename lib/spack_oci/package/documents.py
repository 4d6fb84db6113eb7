# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Manifest and config of a package of the cache: the one place where they are read, and what is written of them.

A package is a manifest behind a tag; its config blob is also Spack's spec file, and its last layer is the tarball of
the prefix (docs/format.md). All others that read a package (install, index, catalog, images, a push that needs the
layers of what is there) take what they need from :class:`PackageDocuments`.
"""

import contextlib
import functools
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..content import ContentReader, read_blob
from ..descriptor import MANIFEST_TYPES, Descriptor, check_digest, parse_json
from ..errors import InvalidContent, InvalidReference, NotAPackage, NotFound
from ..util.schemas import validate
from .record import Layer, Package

#: bytes; a spec of 120 nodes has some 300 kB
MAX_CONFIG_SIZE = 64 << 20

#: the newest ``buildcache_layout_version`` known; Spack 1.0 and 1.1 write 3, all others 2 (Spack's get_valid_spec_file)
MAX_LAYOUT_VERSION = 3

_PUSH_AGAIN = "push it again with --force"


@dataclass(frozen=True)
class PackageDocuments:
    """What a tag says of its package."""

    #: of the store
    url: str
    tag: str
    dag_hash: str
    manifest: Descriptor
    config: Descriptor
    #: the tarball of the prefix
    layer: Layer
    #: those of the manifest
    annotations: Mapping[str, str]
    #: descriptors of all layers, as they stand in the manifest
    layer_documents: Sequence[Mapping[str, Any]] = field(repr=False)
    #: the whole config: ``{"spec": {...}, ...}``
    document: Mapping[str, Any] = field(repr=False)

    @functools.cached_property
    def layers(self) -> Tuple[Layer, ...]:
        """Base image's first, the package's own last. Most who read a package need no other than that. Raises
        NotAPackage."""
        with _not_a_package(f"{self.url}:{self.tag}"):
            descriptors = [Descriptor.from_dict(layer) for layer in self.layer_documents]
        return (*labelled_layers(descriptors, self.document)[:-1], self.layer)

    def layer_for_image(self) -> Layer:
        """The same, for an image that needs its diff ID. Raises NotAPackage if that is not known."""
        if not self.layer.diff_id:
            raise NotAPackage(f"{self.url}:{self.tag} does not name the diff ID of its layer", remedy=_PUSH_AGAIN)
        return self.layer


def read_package_documents(store: ContentReader, tag: str, *, expected_hash: Optional[str] = None) -> PackageDocuments:
    """The package behind ``tag``: two requests, manifest and config.

    Raises NotFound only if the store says that there is no such tag; NotAPackage for something else behind that tag,
    for another package than ``expected_hash``, for a layout version that is not known, and when the config is missing;
    DigestMismatch for content that is damaged; every other error of the store as it is.
    """
    label = f"{store.url}:{tag}"
    with _not_a_package(label):
        descriptor, manifest = _read_manifest(store, tag, label)
        config = Descriptor.from_dict(manifest["config"])
        layer = Descriptor.from_dict(manifest["layers"][-1])
        document = _read_config(store, config, label)
    diff_id, text = _told_of_layers(document, len(manifest["layers"]))[-1]
    return PackageDocuments(
        url=store.url,
        tag=tag,
        dag_hash=_check_package(document, label, expected_hash),
        manifest=descriptor,
        config=config,
        layer=Layer(layer.bare, _digest_or_nothing(diff_id), text),
        annotations={k: v for k, v in (manifest.get("annotations") or {}).items() if isinstance(v, str)},
        layer_documents=manifest["layers"],
        document=document,
    )


def read_layer_descriptor(store: ContentReader, tag: str) -> Descriptor:
    """Of the layer of the package behind ``tag``: one request. Raises as :func:`read_package_documents`."""
    label = f"{store.url}:{tag}"
    with _not_a_package(label):
        return Descriptor.from_dict(_read_manifest(store, tag, label)[1]["layers"][-1])


@contextlib.contextmanager
def _not_a_package(label: str) -> Iterator[None]:
    try:
        yield
    except InvalidContent as e:
        raise NotAPackage(f"{label} is not a package: {e.message}", remedy=e.remedy or _PUSH_AGAIN) from e


def _read_manifest(store: ContentReader, tag: str, label: str) -> Tuple[Descriptor, Dict[str, Any]]:
    descriptor, data = store.get_manifest(tag)
    if descriptor.media_type not in MANIFEST_TYPES:
        raise NotAPackage(f"{label} is no image manifest but {descriptor.media_type}")
    return descriptor, validate(parse_json(data, "its manifest"), "package-manifest", "its manifest")


def _read_config(store: ContentReader, config: Descriptor, label: str) -> Dict[str, Any]:
    try:
        data = read_blob(store, config, MAX_CONFIG_SIZE)
    except NotFound as e:
        raise NotAPackage(f"the config of {label} is missing", remedy=_PUSH_AGAIN) from e
    return validate(parse_json(data, "its config"), "package-config", "its config")


def _check_package(document: Mapping[str, Any], label: str, expected_hash: Optional[str]) -> str:
    """The DAG hash of the package that a config describes."""
    version = document.get("buildcache_layout_version", 0)
    if version > MAX_LAYOUT_VERSION:
        raise NotAPackage(
            f"{label} has the build cache layout version {version}; {MAX_LAYOUT_VERSION} is the newest one known",
            remedy="a newer Spack wrote it: update spack-oci, or push the package again",
        )
    root = document["spec"]["nodes"][0]
    dag_hash = root.get("hash") if isinstance(root, dict) else None
    if not isinstance(dag_hash, str):
        raise NotAPackage(f"{label} is no Spack package: the first node of its spec has no hash")
    if expected_hash is not None and dag_hash != expected_hash:
        raise NotAPackage(
            f"{label} is another package: {dag_hash}, not {expected_hash}",
            remedy="its tag was overwritten; push the package again with --force",
        )
    return dag_hash


def labelled_layers(descriptors: Sequence[Descriptor], document: Mapping[str, Any]) -> List[Layer]:
    """The layers of an image with what its config (``document``) tells of them. ``diff_id`` is empty where it tells
    none, ``label`` is what the history says that the layer is (``name@version/hash``, or the command that made it)."""
    told = _told_of_layers(document, len(descriptors))
    return [Layer(d.bare, _digest_or_nothing(diff_id), label) for d, (diff_id, label) in zip(descriptors, told)]


def _told_of_layers(document: Mapping[str, Any], count: int) -> List[Tuple[Any, str]]:
    """(diff ID, not checked, and label) of each of ``count`` layers. Of another number of them, nothing is told."""
    rootfs = document.get("rootfs") or {}
    diff_ids = rootfs.get("diff_ids") or ()
    history = [e for e in document.get("history") or () if isinstance(e, dict) and not e.get("empty_layer")]
    labels = [str(entry.get("comment") or entry.get("created_by") or "") for entry in history]
    return list(
        zip(
            diff_ids if len(diff_ids) == count else [""] * count,
            labels if len(labels) == count else [""] * count,
        )
    )


def _digest_or_nothing(value: Any) -> str:
    try:
        return check_digest(value)
    except InvalidReference:
        return ""


def spec_file_fields(package: Package, tarball: Descriptor, compression: str, created: str) -> Dict[str, Any]:
    """What makes a config a spec file for Spack's ``get_valid_spec_file`` and its download of a tarball.

    They stand at the top level of the config (image-spec, config.md: unknown fields are to be ignored).
    ``compression``: of the tarball, ``gzip`` or ``zstd``; ``created``: RFC 3339.
    """
    algorithm, _, encoded = tarball.digest.partition(":")
    return {
        **package.spec_document,
        "buildcache_layout_version": package.layout_version,
        "binary_cache_checksum": {"hash_algorithm": algorithm, "hash": encoded},
        "archive_size": tarball.size,
        "archive_timestamp": created,
        "archive_compression": compression,
    }
