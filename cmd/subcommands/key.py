# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci key`"""

import argparse

from spack_oci.commandline.trust import add_key

from .common import PROGRAM, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    actions = add_key(subparsers, PROGRAM, can_add=True)
    for name, run in (("generate", generate), ("show", show), ("add", add), ("list", list_keys)):
        actions[name].set_defaults(run=run)


def generate(args: argparse.Namespace) -> int:
    from spack_oci.maintenance.keys import document
    from spack_oci.spack.commands import key as command

    made = command.make(args.path)
    if args.json:
        print_json(document(made))
    return 0


def show(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.commands import key as command

    found = command.show(args.key)
    if args.json:
        print_json(keys.document(found))
    else:
        print(keys.lines_of(found), end="")
    return 0


def add(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import key as command

    command.add(args.name, args.file, args.scope)
    return 0


def list_keys(args: argparse.Namespace) -> int:
    from spack_oci.maintenance import keys
    from spack_oci.spack.configuration import trust

    found = trust.trust()
    if args.json:
        print_json({"keys": [keys.document(key) for key in found.keys.values()]})
    else:
        for line in keys.rows(found):
            print(line)
    return 0
