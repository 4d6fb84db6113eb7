# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci login`"""

import argparse

from spack_oci.commandline.definitions import add_login

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_login(subparsers, PROGRAM).set_defaults(run=login)


def login(args: argparse.Namespace) -> int:
    import getpass
    import sys

    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import login as logins

    place = logins.shown(args.registry)
    username = args.username or ""
    if args.password_stdin:
        if not username and not args.identity_token:
            tty.die("--password-stdin needs --username")
        secret = sys.stdin.read().rstrip("\r\n")
    elif not sys.stdin.isatty():
        tty.die("this is not a terminal: give the secret with --password-stdin")
    else:
        if not username and not args.identity_token:
            username = input(f"User name for {place}: ").strip()
        secret = getpass.getpass(f"Password or token for {place}: ")
    if not secret:
        tty.die("no password or token was given")
    logins.log_in(args.registry, username, secret, args.identity_token)
    return 0
