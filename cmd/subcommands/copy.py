# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci copy`"""

import argparse

from spack_oci.commandline.maintenance import add_copy

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_copy(subparsers, PROGRAM).set_defaults(run=copy)


def copy(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import copy as command
    from spack_oci.spack.commands.opened import Mirrors

    return command.run(Mirrors(), args)
