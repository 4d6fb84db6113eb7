# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install`"""

import argparse

from spack.cmd.common import arguments

from .common import add_json, allow_options_anywhere, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "install",
        help="install packages from OCI mirrors, on all cores",
        description="Install packages and their dependencies from OCI mirrors, never from source: the whole closure is "
        "fetched, extracted and relocated concurrently, and registered in one transaction. What is installed stays.",
        **examples(
            "spack oci install hdf5 ^openmpi",
            "spack oci install --reuse hdf5        # the version that a mirror has, if there is a newer one, too",
            "spack oci install                     # everything in the active environment",
            "spack oci install --dry-run gcc       # only show what would be installed",
        ),
    )
    parser.add_argument("specs", nargs="*", metavar="SPEC", help="default: the roots of the active environment")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    add_json(parser)
    arguments.add_common_arguments(parser, ["jobs"])
    arguments.add_concretizer_args(parser)
    allow_options_anywhere(parser, "specs")
    parser.set_defaults(run=install)


def install(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import install as command

    roots = command.roots_of(args.specs)
    if args.dry_run:
        planned = command.plan(roots)
        if args.json:
            print_json(command.plan_document(planned))
        else:
            command.print_plan(planned)
        return 0
    planned, outcomes = command.install_closure(roots, jobs=args.jobs, quiet=args.json)
    if args.json:
        print_json(command.outcome_document(planned, outcomes))
    else:
        command.print_outcome(planned, outcomes, "Installed")
    return 0 if all(o.status == "installed" for o in outcomes) else 1
