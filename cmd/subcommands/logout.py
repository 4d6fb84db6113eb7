# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci logout`"""

import argparse

from spack_oci.commandline.definitions import add_logout

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_logout(subparsers, PROGRAM).set_defaults(run=logout)


def logout(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import login as logins

    return logins.log_out(args.registry, args.json)
