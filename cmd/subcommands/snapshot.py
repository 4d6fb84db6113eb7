# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci snapshot` and `snapshots`"""

import argparse

from spack_oci.commandline.maintenance import add_snapshot, add_snapshots

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_snapshot(subparsers, PROGRAM).set_defaults(run=run_snapshot)
    add_snapshots(subparsers, PROGRAM, optional=True).set_defaults(run=list_snapshots)


def run_snapshot(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import snapshot as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    with messages_apart(args.json):
        mirror = find(args.mirror, mirrors.PUSH)
        if args.remove:
            command.remove(mirror, args.name)
            return 0
        made = command.make(mirror, args)
    if args.json:
        print_json(made.to_dict())
    else:
        command.print_made(mirror, made)
    return 0


def list_snapshots(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import snapshot as command
    from spack_oci.spack.commands.opened import find
    from spack_oci.spack.configuration import mirrors

    with messages_apart(args.json):
        mirror = find(args.mirror, mirrors.FETCH)
        found = command.find(mirror)
    if args.json:
        print_json({"snapshots": [one.to_dict() for one in found]})
    else:
        command.print_list(mirror.out, found)
    return 0
