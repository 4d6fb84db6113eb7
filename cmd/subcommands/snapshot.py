# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci snapshot` and `snapshots`"""

import argparse

from .common import (
    DEFAULT_MIRROR_HELP,
    MIRROR_HELP,
    add_json,
    allow_options_anywhere,
    examples,
    messages_apart,
    print_json,
)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    snapshot = subparsers.add_parser(
        "snapshot",
        help="name a part of a mirror, which is then a mirror of its own",
        description="Make an index of its own of packages of a mirror and all that they need to run. The URL of the "
        "mirror with :NAME behind it is a mirror that has just that, in the concretizer, installs, lists and copies; "
        "it stays what it is when packages are pushed again, and `spack oci prune` keeps what it has.",
        **examples(
            "spack oci snapshot team paper-2026 --lock spack.lock",
            "spack oci snapshot team release hdf5@1.14 petsc",
            "spack oci snapshot team 2026-11-28                      # all that the mirror has now",
            "spack mirror add paper oci://ghcr.io/org/cache:paper-2026",
            "spack oci snapshot --remove team release",
        ),
    )
    snapshot.add_argument("mirror", help=MIRROR_HELP)
    snapshot.add_argument("name", help="name of the snapshot; one of that name is replaced")
    snapshot.add_argument(
        "specs",
        nargs="*",
        default=[],
        metavar="SPEC",
        help="packages of the mirror that match; default, without --lock: all",
    )
    snapshot.add_argument(
        "--lock", metavar="FILE", action="append", default=[], help="what this spack.lock has; may be repeated"
    )
    snapshot.add_argument(
        "--with-build-dependencies", action="store_true", help="also what the packages were built with"
    )
    snapshot.add_argument(
        "--allow-missing", action="store_true", help="leave out what the mirror lacks, instead of failing"
    )
    snapshot.add_argument("--remove", action="store_true", help="remove the snapshot; its packages stay until a prune")
    add_json(snapshot)
    allow_options_anywhere(snapshot, "specs")
    snapshot.set_defaults(run=run_snapshot)

    snapshots = subparsers.add_parser(
        "snapshots",
        help="list the snapshots of a mirror",
        description="List snapshots, with the URL that is a mirror of each.",
        **examples("spack oci snapshots team"),
    )
    snapshots.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    add_json(snapshots)
    snapshots.set_defaults(run=list_snapshots)


def run_snapshot(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import snapshot as command

    with messages_apart(args.json):
        if args.remove:
            command.remove(args)
            return 0
        made = command.make(args)
    if args.json:
        print_json(made.to_dict())
    else:
        command.print_made(made)
    return 0


def list_snapshots(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import snapshot as command

    with messages_apart(args.json):
        found = command.find(args.mirror)
    if args.json:
        print_json({"snapshots": [snapshot.to_dict() for snapshot in found]})
    else:
        command.print_list(found)
    return 0
