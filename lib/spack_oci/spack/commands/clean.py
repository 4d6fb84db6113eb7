# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci clean` removes: the blob cache, and the short names of packages that are gone."""

import os
from dataclasses import dataclass
from typing import Any, Dict, Sequence

import spack.store

from ...relocate.aliases import ALIAS_DIRECTORY, prune_aliases
from ...util.sizes import format_size
from ...util.text import counted
from ..configuration import settings


@dataclass(frozen=True)
class Cleaned:
    """What was removed: ``blobs`` of ``bytes`` in all, and ``aliases``, absolute paths."""

    blobs: int
    bytes: int
    aliases: Sequence[str]

    def line(self) -> str:
        text = f"Removed {counted(self.blobs, 'cached blob')} ({format_size(self.bytes)})"
        return text + (f" and {counted(len(self.aliases), 'short name')} of packages" if self.aliases else "")

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {"blobs": self.blobs, "bytes": self.bytes, "aliases": list(self.aliases)}


def clean() -> Cleaned:
    """Raises StorageError when something may not be removed."""
    options = settings.read()
    blobs, count = settings.blob_cache(options).clean()
    aliases = options.alias_root or os.path.join(str(spack.store.STORE.root), ALIAS_DIRECTORY)
    return Cleaned(blobs, count, prune_aliases(aliases))
