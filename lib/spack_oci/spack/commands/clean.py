# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `spack oci clean` removes: the blob cache, and the short names of packages that are gone."""

import argparse
import os

import spack.llnl.util.tty as tty
import spack.store

from ...maintenance import clean
from ...relocate.aliases import ALIAS_DIRECTORY
from ..configuration import settings


def run(args: argparse.Namespace) -> int:
    options = settings.read()
    aliases = options.alias_root or os.path.join(str(spack.store.STORE.root), ALIAS_DIRECTORY)
    return clean.run(tty, settings.blob_cache(options), aliases, args)
