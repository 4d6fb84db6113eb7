# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci update-index`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "update-index",
        aliases=["rebuild-index"],
        help="make the index of a mirror say what the mirror has",
        description="Read the packages that the index of a mirror does not know yet, or that were pushed again, drop "
        "those that are gone, and write the index that `spack install` and the concretizer read. To notice what was "
        "pushed again costs a registry one HEAD request for each package (a directory none); --new-only saves them.",
        **examples("spack oci update-index mymirror", "spack oci update-index --full oci://ghcr.io/org/cache"),
    )
    parser.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true", help="read every package again, also those the index knows")
    extent.add_argument(
        "--new-only", action="store_true", help="do not look whether packages that the index knows were pushed again"
    )
    parser.add_argument("--create", action="store_true", help="make an index also where there are no packages yet")
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
        update = indexes.update(mirror, full=args.full, compare_digests=not args.new_only, create=args.create)
    if args.json:
        print_json(indexes.update_document(update))
    else:
        indexes.print_update(mirror, update)
    return 1 if args.strict and (update.unreadable or update.kept) else 0
