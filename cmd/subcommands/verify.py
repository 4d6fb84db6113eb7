# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci verify`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples, messages_apart, print_json

LEVELS = ("index", "manifests", "blobs", "content")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "verify",
        help="verify the index, manifests, layers and signatures of a mirror",
        description="Look whether a mirror is as it should be: its index against its tags; manifests, what they need, "
        "and who has signed them; whether layers are there; what is in them. Each finding says what to do about it. "
        "Exit code 1: something is wrong, or not signed as the policy of the mirror asks.",
        **examples(
            "spack oci verify                            # everything in the first OCI mirror, under its policy",
            "spack oci verify --level index mymirror     # a few requests, however large it is",
            "spack oci verify --level content --sample 50 mymirror    # read and unpack 50 packages",
            "spack oci verify mymirror hdf5 --key team.pub --json",
            notes="Levels, each with those before it. index: names the index all tags, and only those. manifests: "
            "manifest and config of each package, what it needs to run, platform, signatures; two or three requests "
            "for each. blobs: is every layer there; a HEAD request for each. content: every layer is read and "
            "unpacked; digest, members, spec, library search paths, and libraries that nothing has.",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],
        metavar="[MIRROR] [SPEC ...]",
        help=f"{DEFAULT_MIRROR_HELP}. Then constraints; default: all packages",
    )
    parser.add_argument("--level", choices=LEVELS, default="blobs", help="how deep to look (default: blobs)")
    parser.add_argument("--sample", metavar="N", type=int, default=0, help="look at N packages, chosen at random")
    parser.add_argument("-k", "--key", metavar="FILE", help="ask for a signature by this public key")
    parser.add_argument(
        "--no-blobs", action="store_const", const="manifests", dest="level", help="the same as --level manifests"
    )
    add_json(parser)
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.operations.check.findings import Level
    from spack_oci.spack import mirror_arguments, mirrors
    from spack_oci.spack.commands import verify as command

    with messages_apart(args.json):
        mirror_name, constraints = mirror_arguments.split(args.arguments, "verify")
        mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
        if note:
            tty.info(note)
        policy = command.policy_for(mirror, args.key)
        found = command.verify(mirror, constraints, policy, Level[args.level.upper()], args.sample)
    if args.json:
        print_json(command.document(policy, found))
    else:
        command.print_verification(policy, found)
    return 1 if found.findings else 0
