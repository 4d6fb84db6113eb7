# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci snapshot` and `snapshots`"""

import argparse

from spack_oci.commandline.maintenance import add_snapshot, add_snapshots

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_snapshot(subparsers, PROGRAM).set_defaults(run=run_snapshot)
    add_snapshots(subparsers, PROGRAM, optional=True).set_defaults(run=list_snapshots)


def run_snapshot(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import snapshot as command
    from spack_oci.spack.commands.opened import to_change

    return command.run(to_change(args.mirror), args)


def list_snapshots(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import snapshot as command
    from spack_oci.spack.commands.opened import to_read

    return command.run_list(to_read(args.mirror), args)
