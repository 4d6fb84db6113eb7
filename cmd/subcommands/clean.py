# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci clean`"""

import argparse

from .common import add_json, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "clean",
        help="remove cached blobs from this machine",
        description="Remove the layers that were packed or fetched on this machine and are kept to be used again, and "
        "the short names of packages that are no longer installed. Mirrors are not touched, not even the embedded one.",
        **examples("spack oci clean", "spack oci clean --json"),
    )
    add_json(parser)
    parser.set_defaults(run=clean)


def clean(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import clean

    cleaned = clean.clean()
    if args.json:
        print_json(cleaned.to_dict())
    else:
        tty.info(cleaned.line())
    return 0
