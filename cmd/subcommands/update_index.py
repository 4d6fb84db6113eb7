# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci update-index`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "update-index",
        aliases=["rebuild-index"],
        help="make the index of a mirror say what the mirror has",
        description="Read the packages that the index of a mirror does not know yet, drop those that are gone, "
        "and write the index that `spack install` and the concretizer read.",
        **examples("spack oci update-index mymirror", "spack oci update-index --full oci://ghcr.io/org/cache"),
    )
    parser.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    parser.add_argument("--full", action="store_true", help="read every package again, also those the index knows")
    parser.add_argument("--strict", action="store_true", help="exit with an error if a package could not be read")
    add_json(parser)
    parser.set_defaults(run=update_index)


def update_index(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack import indexes, mirror_arguments, mirrors

    with messages_apart(args.json):
        mirror, note = mirror_arguments.find(args.mirror, mirrors.PUSH)
        if note:
            tty.info(note)
        update = indexes.update(mirror, full=args.full)
    if args.json:
        print_json(indexes.update_document(update))
    else:
        indexes.print_update(mirror, update)
    return 1 if args.strict and update.unreadable else 0
