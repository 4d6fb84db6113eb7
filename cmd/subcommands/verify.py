# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci verify`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "verify",
        help="verify signatures, manifests and layers of a mirror's packages",
        description="Read packages of a mirror, look for their layers, and verify their signatures: by whom, of what. "
        "Exit code 1: something is wrong, or not signed as the policy of the mirror asks.",
        **examples(
            "spack oci verify                       # everything in the first OCI mirror, under its policy",
            "spack oci verify mymirror hdf5 --key team.pub --json",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="[MIRROR] [SPEC ...]",
        help=f"{DEFAULT_MIRROR_HELP}. Then constraints; default: all packages",
    )
    parser.add_argument("-k", "--key", metavar="FILE", help="ask for a signature by this public key")
    parser.add_argument("--no-blobs", action="store_false", dest="blobs", help="do not look for the layers")
    add_json(parser)
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack import mirror_arguments, mirrors
    from spack_oci.spack.commands import verify as command

    with messages_apart(args.json):
        mirror_name, constraints = mirror_arguments.split(args.arguments, "verify")
        mirror, note = mirror_arguments.find(mirror_name, mirrors.FETCH)
        if note:
            tty.info(note)
        policy = command.policy_for(mirror, args.key)
        findings = command.verify(mirror, constraints, policy, args.blobs)
    if args.json:
        print_json(command.document(mirror, policy, findings))
    else:
        command.print_findings(mirror, policy, findings)
    return 1 if any(finding.problems for finding in findings) else 0
