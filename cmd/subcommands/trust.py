# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci trust`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "trust",
        help="show the policies of mirrors; accept an index that is older than one seen before",
        description="What oci:trust asks of the mirrors, and what this machine remembers of their signed indexes.",
        **examples("spack oci trust show", "spack oci trust accept-older mymirror   # its registry was restored"),
    )
    actions = parser.add_subparsers(dest="trust_command", metavar="ACTION")
    actions.required = True

    shown = actions.add_parser("show", help="show the policy of each mirror")
    add_json(shown)
    shown.set_defaults(run=show)

    accepted = actions.add_parser(
        "accept-older", help="forget which index of a mirror was the newest, and take the one that is there now"
    )
    accepted.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    accepted.set_defaults(run=accept_older)


def show(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import trust as command

    found = command.policies()
    if args.json:
        print_json({"mirrors": found})
    else:
        for line in command.lines(found):
            print(line)
    return 1 if any("error" in one for one in found) else 0


def accept_older(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import trust as command

    command.accept_older(args.mirror)
    return 0
