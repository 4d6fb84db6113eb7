# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci copy`"""

import argparse

from spack_oci.commandline.maintenance import add_copy

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_copy(subparsers, PROGRAM).set_defaults(run=copy)


def copy(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import copy as command
    from spack_oci.spack.commands.opened import Mirrors

    with messages_apart(args.json), command.requested(Mirrors(), args) as request:
        if args.dry_run:
            if not args.json:
                command.print_plan(request)
        else:
            result = command.execute(request, args.jobs, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1
