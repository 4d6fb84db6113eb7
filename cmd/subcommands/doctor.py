# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci doctor`"""

import argparse

from spack_oci.commandline.definitions import add_doctor

from .common import PROGRAM


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_doctor(subparsers, PROGRAM).set_defaults(run=doctor)


def doctor(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import doctor as doctors

    return doctors.examine(args.mirrors, args.json)
