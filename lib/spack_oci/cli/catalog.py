# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci catalog`: a page that shows what a cache has."""

import argparse
from dataclasses import replace

from ..catalog.make import heading_for, make_catalog
from ..commandline.common import print_json
from .caches import open_cache, open_index, read_index, url_of
from .output import info, reporter


def catalog(args: argparse.Namespace) -> int:
    store = open_cache(args.mirror)
    heading = heading_for(url_of(args.mirror), args.title, args.url)
    index = read_index(args.mirror).index
    made = make_catalog(store, open_index(args.mirror), index, args.directory, heading, reporter())
    made = replace(made, mirror=url_of(args.mirror))  # of a bundle, not where it was unpacked
    if args.json:
        print_json(made.to_dict())
    else:
        for line in made.lines():
            info(line)
    return 1 if made.unreadable else 0
