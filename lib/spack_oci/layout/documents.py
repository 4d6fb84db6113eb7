# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a layout has to know of the manifests in it. Anybody may have written them.

Checked by hand and not by a schema: a push stores thousands of them.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ..descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor, check_digest, is_string_map, parse_json
from ..errors import InvalidContent, InvalidReference


class Children(NamedTuple):
    """What a manifest or an index refers to, besides its subject. Foreign layers (``urls``) may be elsewhere."""

    manifests: List[Descriptor]
    #: config and layers
    blobs: List[Descriptor]
    #: digests of those that have ``urls``
    foreign: List[str]


def children_of(document: Mapping[str, Any], label: str) -> Children:
    """Raises InvalidContent that names ``label``."""
    manifests, layers, config = (document.get(key) or [] for key in ("manifests", "layers", "config"))
    if not isinstance(manifests, list) or not isinstance(layers, list) or not isinstance(config, (dict, list)):
        raise InvalidContent(f"{label} has manifests, layers or a config that are none")
    blobs = [*layers, config] if config else layers
    try:
        return Children(
            [Descriptor.from_dict(entry) for entry in manifests],
            [Descriptor.from_dict(entry) for entry in blobs],
            [entry["digest"] for entry in (*manifests, *blobs) if entry.get("urls")],
        )
    except (InvalidContent, AttributeError) as e:
        raise InvalidContent(f"{label} refers to something that is no descriptor: {e}") from e


def subject_of(data: bytes, label: str) -> Optional[str]:
    """The digest that a manifest refers to as its subject; None if it has none that can be understood."""
    subject = parse_json(data, label).get("subject")
    try:
        return check_digest(subject["digest"]) if isinstance(subject, dict) else None
    except (KeyError, InvalidReference):
        return None


def referrer(descriptor: Descriptor, data: bytes) -> Descriptor:
    """``descriptor``, of the manifest ``data``, as the referrers API lists it: with artifact type and annotations."""
    document = parse_json(data, descriptor.digest)
    found = document.get("annotations")
    annotations: Mapping[str, str] = found if found is not None and is_string_map(found) else {}
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations,
        artifact_type=artifact_type(document),
    )


def artifact_type(document: Mapping[str, Any]) -> Optional[str]:
    """Of a manifest (distribution-spec, listing referrers): its own, else the media type of its config."""
    own, config = document.get("artifactType"), document.get("config")
    if isinstance(own, str) and own:
        return own
    if document.get("subject") and isinstance(config, dict) and isinstance(config.get("mediaType"), str):
        return str(config["mediaType"])
    return None


def implied_type(document: Dict[str, Any]) -> Optional[str]:
    """image-spec lets a manifest leave its mediaType away."""
    if document.get("schemaVersion") != 2:
        return None
    if "manifests" in document:
        return OCI_INDEX
    return OCI_MANIFEST if "layers" in document else None
