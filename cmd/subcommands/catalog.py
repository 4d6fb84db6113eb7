# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci catalog`"""

import argparse

from spack_oci.commandline.definitions import add_catalog

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_catalog(subparsers, PROGRAM).set_defaults(run=catalog)


def catalog(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import catalog as command

    with messages_apart(args.json):
        made = command.catalog(args.mirror, args.directory, args.title, args.url, quiet=args.json)
    if args.json:
        print_json(made.to_dict())
    return 1 if made.unreadable else 0
