# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci login`"""

import argparse

from spack_oci.commandline.definitions import add_login

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_login(subparsers, PROGRAM).set_defaults(run=login)


def login(args: argparse.Namespace) -> int:
    from spack_oci.configuration.secrets import read_secret
    from spack_oci.spack.commands import login as logins

    username, secret = read_secret(args, logins.shown(args.registry))
    return logins.log_in(args.registry, username, secret, args.identity_token, args.json)
