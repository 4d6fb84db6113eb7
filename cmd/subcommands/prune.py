# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci prune`"""

import argparse

from spack_oci.commandline.maintenance import add_prune

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_prune(subparsers, PROGRAM, optional=True).set_defaults(run=prune)


def prune(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import prune as command
    from spack_oci.spack.commands.opened import to_change

    return command.run(to_change(args.mirror), args)
