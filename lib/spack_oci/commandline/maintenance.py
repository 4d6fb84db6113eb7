# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One definition for each sub-command on a cache as a whole: what is in it, whether it is sound, what of it stays.

See :mod:`.definitions`. ``optional``: the cache may be left out, as with Spack, which has a default.
"""

import argparse
from typing import Any

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere
from .definitions import Program, add_cache_and_constraints, add_dry_run

LEVELS = ("index", "manifests", "blobs", "content")


def _add_cache(parser: argparse.ArgumentParser, program: Program, optional: bool) -> None:
    if optional:
        parser.add_argument("mirror", nargs="?", metavar=program.cache, help=DEFAULT_MIRROR_HELP)
    else:
        parser.add_argument("mirror", metavar=program.cache, help=program.cache_help)


def _add_locks(parser: argparse.ArgumentParser, label: str, option: str = "--lock") -> None:
    parser.add_argument(option, metavar="FILE", action="append", default=[], help=f"{label}; may be repeated")


def _add_build_dependencies(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--with-build-dependencies", action="store_true", help=text)


def add_du(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    cache = program.cache.lower()
    parser = subparsers.add_parser(
        "du",
        help=f"show where the bytes of a {cache} are",
        description=f"Show how much a {cache} stores: by package or by version, in layers of base images that packages "
        "share, in images, and in old builds: packages that are neither of the newest version of their name nor needed "
        "to run one. Each layer is counted once, compressed.",
        **program.examples(
            "du CACHE",
            "du --by version --top 50 CACHE",
            "du --quick CACHE      # from the index alone: a few requests",
            "du --json CACHE",
        ),
    )
    _add_cache(parser, program, optional)
    parser.add_argument("--by", choices=("package", "version"), default="package", help="rows (default: package)")
    parser.add_argument("--top", metavar="N", type=int, default=20, help="the N largest; 0: all (default: 20)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="believe the index, and read no manifests (one request for each package): packages' own layers alone",
    )
    add_json(parser)
    return parser


def add_verify(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    """``optional``: all words are in ``arguments``."""
    cache = program.cache.lower()
    lines = [
        "verify --level index CACHE     # a few requests, however large it is",
        "verify --level content --sample 50 CACHE    # read and unpack 50 packages",
        "verify CACHE hdf5 --key team.pub --json",
    ]
    if optional:
        lines.insert(0, "verify                            # everything in the first OCI mirror, under its policy")
    parser = subparsers.add_parser(
        "verify",
        help=f"verify the index, manifests, layers and signatures of a {cache}",
        description=f"Look whether a {cache} is as it should be: its index against its tags; manifests, what they "
        "need, and who has signed them; whether layers are there; what is in them. Each finding says what to do about "
        f"it. Exit code 1: something is wrong, or not signed as the policy of the {cache} asks.",
        **program.examples(
            *lines,
            notes="Levels, each with those before it. index: names the index all tags, and only those. manifests: "
            "manifest and config of each package, what it needs to run, platform, signatures; two or three requests "
            "for each. blobs: is every layer there; a HEAD request for each. content: every layer is read and "
            "unpacked; digest, members, spec, library search paths, and libraries that nothing has.",
        ),
    )
    words = add_cache_and_constraints(parser, program, optional)
    parser.add_argument("--level", choices=LEVELS, default="blobs", help="how deep to look (default: blobs)")
    parser.add_argument("--sample", metavar="N", type=int, default=0, help="look at N packages, chosen at random")
    parser.add_argument("-k", "--key", metavar="FILE", help="ask for a signature by this public key")
    parser.add_argument(
        "--no-blobs", action="store_const", const="manifests", dest="level", help="the same as --level manifests"
    )
    add_json(parser)
    allow_options_anywhere(parser, words)
    return parser


def add_repair(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    cache = program.cache.lower()
    installed = "that are installed here" if optional else "that the store of --store has"
    parser = subparsers.add_parser(
        "repair",
        help=f"put right what is wrong with a {cache}, where nothing can be lost by it",
        description=f"Verify a {cache}, then: send layers that are gone or damaged from this machine's blob cache, "
        f"push packages again {installed}, leave broken packages out of the index until somebody pushes them, "
        "make the index say what the tags say, remove temporary files of writers that were killed. Nothing that "
        "anybody could still read is deleted. Exit code 1: something is still wrong.",
        **program.examples(
            "repair --dry-run CACHE",
            "repair --level index CACHE     # the index alone, whatever another Spack made of it",
            "repair --level content CACHE   # every layer is read",
        ),
    )
    _add_cache(parser, program, optional)
    parser.add_argument("--level", choices=LEVELS, default="blobs", help="how deep to look, as verify (default: blobs)")
    add_dry_run(parser)
    add_json(parser)
    return parser


def add_snapshot(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    cache = program.cache.lower()
    parser = subparsers.add_parser(
        "snapshot",
        help=f"name a part of a {cache}, which is then a {cache} of its own",
        description=f"Make an index of its own of packages of a {cache} and all that they need to run. The URL of the "
        f"{cache} with :NAME behind it is a {cache} that has just that, in the concretizer, installs, lists and "
        f"copies; it stays what it is when packages are pushed again, and `{program.name} prune` keeps what it has.",
        **program.examples(
            "snapshot CACHE paper-2026 --lock spack.lock",
            "snapshot CACHE release hdf5@1.14 petsc",
            f"snapshot CACHE 2026-11-28                      # all that the {cache} has now",
            "snapshot --remove CACHE release",
            notes="With Spack: `spack mirror add paper oci://ghcr.io/org/cache:paper-2026`",
        ),
    )
    _add_cache(parser, program, False)
    parser.add_argument("name", metavar="NAME", help="name of the snapshot; one of that name is replaced")
    parser.add_argument(
        "specs",
        nargs="*",
        default=[],
        metavar="SPEC",
        help=f"packages of the {cache} that match; default, without --lock: all",
    )
    _add_locks(parser, "what this spack.lock has")
    _add_build_dependencies(parser, "also what the packages were built with")
    parser.add_argument(
        "--allow-missing", action="store_true", help=f"leave out what the {cache} lacks, instead of failing"
    )
    parser.add_argument("--remove", action="store_true", help="remove the snapshot; its packages stay until a prune")
    add_json(parser)
    allow_options_anywhere(parser, "specs")
    return parser


def add_snapshots(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    cache = program.cache.lower()
    parser = subparsers.add_parser(
        "snapshots",
        help=f"list the snapshots of a {cache}",
        description=f"List snapshots, with the URL that is a {cache} of each.",
        **program.examples("snapshots CACHE"),
    )
    _add_cache(parser, program, optional)
    add_json(parser)
    return parser


def add_pin(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    cache = program.cache.lower()
    parser = subparsers.add_parser(
        "pin",
        help=f"keep packages of a {cache} from being pruned",
        description=f"Name packages that `{program.name} prune` keeps, with all that they need. The pin is in the "
        f"{cache}, so it holds for everybody.",
        **program.examples("pin CACHE paper-2026 --lock spack.lock", "pin CACHE release hdf5@1.14 --until 2027-06-30"),
    )
    _add_cache(parser, program, False)
    parser.add_argument("name", metavar="NAME", help="name of the pin; one of that name is replaced")
    parser.add_argument("specs", nargs="*", default=[], metavar="SPEC", help=f"packages of the {cache} that match")
    _add_locks(parser, "what this spack.lock has")
    parser.add_argument("--until", metavar="DATE", help="last day, as 2027-06-30; default: for ever")
    add_json(parser)
    allow_options_anywhere(parser, "specs")
    return parser


def add_unpin(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    parser = subparsers.add_parser(
        "unpin",
        help="remove a pin",
        description="Remove a pin: the next prune may remove what only it kept.",
        **program.examples("unpin CACHE paper-2026"),
    )
    _add_cache(parser, program, False)
    parser.add_argument("name", metavar="NAME", help="name of the pin")
    add_json(parser)
    return parser


def add_pins(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    parser = subparsers.add_parser(
        "pins",
        help=f"list the pins of a {program.cache.lower()}",
        description="List the pins that hold now.",
        **program.examples("pins CACHE"),
    )
    _add_cache(parser, program, optional)
    add_json(parser)
    return parser


def add_prune(subparsers: argparse._SubParsersAction, program: Program, *, optional: bool) -> Any:
    parser = subparsers.add_parser(
        "prune",
        help=f"remove packages from a {program.cache.lower()} that nobody needs",
        description="Say what to keep; the rest is taken out of the index at once, and deleted after a grace period "
        "by this run (--grace 0) or by the next one. What is kept is kept with all that it needs to run, its "
        "signatures and SBOMs; packages of image tags, pins and snapshots are always kept. What is pushed again "
        "meanwhile stays.",
        **program.examples(
            "prune --dry-run --keep-lock spack.lock CACHE     # what would go, and why the rest stays",
            "prune --keep-lock a.lock --keep-lock b.lock --keep-newer-than 14d CACHE",
            "prune --keep-specs hdf5@1.14: --keep-last 2 CACHE",
            "prune --github-api --keep-lock spack.lock oci://ghcr.io/org/cache",
        ),
    )
    _add_cache(parser, program, optional)
    _add_locks(parser, "keep what this spack.lock has", "--keep-lock")
    parser.add_argument(
        "--keep-specs", metavar="SPEC", action="append", default=[], help="keep what matches; may be repeated"
    )
    parser.add_argument(
        "--keep-newer-than",
        metavar="AGE",
        help="keep what was first seen by a prune less than this ago: 14d, 12h (a registry does not tell more)",
    )
    parser.add_argument(
        "--keep-last", metavar="N", type=int, default=0, help="keep the N newest builds of each name and version"
    )
    _add_build_dependencies(parser, "keep also what kept packages were built with")
    parser.add_argument(
        "--grace", metavar="AGE", default="1h", help="time between taking out of the index and deleting (default: 1h)"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--github-api",
        action="store_true",
        help="for ghcr.io, which deletes nothing itself: delete by GitHub's REST API, with the token in GITHUB_TOKEN",
    )
    group.add_argument(
        "--untag",
        action="store_true",
        help="where nothing can be deleted: take the tags away, for the registry's own clean-up of untagged manifests",
    )
    add_dry_run(parser)
    add_json(parser)
    return parser


def add_copy(subparsers: argparse._SubParsersAction, program: Program) -> Any:
    cache = program.cache.lower()
    parser = subparsers.add_parser(
        "copy",
        aliases=["sync"],
        help=f"copy packages and images from one {cache} to another",
        description="Copy packages with all that they need to run, images, signatures and SBOMs between any two "
        "registries, layout directories and bundles (*.tar). Digests stay the same; what is there is not sent again; "
        "the index of the destination gets what was copied and keeps what it has.",
        **program.examples(
            "copy CACHE oci://ghcr.io/org/release       # everything",
            "copy CACHE ./usb-stick hdf5 /abcdefg     # two packages and what they need",
            "copy --lock spack.lock CACHE ./release   # what an environment has",
            "copy CACHE ./cache.tar hdf5              # into one file, as `spack-oci pack` makes it",
            "copy ./cache.tar CACHE",
            "copy --tag tools CACHE ./release         # an image",
            f"copy --delete CACHE ./backup             # and remove what the {cache} has not",
        ),
    )
    parser.add_argument("source", metavar="FROM", help=f"{program.cache_help}; or a bundle (*.tar)")
    parser.add_argument("destination", metavar="TO", help="the same")
    parser.add_argument("specs", nargs="*", default=[], metavar="SPEC", help="default: everything")
    _add_locks(parser, "copy what this spack.lock has")
    parser.add_argument("--tag", metavar="TAG", action="append", default=[], help="copy this image; may be repeated")
    _add_build_dependencies(parser, "also what the packages were built with")
    parser.add_argument("--platform", metavar="OS/ARCH", help="of images for several platforms only this one")
    parser.add_argument(
        "--full",
        action="store_true",
        help="compare each tag and look for its layers, instead of comparing the indexes of both",
    )
    parser.add_argument("--delete", action="store_true", help="remove what FROM has not from TO")
    parser.add_argument("-j", "--jobs", type=int, default=8, help="connections (default: 8)")
    add_dry_run(parser)
    add_json(parser)
    allow_options_anywhere(parser, "specs")
    return parser
