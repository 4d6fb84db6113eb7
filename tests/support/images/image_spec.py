# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""JSON Schemas of OCI documents, written after the text of image-spec v1.1 (manifest.md, config.md, image-index.md).

``check_manifest(document)``, ``check_config(document)`` and ``check_index(document)`` raise
``jsonschema.ValidationError``. Stricter than the specification in one point: our manifests state their media type.
"""

from typing import Any, Dict

import jsonschema

_DIGEST = {"type": "string", "pattern": r"^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$"}
_MEDIA_TYPE = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$",
}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_SET = {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}}
#: RFC 3339, section 5.6
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
_STRING_LIST = {"type": ["array", "null"], "items": {"type": "string"}}

_PLATFORM = {
    "type": "object",
    "required": ["architecture", "os"],
    "properties": {
        "architecture": {"type": "string", "minLength": 1},
        "os": {"type": "string", "minLength": 1},
        "os.version": {"type": "string"},
        "os.features": {"type": "array", "items": {"type": "string"}},
        "variant": {"type": "string"},
    },
}
_DESCRIPTOR: Dict[str, Any] = {
    "type": "object",
    "required": ["mediaType", "digest", "size"],
    "properties": {
        "mediaType": _MEDIA_TYPE,
        "digest": _DIGEST,
        "size": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "urls": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "annotations": _STRINGS,
        "data": {"type": "string"},
        "artifactType": _MEDIA_TYPE,
        "platform": _PLATFORM,
    },
}

MANIFEST = {
    "type": "object",
    "required": ["schemaVersion", "mediaType", "config", "layers"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.manifest.v1+json"},
        "artifactType": _MEDIA_TYPE,
        "config": _DESCRIPTOR,
        "layers": {"type": "array", "minItems": 1, "items": _DESCRIPTOR},
        "subject": _DESCRIPTOR,
        "annotations": _STRINGS,
    },
}
INDEX = {
    "type": "object",
    "required": ["schemaVersion", "mediaType", "manifests"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.index.v1+json"},
        "artifactType": _MEDIA_TYPE,
        "manifests": {"type": "array", "items": _DESCRIPTOR},
        "subject": _DESCRIPTOR,
        "annotations": _STRINGS,
    },
}
CONFIG = {
    "type": "object",
    "required": ["architecture", "os", "rootfs"],
    "properties": {
        "created": _TIME,
        "author": {"type": "string"},
        "architecture": {"type": "string", "minLength": 1},
        "variant": {"type": "string"},
        "os": {"type": "string", "minLength": 1},
        "os.version": {"type": "string"},
        "os.features": {"type": "array", "items": {"type": "string"}},
        "config": {
            "type": "object",
            "properties": {
                "User": {"type": "string"},
                "ExposedPorts": {**_SET, "propertyNames": {"pattern": r"^\d+(/(tcp|udp))?$"}},
                "Env": {"type": ["array", "null"], "items": {"type": "string", "pattern": r"^[^=]+=.*"}},
                "Entrypoint": _STRING_LIST,
                "Cmd": _STRING_LIST,
                "Volumes": _SET,
                "WorkingDir": {"type": "string"},
                "Labels": {**_STRINGS, "type": ["object", "null"]},
                "StopSignal": {"type": "string"},
            },
        },
        "rootfs": {
            "type": "object",
            "required": ["type", "diff_ids"],
            "properties": {"type": {"const": "layers"}, "diff_ids": {"type": "array", "items": _DIGEST}},
        },
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "created": _TIME,
                    "author": {"type": "string"},
                    "created_by": {"type": "string"},
                    "comment": {"type": "string"},
                    "empty_layer": {"type": "boolean"},
                },
            },
        },
    },
}


def check_manifest(document: Any) -> None:
    jsonschema.Draft202012Validator(MANIFEST).validate(document)


def check_index(document: Any) -> None:
    jsonschema.Draft202012Validator(INDEX).validate(document)


def check_config(document: Any) -> None:
    jsonschema.Draft202012Validator(CONFIG).validate(document)


def check_history(config: Any) -> None:
    """Entries that are not ``empty_layer`` and layers must correspond (config.md, "history")."""
    entries = [entry for entry in config.get("history", []) if not entry.get("empty_layer")]
    assert len(entries) == len(config["rootfs"]["diff_ids"])


def check_one_vocabulary(manifest: Any) -> None:
    """Docker's media types or OCI's, not both: Apptainer refuses a mixture."""
    types = [manifest["mediaType"], manifest["config"]["mediaType"], *(x["mediaType"] for x in manifest["layers"])]
    assert len({"docker" in media_type for media_type in types}) == 1, types
