# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci verify`"""

import argparse

from spack_oci.commandline.maintenance import add_verify

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_verify(subparsers, PROGRAM, optional=True).set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import verify as command
    from spack_oci.operations.check.findings import Level
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.commands.sign import tags_of
    from spack_oci.spack.configuration import mirror_arguments, mirrors

    with messages_apart(args.json):
        mirror_name, constraints = mirror_arguments.split(args.arguments, "verify")
        opened = find(mirror_name, mirrors.FETCH)
        policy = command.policy_for(opened, args.key)
        tags = tags_of(opened.mirror, constraints) if constraints else None
        found = command.verify(opened, policy, Level[args.level.upper()], tags=tags, sample=args.sample)
    if args.json:
        print_json(command.document(policy, found))
    else:
        command.print_verification(opened.out, policy, found)
    return 1 if found.findings else 0
