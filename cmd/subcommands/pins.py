# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci pin`, `unpin` and `pins`"""

import argparse

from spack_oci.commandline.maintenance import add_pin, add_pins, add_unpin

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_pin(subparsers, PROGRAM).set_defaults(run=pin)
    add_unpin(subparsers, PROGRAM).set_defaults(run=unpin)
    add_pins(subparsers, PROGRAM, optional=True).set_defaults(run=list_pins)


def pin(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import to_change

    return command.run_pin(to_change(args.mirror), args)


def unpin(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import to_change

    return command.run_unpin(to_change(args.mirror), args)


def list_pins(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import to_change

    return command.run_list(to_change(args.mirror), args)
