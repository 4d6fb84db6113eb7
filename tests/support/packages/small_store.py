# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A store of packages that no compiler made: a file with the prefix in it, and the files that Spack leaves."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Sequence

from spack_oci.store.store import Store
from support.packages.cache_builder import document


def small_store(root: Path, nodes: Sequence[Dict[str, Any]]) -> Path:
    """``nodes``: each before those that it depends on; the first is what a user has asked for."""
    store = Store.open_or_create(str(root))
    store.prepare()
    by_hash = {n["hash"]: n for n in nodes}
    prefixes = {h: store.layout.prefix_of(n) for h, n in by_hash.items()}
    with store.database.transaction() as records:
        for position, package in reversed(list(enumerate(nodes))):
            prefix = prefixes[package["hash"]]
            os.makedirs(os.path.join(prefix, ".spack"))
            with open(os.path.join(prefix, "where.txt"), "w") as f:
                f.write(f"{prefix}\n")
            with open(os.path.join(prefix, ".spack", "spec.json"), "w") as f:
                json.dump(document(nodes[position:]), f)
            records.add(by_hash, package["hash"], prefixes)
        records.mark_explicit(nodes[0]["hash"])
    return root
