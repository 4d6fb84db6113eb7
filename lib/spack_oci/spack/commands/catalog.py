# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci catalog`: a page that shows what a mirror has."""

from typing import Optional

import spack.llnl.util.tty as tty

from ...catalog.make import Made, heading_for, make_catalog
from ..configuration import mirror_arguments, mirrors
from ..output import reporter
from .list import indexes


def catalog(mirror_name: str, directory: str, title: Optional[str], url: Optional[str], quiet: bool) -> Made:
    mirror, _ = mirror_arguments.find(mirror_name, mirrors.FETCH)
    store = mirrors.open_store(mirror, mirrors.FETCH)
    heading = heading_for(store.url, title, url)
    ((_, cached),) = indexes([mirror])
    index_store = mirrors.open_index_store(mirror, mirrors.FETCH)
    made = make_catalog(store, index_store, cached.index, directory, heading, reporter())
    if not quiet:
        for line in made.lines():
            tty.msg(line)
    return made
