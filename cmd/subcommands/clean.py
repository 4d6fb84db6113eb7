# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci clean`"""

import argparse

from spack_oci.commandline.definitions import add_clean

from .common import PROGRAM, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_clean(subparsers, PROGRAM).set_defaults(run=clean)


def clean(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import clean

    cleaned = clean.clean()
    if args.json:
        print_json(cleaned.to_dict())
    else:
        tty.info(cleaned.line())
    return 0
