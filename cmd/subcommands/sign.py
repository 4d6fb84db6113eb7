# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci sign`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "sign",
        help="sign packages that a mirror has already",
        description="Sign packages as a mirror has them now, so that `spack install` under a policy and "
        "`cosign verify` accept them. Signatures by other keys stay.",
        **examples(
            "spack oci sign                          # everything in the first OCI mirror, with oci:signing:key",
            "spack oci sign mymirror hdf5 --key team.key",
            "spack oci sign mymirror --digests to-sign.txt   # only name what a signer of your own is to sign",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],
        metavar="[MIRROR] [SPEC ...]",
        help=f"{DEFAULT_MIRROR_HELP}. Then constraints; default: all packages",
    )
    parser.add_argument("-k", "--key", metavar="FILE", help="private key (default: what oci:signing names)")
    parser.add_argument(
        "--digests", metavar="FILE", help="sign nothing, write HOST/NAME@DIGEST of each package; -: standard output"
    )
    add_json(parser)
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=sign)


def sign(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import sign as command
    from spack_oci.spack.configuration import mirror_arguments, mirrors, trust

    with messages_apart(args.json or args.digests == "-"):
        mirror_name, constraints = mirror_arguments.split(args.arguments, "sign")
        mirror, note = mirror_arguments.find(mirror_name, mirrors.PUSH)
        if note:
            tty.info(note)
        tags = command.tags_of(mirror, constraints)
    if args.digests:
        command.write_digests(args.digests, command.references(mirror, tags))
        return 0
    signer = trust.required_signer(args.key)
    with messages_apart(args.json):
        outcomes = command.sign(mirror, tags, signer)
    if args.json:
        print_json(command.outcome_document(mirror, outcomes))
    else:
        command.print_outcomes(mirror, outcomes, signer.public)
    return 1 if any(o.error for o in outcomes) else 0
