# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci list`"""

import argparse

from spack.cmd.common import arguments
from spack_oci.commandline.definitions import add_list_options

from .common import DEFAULT_MIRROR_HELP, allow_options_anywhere, examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "list",
        help="list the packages of a mirror",
        description="List the packages that a mirror's index names, as `spack find` lists installed ones.",
        **examples(
            "spack oci list",
            "spack oci list mymirror --long hdf5+mpi",
            "spack oci list oci://ghcr.io/org/cache --allarch --json",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],
        metavar="[MIRROR] [SPEC ...]",
        help=f"{DEFAULT_MIRROR_HELP}. Then constraints",
    )
    arguments.add_common_arguments(parser, ["long", "very_long", "namespaces"])
    add_list_options(parser)
    parser.add_argument("--tags", action="store_true", help="show packages as HOST/NAME:TAG, for container tools")
    parser.add_argument(
        "--images", action="store_true", help="list the images besides packages, such as those of `push --tag`"
    )
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=list_packages)


def list_packages(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import list as command
    from spack_oci.spack.configuration import mirror_arguments

    mirror_name, constraints = mirror_arguments.split(args.arguments, "list")
    if args.images:
        return command.list_images(mirror_name, args.json)
    return command.list_packages(mirror_name, constraints, args)
