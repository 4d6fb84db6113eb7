# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci prune`"""

import argparse

from spack_oci.commandline.maintenance import add_prune

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_prune(subparsers, PROGRAM, optional=True).set_defaults(run=prune)


def prune(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import prune as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    with messages_apart(args.json):
        request = command.plan(find(args.mirror, mirrors.PUSH), args)
        if args.dry_run:
            if not args.json:
                command.print_plan(request)
        else:
            result = command.execute(request, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1
