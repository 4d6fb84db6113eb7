# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The index against the tags, and what a layout has besides both."""

import time
from typing import List, Optional

from ...content import ContentReader
from ...index.condemned import left_out_of_index
from ...layout import LayoutStore
from ...layout.gc import old_temporaries
from ...util.sizes import format_size
from ...util.text import counted
from ..lifecycle.contents import Contents
from .findings import Finding, Kind

#: seconds; a writer that is alive does not work on one file for so long
TEMPORARY_AGE = 86400.0

UPDATE_INDEX = "`spack oci repair`, or `spack oci update-index`, puts it right"


def check_index(store: ContentReader, contents: Contents) -> List[Finding]:
    """No request, but for a plan of a prune where the index lacks something."""
    if contents.index is None:
        if not contents.packages:
            return []
        message = (
            f"{contents.url} has {counted(len(contents.packages), 'package')} and no index that can be used: there is "
            "none, it is damaged, or a Spack without this extension has written another"
        )
        return [Finding(Kind.INDEX_UNUSABLE, "", message, UPDATE_INDEX)]
    known = contents.index.tags.keys()
    unknown = contents.packages - known
    if unknown:
        unknown -= left_out_of_index(store)
    found = [Finding(Kind.NOT_INDEXED, tag, f"the index lacks {tag}", UPDATE_INDEX) for tag in sorted(unknown)]
    for tag in sorted(known - contents.packages):
        found.append(Finding(Kind.GONE, tag, f"the index names {tag}, which is gone", UPDATE_INDEX))
    return found


def check_temporaries(store: object, now: Optional[float] = None) -> List[Finding]:
    """Only a layout has such files."""
    if not isinstance(store, LayoutStore):
        return []
    before = (time.time() if now is None else now) - TEMPORARY_AGE
    left = old_temporaries(store, before)
    if not left:
        return []
    message = f"{counted(len(left), 'file')} ({format_size(sum(left.values()))}) of writers that were killed are left"
    return [Finding(Kind.TEMPORARY_FILES, "", message, "`spack oci repair` removes them")]
