# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci du`"""

import argparse

from spack_oci.commandline.maintenance import add_du

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_du(subparsers, PROGRAM, optional=True).set_defaults(run=du)


def du(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import du as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    with messages_apart(args.json):
        mirror = find(args.mirror, mirrors.FETCH)
        found = command.usage(mirror, not args.quick)
    if args.json:
        print_json(found.to_dict())
    else:
        command.print_usage(mirror, found, args.by, args.top)
    return 0
