# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci du`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "du",
        help="show where the bytes of a mirror are",
        description="Show how much a mirror stores: by package or by version, in layers of base images that packages "
        "share, in images, and in old builds: packages that are neither of the newest version of their name nor needed "
        "to run one. Each layer is counted once, compressed.",
        **examples(
            "spack oci du mymirror",
            "spack oci du --by version --top 50 mymirror",
            "spack oci du --quick mymirror      # from the index alone: a few requests",
            "spack oci du --json mymirror",
        ),
    )
    parser.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    parser.add_argument("--by", choices=("package", "version"), default="package", help="rows (default: package)")
    parser.add_argument("--top", metavar="N", type=int, default=20, help="the N largest; 0: all (default: 20)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="believe the index, and read no manifests (one request for each package): packages' own layers alone",
    )
    add_json(parser)
    parser.set_defaults(run=du)


def du(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack import mirror_arguments, mirrors
    from spack_oci.spack.commands import du as command

    with messages_apart(args.json):
        mirror, note = mirror_arguments.find(args.mirror, mirrors.FETCH)
        if note:
            tty.info(note)
        found = command.usage(mirror, not args.quick)
    if args.json:
        print_json(found.to_dict())
    else:
        command.print_usage(found, args.by, args.top)
    return 0
