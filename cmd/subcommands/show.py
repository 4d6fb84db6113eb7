# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`"""

import argparse

from .common import MIRROR_HELP, add_json, allow_options_anywhere, examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "show",
        help="show all that a mirror knows of a package",
        description="Show the tag, digests, sizes, layers, base image, pusher, signature and relocation facts of one "
        "package of a mirror.",
        **examples(
            "spack oci show mymirror zlib@1.3.1",
            "spack oci show mymirror /abcdefg",
            "spack oci show oci://ghcr.io/org/cache zlib-1.3.1-abcdefghijklmnopqrstuvwxyz234567.spack --json",
        ),
    )
    parser.add_argument("mirror", metavar="MIRROR", help=MIRROR_HELP)
    parser.add_argument("spec", metavar="SPEC", nargs="+", help="a spec that one package matches, or a tag")
    add_json(parser)
    allow_options_anywhere(parser, "spec")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import list as command

    return command.show_package(args.mirror, " ".join(args.spec), args.json)
