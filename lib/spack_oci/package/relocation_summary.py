# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Relocation facts as annotations of a manifest, so that a reader knows before the download what will not fit."""

from typing import Any, Dict, Mapping

#: annotation: program and version that pushed a package
PUSHER = "org.spack-oci.pusher"
#: annotation of each fact of :class:`spack_oci.archive.pack.RelocationSummary`; values are decimal numbers
_PREFIX = "org.spack-oci.relocation."


def facts_annotations(facts: Mapping[str, Any]) -> Dict[str, str]:
    return {_PREFIX + name.replace("_", "-"): str(value) for name, value in facts.items()}


def facts_from_annotations(annotations: Mapping[str, str]) -> Dict[str, int]:
    """The facts that a manifest tells; empty for one of Spack's own."""
    return {
        name[len(_PREFIX) :].replace("-", "_"): int(value)
        for name, value in annotations.items()
        if name.startswith(_PREFIX) and value.isdigit()
    }
