# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci logout`"""

import argparse

from .common import examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "logout",
        help="forget the credentials of a registry",
        description="Remove what `spack oci login` stored. Credentials from other places are left and named.",
        **examples("spack oci logout ghcr.io", "spack oci logout ghcr.io/org"),
    )
    parser.add_argument("registry", metavar="REGISTRY", help="HOST, HOST/PATH, a mirror URL, or a mirror's name")
    parser.set_defaults(run=logout)


def logout(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import login as logins

    return logins.log_out(args.registry)
