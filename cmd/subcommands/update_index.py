# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci update-index`"""

import argparse

from spack_oci.commandline.definitions import add_update_index

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_update_index(subparsers, PROGRAM, optional=True).set_defaults(run=update_index)


def update_index(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import update_index

    return update_index.run(args)
