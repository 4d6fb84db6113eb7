# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci trust`"""

import argparse

from spack_oci.commandline.trust import add_trust

from .common import PROGRAM, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    actions = add_trust(subparsers, PROGRAM, optional=True)
    actions["show"].set_defaults(run=show)
    actions["accept-older"].set_defaults(run=accept_older)


def show(args: argparse.Namespace) -> int:
    from spack_oci.maintenance.keys import policy_lines
    from spack_oci.spack.commands import trust as command

    found = command.policies()
    if args.json:
        print_json({"mirrors": found})
    else:
        for line in policy_lines(found):
            print(line)
    return 1 if any("error" in one for one in found) else 0


def accept_older(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import trust as command

    command.accept_older(args.mirror)
    return 0
