# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One definition for each sub-command that `spack oci` and `spack-oci` both have.

What differs is in a :class:`Program`: what it is called, and how a cache is named. With Spack, a cache is a mirror,
which may be left out, and specs are concretized; without, it is a URL, and a spec names packages that there are.
"""

import argparse
from typing import Any, NamedTuple

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples


class Program(NamedTuple):  # a dataclass would cost each start 10 ms
    """``name``: as a user calls it; ``cache``: the metavariable of a cache; ``example``: one for examples."""

    name: str
    cache: str
    example: str
    cache_help: str

    def examples(self, *lines: str, notes: str = "") -> Any:
        """Each line without the name of the program, and ``CACHE`` for a cache; ``notes``: a paragraph below them."""
        return examples(*(f"{self.name} {line}".replace("CACHE", self.example) for line in lines), notes=notes)


def add_cache_and_constraints(parser: argparse.ArgumentParser, program: Program, optional: bool) -> str:
    """``optional``: the cache may be left out; all words are in ``arguments`` then. Returns where specs are."""
    if optional:
        parser.add_argument(
            "arguments",
            nargs="*",
            default=[],
            metavar=f"[{program.cache}] [SPEC ...]",
            help=f"{DEFAULT_MIRROR_HELP}. Then constraints; default: all packages",
        )
        return "arguments"
    parser.add_argument("mirror", metavar=program.cache, help=program.cache_help)
    parser.add_argument("specs", metavar="SPEC", nargs="*", default=[], help="constraints; default: all packages")
    return "specs"


def add_update_index(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    """``optional``: the cache may be left out."""
    parser = subparsers.add_parser(
        "update-index",
        aliases=["rebuild-index"],
        help=f"make the index of a {program.cache.lower()} say what it has",
        description=f"Read the packages that the index of a {program.cache.lower()} does not know yet, or that were "
        "pushed again, drop those that are gone, and write the index that `spack install` and the concretizer read. To "
        "notice what was pushed again costs a registry one HEAD request for each package (a directory none); "
        "--new-only saves them.",
        **program.examples("update-index CACHE", "update-index --full oci://ghcr.io/org/cache"),
    )
    parser.add_argument(
        "mirror",
        metavar=program.cache,
        help=DEFAULT_MIRROR_HELP if optional else program.cache_help,
        **({"nargs": "?"} if optional else {}),
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true", help="read every package again, also those the index knows")
    extent.add_argument(
        "--new-only", action="store_true", help="do not look whether packages that the index knows were pushed again"
    )
    parser.add_argument("--create", action="store_true", help="make an index also where there are no packages yet")
    parser.add_argument("--strict", action="store_true", help="exit with an error if a package could not be read")
    add_json(parser)
    return parser


def add_show(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool = False) -> Any:
    """``optional``: the cache may be left out; then all words are in ``arguments``."""
    parser = subparsers.add_parser(
        "show",
        help=f"show all that a {program.cache.lower()} has of a package or an image",
        description="Show the name, digests, sizes, layers, base image, pusher, signature and relocation summary of "
        f"one package of a {program.cache.lower()}; or the platforms, layers, packages, environment and entrypoint of "
        "an image.",
        **program.examples(
            "show CACHE zlib@1.3.1",
            "show CACHE /abcdefg",
            "show CACHE tools         # an image that was pushed with --tag tools",
            "show oci://ghcr.io/org/cache zlib-1.3.1-abcdefghijklmnopqrstuvwxyz234567.spack --json",
        ),
    )
    add_json(parser)
    label = "a spec that one package matches, or the tag of a package or image"
    if optional:
        parser.add_argument(
            "arguments", nargs="+", metavar=f"[{program.cache}] SPEC|TAG", help=f"{DEFAULT_MIRROR_HELP}. Then {label}"
        )
        allow_options_anywhere(parser, "arguments")
        return parser
    parser.add_argument("mirror", metavar=program.cache, help=program.cache_help)
    parser.add_argument("spec", metavar="SPEC", nargs="+", help=label)
    allow_options_anywhere(parser, "spec")
    return parser


def add_catalog(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "catalog",
        help=f"write a static page that shows what a {program.cache.lower()} has",
        description=f"Write a page, for browsers, of all packages and images of a {program.cache.lower()}: search, "
        "builds side by side, dependencies, sizes, and the commands to use them. It needs no server and nothing from "
        "another host: open DIR/index.html, or publish DIR. A page that is there is replaced when the new one is "
        "complete.",
        **program.examples(
            "catalog CACHE public",
            "catalog CACHE public --title 'Our packages' --url oci://ghcr.io/org/cache",
        ),
    )
    parser.add_argument("mirror", metavar=program.cache, help=program.cache_help)
    parser.add_argument("directory", metavar="DIR", help="empty, not there yet, or with an older page")
    parser.add_argument("--title", help="heading of the page (default: the URL)")
    parser.add_argument("--url", help="how the commands on the page name the cache (default: by its URL)")
    add_json(parser)
    return parser


def add_list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--variants", action="store_true", help="show variants in output (can be long)")
    parser.add_argument(
        "-a", "--allarch", action="store_true", help="list all architectures, not only this one's platform and OS"
    )
    parser.add_argument("--sizes", action="store_true", help="show how large the packages are, compressed")
    add_json(parser)


def add_login(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "login",
        help="log in to a registry",
        description="Try a user name and a password or token at a registry, then store them where Spack and container "
        "tools find them: in the credential helper of oci:registries or of ~/.docker/config.json, else in that file.",
        **program.examples(
            "login ghcr.io", "login --username me --password-stdin ghcr.io/org < token.txt", f"login {program.example}"
        ),
    )
    parser.add_argument("registry", metavar="REGISTRY", help=_REGISTRY_HELP)
    parser.add_argument("-u", "--username", help="user name (default: asked for)")
    parser.add_argument("--password-stdin", action="store_true", help="read the password or token from standard input")
    parser.add_argument(
        "--identity-token", action="store_true", help="the secret is an OAuth2 refresh token, as Azure gives them"
    )
    add_json(parser)
    return parser


_REGISTRY_HELP = "HOST, HOST/PATH, a mirror URL, or (with Spack) a mirror's name"


def add_logout(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "logout",
        help="forget the credentials of a registry",
        description=f"Remove what `{program.name} login` stored. Credentials from other places are left and named.",
        **program.examples("logout ghcr.io", "logout ghcr.io/org"),
    )
    parser.add_argument("registry", metavar="REGISTRY", help=_REGISTRY_HELP)
    add_json(parser)
    return parser


def add_clean(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "clean",
        help="remove cached blobs from this machine",
        description="Remove the layers that were packed or fetched on this machine and are kept to be used again, and "
        "the short names of packages that are no longer installed. Mirrors are not touched, nor is the local "
        "layout that serves where none is configured.",
        **program.examples("clean", "clean --json"),
    )
    add_json(parser)
    return parser


def add_doctor(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "doctor",
        help=f"check whether {program.cache.lower()}s work, and say why not",
        description=f"Check {program.cache.lower()}s: network, TLS, credentials and where they come from, what they "
        "allow, what the registry can do, the index, the hooks. Leaves nothing behind. Exit code 1 if something would "
        f"fail that a {program.cache.lower()} is configured for.",
        **program.examples("doctor", "doctor CACHE oci://ghcr.io/org/other", "doctor --json"),
    )
    parser.add_argument("mirrors", metavar=program.cache, nargs="*", default=[], help=program.cache_help)
    add_json(parser)
    allow_options_anywhere(parser, "mirrors")
    return parser


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")


def add_push_options(parser: argparse.ArgumentParser) -> None:
    """Those that do not need Spack."""
    parser.add_argument("-f", "--force", action="store_true", help="push again what is there already")
    parser.add_argument(
        "--only",
        default="package,dependencies",
        dest="things_to_push",
        choices=["package", "dependencies", "package,dependencies"],
        metavar="{package,dependencies}",
        help="push only the named packages, or only their dependencies (default: both)",
    )
    build = parser.add_mutually_exclusive_group()
    build.add_argument("--with-build-dependencies", action="store_true", help="push build dependencies too (default)")
    build.add_argument("--without-build-dependencies", action="store_true", help="leave build dependencies out")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failure (default: best effort)")
    parser.add_argument(
        "--if-writable",
        action="store_true",
        help="where the token or the directory may only be read, as in pipelines of forks: say so, and exit with 0",
    )
    parser.add_argument(
        "--update-index", "--rebuild-index", action="store_true", help="update the mirror's index after the push"
    )
    parser.add_argument(
        "--compression",
        metavar="ALGORITHM[:LEVEL]",
        help="auto (gzip, its level after the speed of the link), gzip[:1-9] or zstd[:1-22] for new layers; zstd:9 for "
        "those who install over a slow link",
    )
    add_dry_run(parser)
