# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci du`"""

import argparse

from spack_oci.commandline.maintenance import add_du

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_du(subparsers, PROGRAM, optional=True).set_defaults(run=du)


def du(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import du as command
    from spack_oci.spack.commands.opened import to_read

    return command.run(to_read(args.mirror), args)
