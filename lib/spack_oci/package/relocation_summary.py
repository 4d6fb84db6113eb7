# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The relocation summary as annotations of a manifest: a reader knows before the download what will not fit."""

import re
from typing import Any, Dict, Mapping

#: annotation: program and version that pushed a package
PUSHER = "org.spack-oci.pusher"
#: annotation: with what a layer was compressed that is not compressed in the default way
LEVEL = "org.spack-oci.compression"
#: of the annotation of each member of :class:`spack_oci.archive.pack.RelocationSummary`; values are decimal numbers
_PREFIX = "org.spack-oci.relocation."
#: 18 digits always fit into what readers in other languages have for numbers
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


def annotations_of_summary(summary: Mapping[str, Any]) -> Dict[str, str]:
    return {_PREFIX + name.replace("_", "-"): str(value) for name, value in summary.items()}


def summary_of_annotations(annotations: Mapping[str, str]) -> Dict[str, int]:
    """The relocation summary that a manifest holds; empty for one of Spack's own. What is no number is left out."""
    return {
        name[len(_PREFIX) :].replace("-", "_"): int(value)
        for name, value in annotations.items()
        if name.startswith(_PREFIX) and _NUMBER.match(value)
    }
