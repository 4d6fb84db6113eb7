# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`"""

import argparse

from spack_oci.commandline.definitions import add_show

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = add_show(subparsers, PROGRAM, optional=True)
    parser.add_argument("--sbom", action="store_true", help="print the software bill of materials (SPDX) that it has")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import show as command
    from spack_oci.spack.configuration import mirror_arguments

    mirror_name, words = mirror_arguments.split_tag(args.arguments, "show")
    return command.show(mirror_name, " ".join(words), args.json, args.sbom)
