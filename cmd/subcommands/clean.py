# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci clean`"""

import argparse

from spack_oci.commandline.definitions import add_clean

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_clean(subparsers, PROGRAM).set_defaults(run=clean)


def clean(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import clean

    return clean.run(args)
