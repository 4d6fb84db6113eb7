# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci key`"""

import argparse

from .common import add_json, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "key",
        help="make, show and trust keys that sign packages",
        description="Keys that sign packages, in the format of `cosign generate-key-pair`.",
        **examples(
            "spack oci key generate team             # team.key and team.pub",
            "spack oci key add team-2026 team.pub    # trust it: then name it in oci:trust:policies",
            "spack oci key list",
        ),
    )
    actions = parser.add_subparsers(dest="key_command", metavar="ACTION")
    actions.required = True

    make = actions.add_parser("generate", help="make a pair of keys, ECDSA P-256, the private one encrypted")
    make.add_argument("path", nargs="?", default="spack-oci", help="writes PATH.key and PATH.pub (default: spack-oci)")
    add_json(make)
    make.set_defaults(run=generate)

    shown = actions.add_parser("show", help="show kind, id and public half of a key")
    shown.add_argument("key", help="file of a public or private key, or its name in oci:trust:keys")
    add_json(shown)
    shown.set_defaults(run=show)

    added = actions.add_parser("add", help="add a public key to oci:trust:keys")
    added.add_argument("name", help="what policies call it")
    added.add_argument("file", help="the .pub file")
    added.add_argument("--scope", help="configuration scope to write to (default: Spack's for modifications)")
    added.set_defaults(run=add)

    listed = actions.add_parser("list", help="list the keys of oci:trust:keys and the policies that count them")
    add_json(listed)
    listed.set_defaults(run=list_keys)


def generate(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import key as command

    made = command.make(args.path)
    if args.json:
        print_json(command.document(made))
    return 0


def show(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import key as command

    found = command.show(args.key)
    if args.json:
        print_json(found)
    else:
        print(f"{found['name']}: {found['kind']}\nid {found['id']}\n{found['public_key']}", end="")
    return 0


def add(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import key as command

    command.add(args.name, args.file, args.scope)
    return 0


def list_keys(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import key as command
    from spack_oci.spack.configuration import trust

    found = trust.trust()
    if args.json:
        print_json({"keys": [command.document(key) for key in found.keys.values()]})
    else:
        for line in command.rows(found):
            print(line)
    return 0
