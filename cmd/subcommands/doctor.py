# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci doctor`"""

import argparse

from .common import MIRROR_HELP, add_json, allow_options_anywhere, examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="check whether mirrors work, and say why not",
        description="Check mirrors: network, TLS, credentials and where they come from, what they allow, what the "
        "registry can do, the index, the hooks. Leaves nothing behind. Exit code 1 if something would fail that a "
        "mirror is configured for.",
        **examples("spack oci doctor", "spack oci doctor mymirror oci://ghcr.io/org/cache", "spack oci doctor --json"),
    )
    parser.add_argument("mirrors", metavar="MIRROR", nargs="*", help=f"{MIRROR_HELP}; default: all OCI mirrors")
    add_json(parser)
    allow_options_anywhere(parser, "mirrors")
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import doctor as doctors

    return doctors.examine(args.mirrors, args.json)
