# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A small JSON document behind a tag: an artifact manifest with one layer (image-spec, guidelines for artifacts)."""

from typing import Any

from ..descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor, canonical_json, parse_json
from ..errors import InvalidContent
from ..util.schemas import validate
from .interfaces import ContentReader, ContentWriter, put_bytes, read_blob

#: bytes of a document
MAX_DOCUMENT_SIZE = 256 << 20


def write_json_artifact(store: ContentWriter, tag: str, media_type: str, document: Any) -> Descriptor:
    """Same document, same digest. Returns the descriptor of the manifest."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": media_type,
        "config": put_bytes(store, b"{}", OCI_EMPTY).to_dict(),
        "layers": [put_bytes(store, canonical_json(document), media_type).to_dict()],
    }
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)


def read_json_artifact(store: ContentReader, tag: str, media_type: str, schema: str) -> Any:
    """The document behind ``tag``, as ``config_schema/documents/SCHEMA.json`` describes it.

    Raises NotFound where there is no such tag, InvalidContent for anything else behind it.
    """
    label = f"{tag} of {store.url}"
    _, data = store.get_manifest(tag)
    manifest = validate(parse_json(data, label), "manifest", label)
    layers = [Descriptor.from_dict(layer) for layer in manifest["layers"]]
    if len(layers) != 1 or layers[0].media_type != media_type:
        raise InvalidContent(
            f"{label} is no {media_type}", remedy="a newer spack-oci, or somebody else, has written it"
        )
    return validate(parse_json(read_blob(store, layers[0], MAX_DOCUMENT_SIZE), label), schema, label)
