# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci fetch`"""

import argparse

from spack.cmd.common import arguments

from .common import add_json, add_no_check_signature, allow_options_anywhere, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "fetch",
        help="fetch packages from OCI mirrors without installing them",
        description="Fetch packages and their dependencies from OCI mirrors into the blob cache of this machine, from "
        "where `spack install` and `spack oci install` take them.",
        **examples("spack oci fetch hdf5 ^openmpi", "spack oci fetch                       # the active environment"),
    )
    parser.add_argument(
        "specs", nargs="*", default=[], metavar="SPEC", help="default: the roots of the active environment"
    )
    add_no_check_signature(parser)
    add_json(parser)
    arguments.add_concretizer_args(parser)
    allow_options_anywhere(parser, "specs")
    parser.set_defaults(run=fetch)


def fetch(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import install, install_plan
    from spack_oci.spack.output import reporter

    roots = install_plan.concretized_roots(args.specs)
    planned, outcomes = install.fetch_closure(
        roots, reporter=None if args.json else reporter(print), unsigned=args.unsigned
    )
    if args.json:
        install.print_failures(outcomes, "fetched")
        print_json(install.outcome_document(planned, outcomes))
    else:
        install.print_outcome(planned, outcomes, "Fetched")
    return 1 if any(o.error for o in outcomes) else 0
