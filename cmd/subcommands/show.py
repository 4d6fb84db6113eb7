# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci show`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "show",
        help="show all that a mirror has of a package or an image",
        description="Show the tag, digests, sizes, layers, base image, pusher, signature and relocation summary of one "
        "package of a mirror; or the platforms, layers, packages, environment and entrypoint of an image.",
        **examples(
            "spack oci show mymirror zlib@1.3.1",
            "spack oci show mymirror /abcdefg",
            "spack oci show mymirror tools         # an image that was pushed with --tag tools",
            "spack oci show oci://ghcr.io/org/cache zlib-1.3.1-abcdefghijklmnopqrstuvwxyz234567.spack --json",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="+",
        metavar="[MIRROR] SPEC|TAG",
        help=f"{DEFAULT_MIRROR_HELP}. Then a spec that one package matches, or the tag of a package or image",
    )
    add_json(parser)
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace) -> int:
    from spack_oci.spack import mirror_arguments
    from spack_oci.spack.commands import show as command

    mirror_name, words = mirror_arguments.split_tag(args.arguments, "show")
    return command.show(mirror_name, " ".join(words), args.json)
