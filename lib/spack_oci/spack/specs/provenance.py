# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What recipes say of where packages come from, as images carry it: licenses, and the source code."""

from typing import Dict, Sequence

import spack.spec

from ...package.provenance import is_text, without_credentials
from .environments import SPACK_LOCK


def provenance(specs: Sequence["spack.spec.Spec"]) -> Dict[str, str]:
    """``licenses``: an SPDX expression; ``source``: a URL, of a single spec only. Empty where the recipes say nothing.

    Loads the classes of ``specs``, which for hundreds takes longer than it takes to push them; for those whose run
    environment was computed, it is done already. Safe to call in threads.
    """
    with SPACK_LOCK:
        return {"licenses": licenses_of(specs), "source": _source(specs[0]) if len(specs) == 1 else ""}


def licenses_of(specs: Sequence["spack.spec.Spec"]) -> str:
    """An SPDX expression, as the recipes have it; empty where they say nothing. Hold SPACK_LOCK."""
    found = set()
    for spec in specs:
        for condition, licenses in getattr(spec.package, "licenses", {}).items():
            if is_text(licenses) and spec.satisfies(condition):
                found.add(licenses)
    return " AND ".join(f"({one})" if " OR " in one and len(found) > 1 else one for one in sorted(found))


def _source(spec: "spack.spec.Spec") -> str:
    values = (getattr(spec.package, key, None) for key in ("git", "homepage", "url"))
    return next(filter(None, map(without_credentials, values)), "")
