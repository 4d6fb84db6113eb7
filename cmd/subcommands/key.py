# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci key`"""

import argparse

from spack_oci.commandline.trust import add_key

from .common import PROGRAM, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    actions = add_key(subparsers, PROGRAM, can_add=True)
    for name, run in (("generate", generate), ("show", show), ("add", add), ("list", list_keys)):
        actions[name].set_defaults(run=run)


def generate(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.maintenance import keys
    from spack_oci.spack.configuration import trust

    return keys.run_generate(tty, trust.password, args)


def show(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.configuration import trust

    return keys.run_show(trust.trust(), trust.read_key_file, trust.password, args)


def add(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.commands import key as command

    with messages_apart(args.json):
        added = command.add(args.name, args.file, args.scope)
    if args.json:
        print_json(keys.document(added))
    return 0


def list_keys(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.configuration import trust

    return keys.run_list(trust.trust(), args)
