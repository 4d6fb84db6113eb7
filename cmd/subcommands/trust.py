# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci trust`"""

import argparse

from spack_oci.commandline.trust import add_trust

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    actions = add_trust(subparsers, PROGRAM, optional=True)
    actions["show"].set_defaults(run=show)
    actions["accept-older"].set_defaults(run=accept_older)


def show(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.commands import trust as command

    return keys.run_policies(command.policies(), args)


def accept_older(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import trust as command

    command.accept_older(args.mirror, args.json)
    return 0
