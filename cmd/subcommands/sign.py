# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci sign`"""

import argparse

from spack_oci.commandline.trust import add_sign

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    add_sign(subparsers, PROGRAM, optional=True).set_defaults(run=sign)


def sign(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.maintenance import sign as maintenance
    from spack_oci.spack.commands import sign as command
    from spack_oci.spack.commands.opened import OpenedMirror
    from spack_oci.spack.configuration import mirror_arguments, mirrors, trust

    with messages_apart(args.json or args.digests == "-"):
        mirror_name, constraints = mirror_arguments.split(args.arguments, "sign")
        mirror, note = mirror_arguments.find(mirror_name, mirrors.PUSH)
        if note:
            tty.info(note)
        tags = command.tags_of(mirror, constraints)
        cache = OpenedMirror(mirror, mirrors.PUSH)
    if args.digests:
        maintenance.write_digests(args.digests, maintenance.references(cache, tags))
        return 0
    signer = trust.required_signer(args.key)
    with messages_apart(args.json):
        outcomes = maintenance.sign(cache, tags, signer)
    if args.json:
        print_json(maintenance.outcome_document(cache, outcomes))
    else:
        maintenance.print_outcomes(cache, outcomes, signer.public)
    return 1 if any(o.error for o in outcomes) else 0
