# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci sign`"""

import argparse

from spack_oci.commandline.trust import add_sign

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_sign(subparsers, PROGRAM, optional=True).set_defaults(run=sign)


def sign(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import sign as command
    from spack_oci.spack.commands.sign import packages_to_sign
    from spack_oci.spack.configuration import trust

    return command.run(lambda: packages_to_sign(args.arguments), trust.required_signer, args)
