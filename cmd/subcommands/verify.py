# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci verify`"""

import argparse

from spack_oci.commandline.maintenance import add_verify

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_verify(subparsers, PROGRAM, optional=True).set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import verify as command
    from spack_oci.spack.commands.sign import packages_to_verify

    return command.run(lambda: packages_to_verify(args.arguments), args)
