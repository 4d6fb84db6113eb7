# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci copy`"""

import argparse

from .common import MIRROR_HELP, add_json, allow_options_anywhere, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "copy",
        aliases=["sync"],
        help="copy packages and images from one mirror to another",
        description="Copy packages with all that they need to run, images, signatures and SBOMs between any two "
        "registries, layout directories and bundles (*.tar). Digests stay the same; what is there is not sent again; "
        "the index of the destination gets what was copied and keeps what it has.",
        **examples(
            "spack oci copy team oci://ghcr.io/org/cache       # everything",
            "spack oci copy team ./usb-stick hdf5 /abcdefg     # two packages and what they need",
            "spack oci copy --lock spack.lock team release     # what an environment has",
            "spack oci copy team cache.tar hdf5                # into one file, as `spack-oci pack` makes it",
            "spack oci copy cache.tar team",
            "spack oci copy --tag tools team release           # an image",
            "spack oci copy --delete team backup               # and remove what team has not",
        ),
    )
    parser.add_argument("source", metavar="FROM", help=f"{MIRROR_HELP}, or a bundle (*.tar)")
    parser.add_argument("destination", metavar="TO", help="the same")
    parser.add_argument("specs", nargs="*", default=[], metavar="SPEC", help="default: everything")
    parser.add_argument(
        "--lock", metavar="FILE", action="append", default=[], help="copy what this spack.lock has; may be repeated"
    )
    parser.add_argument("--tag", metavar="TAG", action="append", default=[], help="copy this image; may be repeated")
    parser.add_argument("--with-build-dependencies", action="store_true", help="also what the packages were built with")
    parser.add_argument("--platform", metavar="OS/ARCH", help="of images for several platforms only this one")
    parser.add_argument(
        "--full",
        action="store_true",
        help="compare each tag and look for its layers, instead of comparing the indexes of both",
    )
    parser.add_argument("--delete", action="store_true", help="remove what FROM has not from TO")
    parser.add_argument("-j", "--jobs", type=int, default=8, help="connections (default: 8)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    add_json(parser)
    allow_options_anywhere(parser, "specs")
    parser.set_defaults(run=copy)


def copy(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import copy as command

    with messages_apart(args.json), command.requested(args) as request:
        if args.dry_run:
            if not args.json:
                command.print_plan(request.plan)
        else:
            result = command.execute(request, args.jobs, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1
