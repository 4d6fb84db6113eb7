# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that travel with the package: found in the wheel, and in a checkout (``pip install -e``)."""

import json
import os
from typing import Any, Dict, Mapping

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = os.path.dirname(os.path.dirname(_PACKAGE))

#: name of our section of a configuration, and of its schema
SECTION = "oci"


def _first_existing(*candidates: str) -> str:
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    raise FileNotFoundError(f"spack-oci is not installed completely: {candidates[0]} is missing")


def extension_directory() -> str:
    """The directory that Spack takes as ``config:extensions`` entry."""
    return _first_existing(
        os.path.join(_PACKAGE, "_extension", "spack-oci"), os.path.join(_CHECKOUT, "extension", "spack-oci")
    )


def completion_file(shell: str) -> str:
    """The path of the completion script for bash, zsh or fish."""
    file = f"spack-oci.{shell}"
    return _first_existing(
        os.path.join(_PACKAGE, "_completion", file), os.path.join(_CHECKOUT, "share", "completion", file)
    )


def read_schema(name: str) -> Dict[str, Any]:
    """A JSON Schema of ``config_schema/``, e.g. ``"oci"``."""
    file = f"{name}.json"
    path = _first_existing(os.path.join(_PACKAGE, "_schema", file), os.path.join(_CHECKOUT, "config_schema", file))
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def defaults_of(schema: Mapping[str, Any]) -> Dict[str, Any]:
    """The nested dictionary of the ``default`` values in an object schema."""
    result: Dict[str, Any] = {}
    for key, child in schema.get("properties", {}).items():
        nested = defaults_of(child) if "properties" in child else child.get("default")
        if nested is not None:
            result[key] = nested
    return result
