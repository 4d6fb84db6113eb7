# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One definition for each sub-command on signatures, keys and policies. See :mod:`.definitions`."""

import argparse
from typing import Any

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere
from .definitions import Program, add_cache_and_constraints


def add_sign(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    """``optional``: the cache may be left out; all words are in ``arguments``."""
    cache = program.cache.lower()
    lines = [
        "sign CACHE hdf5 --key team.key",
        "sign CACHE --digests to-sign.txt   # only name what a signer of your own is to sign",
    ]
    if optional:
        lines.insert(0, "sign                          # everything in the first OCI mirror, with oci:signing:key")
    parser = subparsers.add_parser(
        "sign",
        help=f"sign packages that a {cache} has already",
        description=f"Sign packages as a {cache} has them now, so that installs under a policy and `cosign verify` "
        "accept them. Signatures by other keys stay.",
        **program.examples(*lines),
    )
    words = add_cache_and_constraints(parser, program, optional)
    parser.add_argument("-k", "--key", metavar="FILE", help="private key (default: what oci:signing names)")
    parser.add_argument(
        "--digests", metavar="FILE", help="sign nothing, write HOST/NAME@DIGEST of each package; -: standard output"
    )
    add_json(parser)
    allow_options_anywhere(parser, words)
    return parser


def add_key(subparsers: argparse._SubParsersAction, program: Program, *, can_add: bool) -> Any:
    """Parsers by action: generate, show, list; ``can_add``: and add, which writes the configuration."""
    lines = ["key generate team             # team.key and team.pub", "key list"]
    if can_add:
        lines.insert(1, "key add team-2026 team.pub    # trust it: then name it in oci:trust:policies")
    parser = subparsers.add_parser(
        "key",
        help="make, show and trust keys that sign packages" if can_add else "make and show keys that sign packages",
        description="Keys that sign packages, in the format of `cosign generate-key-pair`.",
        **program.examples(*lines),
    )
    actions = parser.add_subparsers(dest="key_command", metavar="ACTION")
    actions.required = True
    made = actions.add_parser(
        "generate",
        help="make a pair of keys, ECDSA P-256, the private one encrypted",
        **program.examples("key generate team    # asks for a password twice, or takes that of COSIGN_PASSWORD"),
    )
    made.add_argument("path", nargs="?", default="spack-oci", help="writes PATH.key and PATH.pub (default: spack-oci)")
    add_json(made)
    shown = actions.add_parser(
        "show",
        help="show kind, id and public half of a key",
        **program.examples("key show team.pub", "key show team-2026    # by its name in oci:trust:keys"),
    )
    shown.add_argument("key", help="file of a public or private key, or its name in oci:trust:keys")
    add_json(shown)
    found = {"generate": made, "show": shown}
    if can_add:
        found["add"] = actions.add_parser(
            "add",
            help="add a public key to oci:trust:keys",
            **program.examples("key add team-2026 team.pub", "key add team-2026 team.pub --scope site"),
        )
        found["add"].add_argument("name", help="what policies call it")
        found["add"].add_argument("file", help="the .pub file")
        found["add"].add_argument(
            "--scope", help="configuration scope to write to (default: Spack's for modifications)"
        )
        add_json(found["add"])
    found["list"] = actions.add_parser(
        "list",
        help="list the keys of oci:trust:keys and the policies that count them",
        **program.examples("key list --json"),
    )
    add_json(found["list"])
    return found


def add_trust(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    """Parsers by action: show, accept-older. ``optional``: the cache may be left out, and all are shown."""
    cache = program.cache.lower()
    lines = [f"trust show{'' if optional else ' CACHE'}", f"trust accept-older {'mymirror' if optional else 'CACHE'}"]
    parser = subparsers.add_parser(
        "trust",
        help=f"show the policies of {cache}s; accept an index that is older than one seen before",
        description=f"What oci:trust asks of the {cache}s, and what this machine remembers of their signed indexes.",
        **program.examples(lines[0], f"{lines[1]}   # its registry was restored"),
    )
    actions = parser.add_subparsers(dest="trust_command", metavar="ACTION")
    actions.required = True
    shown = actions.add_parser(
        "show",
        help=f"show the policy of {'each mirror' if optional else 'caches'}",
        **program.examples(f"{lines[0]} --json"),
    )
    accepted = actions.add_parser(
        "accept-older",
        help=f"forget which index of a {cache} was the newest, and take the one that is there now",
        **program.examples(lines[1]),
    )
    if optional:
        accepted.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    else:
        shown.add_argument("mirrors", metavar=program.cache, nargs="+", help=program.cache_help)
        accepted.add_argument("mirror", metavar=program.cache, help=program.cache_help)
    for parser in (shown, accepted):
        add_json(parser)
    return {"show": shown, "accept-older": accepted}
