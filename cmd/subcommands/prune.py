# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci prune`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, messages_apart, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "prune",
        help="remove packages from a mirror that nobody needs",
        description="Say what to keep; the rest is taken out of the index at once, and deleted after a grace period "
        "by this run (--grace 0) or by the next one. What is kept is kept with all that it needs to run, its "
        "signatures and SBOMs; packages of image tags, pins and snapshots are always kept. What is pushed again "
        "meanwhile stays.",
        **examples(
            "spack oci prune --dry-run --keep-lock spack.lock team     # what would go, and why the rest stays",
            "spack oci prune --keep-lock a.lock --keep-lock b.lock --keep-newer-than 14d team",
            "spack oci prune --keep-specs hdf5@1.14: --keep-last 2 team",
            "spack oci prune --github-api --keep-lock spack.lock oci://ghcr.io/org/cache",
        ),
    )
    parser.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    parser.add_argument(
        "--keep-lock",
        metavar="FILE",
        action="append",
        default=[],
        help="keep what this spack.lock has; may be repeated",
    )
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
    parser.add_argument(
        "--with-build-dependencies", action="store_true", help="keep also what kept packages were built with"
    )
    parser.add_argument(
        "--grace", metavar="AGE", default="1h", help="time between taking out of the index and deleting (default: 1h)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--github-api",
        action="store_true",
        help="for ghcr.io, which deletes nothing itself: delete by GitHub's REST API, with the token in GITHUB_TOKEN",
    )
    how.add_argument(
        "--untag",
        action="store_true",
        help="where nothing can be deleted: take the tags away, for the registry's own clean-up of untagged manifests",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    add_json(parser)
    parser.set_defaults(run=prune)


def prune(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import prune as command

    with messages_apart(args.json):
        request = command.plan(args)
        if args.dry_run:
            if not args.json:
                command.print_plan(request.plan)
        else:
            result = command.execute(request, quiet=args.json)
    if args.json:
        print_json(request.plan.to_dict() if args.dry_run else result.to_dict())
    return 0 if args.dry_run or not result.failed else 1
