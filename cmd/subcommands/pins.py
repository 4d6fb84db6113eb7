# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci pin`, `unpin` and `pins`"""

import argparse

from spack_oci.commandline.maintenance import add_pin, add_pins, add_unpin

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_pin(subparsers, PROGRAM).set_defaults(run=pin)
    add_unpin(subparsers, PROGRAM).set_defaults(run=unpin)
    add_pins(subparsers, PROGRAM, optional=True).set_defaults(run=list_pins)


def pin(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    command.add_pin(find(args.mirror, mirrors.PUSH), args)
    return 0


def unpin(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    command.remove_pin(find(args.mirror, mirrors.PUSH), args.name)
    return 0


def list_pins(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import pins as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    with messages_apart(args.json):
        mirror = find(args.mirror, mirrors.PUSH)
        found = command.find_pins(mirror)
    if args.json:
        print_json({"pins": [pin.to_dict() for pin in found]})
    else:
        command.print_pins(mirror.out, found)
    return 0
