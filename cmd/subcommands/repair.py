# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci repair`"""

import argparse

from spack_oci.commandline.maintenance import add_repair

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_repair(subparsers, PROGRAM, optional=True).set_defaults(run=repair)


def repair(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import repair as command
    from spack_oci.operations.check.findings import Level
    from spack_oci.spack.commands import repair as with_spack
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    result = remaining = None
    with messages_apart(args.json):
        opened = find(args.mirror, mirrors.PUSH)
        request = with_spack.plan(opened, Level[args.level.upper()])
        if not args.dry_run:
            result = with_spack.execute(opened, request)
            remaining = command.verify_again(request)
    if args.json:
        print_json(command.document(request, result, remaining))
    elif result is None:
        command.print_plan(request)
    else:
        command.print_result(request, result, remaining)
    if result is None:
        return 0
    return 0 if command.is_whole(result, remaining) else 1
