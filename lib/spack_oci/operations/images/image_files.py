# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images as files: an OCI layout in a tar archive, and what `docker load` and `podman load` read."""

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Tuple

from ...archive import tar
from ...content import ContentReader, read_blob
from ...descriptor import INDEX_TYPES, Descriptor, canonical_json, parse_json
from ...errors import ConfigurationError, ImageError, InvalidReference
from ...util.files import atomic_write, storage_errors
from ...util.schemas import validate

_CHUNK = 1 << 20

#: kinds of export
LAYOUT = "oci"
OCI_ARCHIVE = "oci-archive"
DOCKER_ARCHIVE = "docker-archive"
FORMATS = (LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE)


@dataclass(frozen=True)
class Destination:
    """Where an image is written. ``tag``: of the image in it."""

    format: str
    path: str
    tag: Optional[str] = None


def parse_destination(text: str, format: Optional[str] = None) -> Destination:
    """``PATH[:TAG]``, ``oci:PATH[:TAG]``, ``oci-archive:...`` or ``docker-archive:...``, as skopeo writes them.

    Without a transport, a path that ends in ``.tar`` is an OCI archive, any other a layout directory. The path is made
    absolute. Raises InvalidReference.
    """
    transport, colon, rest = text.partition(":")
    if transport == "tag" or ("://" in text and not text.startswith("oci+file://")):
        raise InvalidReference(
            f"an image is not exported to {text}, but to a file or directory",
            remedy="`spack oci push --tag NAME MIRROR` puts it into a registry; for a path, write ./PATH",
        )
    if colon and transport in FORMATS:
        if format and format != transport:
            raise InvalidReference(f"{text} is no {format}", remedy="leave --format or the transport away")
        format, text = transport, rest
    elif text.startswith("oci+file://"):
        format, text = LAYOUT, text[len("oci+file://") :]
    path, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        path, tag = text, ""
    if not path:
        raise InvalidReference(f"no path to export to: {text!r}")
    chosen = format or (OCI_ARCHIVE if path.endswith(".tar") else LAYOUT)
    if chosen not in FORMATS:
        raise ConfigurationError(f"no such format: {chosen}", remedy=f"choose one of {', '.join(FORMATS)}")
    return Destination(chosen, os.path.abspath(path), tag or None)


def write_layout_archive(layout: str, path: str) -> None:
    """The OCI layout directory ``layout`` as a tar file, reproducible, complete or not there. Raises StorageError."""
    names = sorted(_layout_files(layout), key=lambda name: (not name.endswith("oci-layout"), name))

    def members() -> Iterator[Tuple[str, int, BinaryIO]]:
        for name in names:
            file = os.path.join(layout, name)
            with open(file, "rb") as f:
                yield name, os.path.getsize(file), f

    _write_tar(path, members())


def _layout_files(layout: str) -> List[str]:
    """What image-layout.md defines, without what stores keep for themselves (locks, temporary files)."""
    blobs = [
        os.path.relpath(os.path.join(directory, name), layout)
        for directory, _, names in os.walk(os.path.join(layout, "blobs"))
        for name in names
    ]
    return ["oci-layout", "index.json", *blobs]


def write_docker_archive(store: ContentReader, reference: str, names: List[str], path: str) -> None:
    """The image ``reference`` of ``store`` for ``docker load``. ``names``: ``REPOSITORY:TAG`` that it gets there.

    Layers stay compressed. Raises :class:`ImageError` for an image index, StorageError.
    """
    descriptor, data = store.get_manifest(reference)
    if descriptor.media_type in INDEX_TYPES:
        raise ImageError(f"{store.url}:{reference} is an image index", remedy="a Docker archive holds one platform")
    label = f"{store.url}:{reference}"
    manifest = validate(parse_json(data, label), "manifest", label)
    config = Descriptor.from_dict(manifest["config"])
    layers = [Descriptor.from_dict(layer) for layer in manifest["layers"]]
    config_name = config.digest.partition(":")[2] + ".json"
    document: Dict[str, Any] = {
        "Config": config_name,
        "RepoTags": names,
        "Layers": [_docker_layer_name(layer) for layer in layers],
    }

    def members() -> Iterator[Tuple[str, int, Any]]:
        for layer in {layer.digest: layer for layer in layers}.values():
            with store.open_blob(layer) as reader:
                yield _docker_layer_name(layer), layer.size, reader
        yield from _documents({config_name: read_blob(store, config), "manifest.json": canonical_json([document])})

    _write_tar(path, members())


def _docker_layer_name(layer: Descriptor) -> str:
    return layer.digest.partition(":")[2] + "/layer.tar"


def _documents(documents: Dict[str, bytes]) -> Iterator[Tuple[str, int, Any]]:
    for name, data in documents.items():
        yield name, len(data), io.BytesIO(data)


def _write_tar(path: str, members: Iterator[Tuple[str, int, Any]]) -> None:
    with storage_errors(f"writing {path}"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with atomic_write(os.path.realpath(path)) as out:  # a link stays one
            written = 0
            directories = set()
            for name, size, content in members:
                directory = os.path.dirname(name)
                if directory and directory not in directories:
                    directories.add(directory)
                    written += out.write(tar.header(directory.encode(), tar.DIRECTORY, 0o755))
                written += out.write(tar.header(name.encode(), tar.REGULAR, 0o644, size))
                while True:
                    chunk = content.read(_CHUNK)
                    if not chunk:
                        break
                    written += out.write(chunk)
                written += out.write(tar.padding(size))
            out.write(tar.end_of_archive(written))
