# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci login`"""

import argparse

from .common import examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "login",
        help="log in to a registry",
        description="Try a user name and a password or token at a registry, then store them where Spack and container "
        "tools find them: in the credential helper of oci:registries or of ~/.docker/config.json, else in that file.",
        **examples(
            "spack oci login ghcr.io",
            "spack oci login --username me --password-stdin ghcr.io/org < token.txt",
            "spack oci login mymirror",
        ),
    )
    parser.add_argument("registry", metavar="REGISTRY", help="HOST, HOST/PATH, a mirror URL, or a mirror's name")
    parser.add_argument("-u", "--username", help="user name (default: asked for)")
    parser.add_argument("--password-stdin", action="store_true", help="read the password or token from standard input")
    parser.add_argument(
        "--identity-token",
        action="store_true",
        help="the secret is an OAuth2 refresh token, as Azure gives them",
    )
    parser.set_defaults(run=login)


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
