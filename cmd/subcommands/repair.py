# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci repair`"""

import argparse

from spack_oci.commandline.maintenance import add_repair

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_repair(subparsers, PROGRAM, optional=True).set_defaults(run=repair)


def repair(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import repair as command
    from spack_oci.spack.commands.repair import to_repair

    return command.run(lambda: to_repair(args.mirror), args)
