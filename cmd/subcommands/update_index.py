# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci update-index`"""

import argparse

from spack_oci.commandline.definitions import add_update_index

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_update_index(subparsers, PROGRAM, optional=True).set_defaults(run=update_index)


def update_index(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack import indexes
    from spack_oci.spack.configuration import mirror_arguments, mirrors

    with messages_apart(args.json):
        mirror, note = mirror_arguments.find(args.mirror, mirrors.PUSH)
        if note:
            tty.info(note)
        update = indexes.update(mirror, full=args.full, compare_digests=not args.new_only, create=args.create)
    if args.json:
        print_json({"mirror": mirror.push_url, **indexes.update_document(update)})
    else:
        indexes.print_update(mirror, update)
    return 1 if args.strict and (update.unreadable or update.kept) else 0
