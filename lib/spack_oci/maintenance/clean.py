# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``clean``: remove what is kept on this machine: cached blobs, and the short names of packages that are gone."""

import argparse
from typing import TYPE_CHECKING, Optional

from ..content.blob_cache import BlobCache
from ..relocate.aliases import prune_aliases
from ..util.documents import print_json
from ..util.sizes import format_size
from ..util.text import counted

if TYPE_CHECKING:
    from .cache import Output


def run(out: "Output", cache: BlobCache, aliases: Optional[str], args: argparse.Namespace) -> int:
    """``aliases``: directory of the short names; None: there are none. Raises StorageError when something may not be
    removed."""
    blobs, size = cache.clean()
    removed = prune_aliases(aliases) if aliases is not None else ()
    if args.json:
        print_json({"blobs": blobs, "bytes": size, "aliases": list(removed)})
    else:
        text = f"Removed {counted(blobs, 'cached blob')} ({format_size(size)})"
        out.info(text + (f" and {counted(len(removed), 'short name')} of packages" if removed else ""))
    return 0
