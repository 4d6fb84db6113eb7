# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci update-index``"""

import argparse
from typing import Tuple

import spack.llnl.util.tty as tty

from ...index.update.loop import IndexUpdate
from ...maintenance import update_index
from .. import indexes
from ..configuration import mirror_arguments, mirrors


def run(args: argparse.Namespace) -> int:
    def update() -> Tuple[str, IndexUpdate]:
        mirror, note = mirror_arguments.find(args.mirror, mirrors.PUSH)
        if note:
            tty.info(note)
        done = indexes.update(mirror, full=args.full, compare_digests=not args.new_only, create=args.create)
        return mirror.push_url, done

    return update_index.run(tty, update, args)
