# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci install`"""

import argparse

from spack.cmd.common import arguments
from spack_oci.commandline.definitions import add_dry_run

from .common import add_json, add_no_check_signature, allow_options_anywhere, examples, print_json

#: options of `spack install` that make no sense here
_ONLY_FOR_BUILDS = (
    "--no-cache --use-buildcache --until --keep-prefix --keep-stage --dont-restage --source --no-checksum --fake "
    "--test --clean --dirty --log-format --log-file --help-cdash --cdash-upload-url --cdash-build --cdash-site "
    "--cdash-track --cdash-buildstamp"
)


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
            notes=f"Options of `spack install` that are not here, because nothing is built: {_ONLY_FOR_BUILDS}. "
            "-n is --dry-run here and --no-checksum there; -u is --until there.",
        ),
    )
    parser.add_argument(
        "specs", nargs="*", default=[], metavar="SPEC", help="default: the roots of the active environment"
    )
    add_dry_run(parser)
    add_no_check_signature(parser)
    parser.add_argument(
        "--only",
        default="package,dependencies",
        choices=["package", "dependencies", "package,dependencies"],
        metavar="{package,dependencies}",
        help="install only the named packages, whose dependencies must be installed, or only their dependencies",
    )
    parser.add_argument("--include-build-deps", action="store_true", help="install build dependencies too")
    parser.add_argument("--overwrite", action="store_true", help="install the named packages again, also if they are")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failure (default: best effort)")
    parser.add_argument("--add", action="store_true", help="add the specs to the active environment first")
    parser.add_argument("--no-add", action="store_false", dest="add", help="do not add them (default)")
    parser.add_argument(
        "--only-concrete", action="store_true", help="in an environment: do not concretize what is not concrete yet"
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        dest="install_verbose",  # the other name is that of an option of Spack itself, which resets it
        help="print where each package is fetched from",
    )
    accepted = parser.add_argument_group("accepted as in `spack install`, without effect")
    accepted.add_argument("--use-cache", "--cache-only", action="store_true", help="packages come from caches only")
    accepted.add_argument("--show-log-on-error", action="store_true", help="there are no logs of builds")
    parser.add_argument("-p", "--concurrent-packages", type=int, metavar="N", help="as --jobs")
    add_json(parser)
    arguments.add_common_arguments(parser, ["jobs", "yes_to_all"])
    arguments.add_concretizer_args(parser)
    allow_options_anywhere(parser, "specs")
    parser.set_defaults(run=install)


def install(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import install as command
    from spack_oci.spack.commands import install_plan
    from spack_oci.spack.output import print_unpadded, reporter
    from spack_oci.util.concurrency.collector import relax_collector

    relax_collector()
    roots = install_plan.concretized_roots(args.specs, add=args.add, only_concrete=args.only_concrete)
    wanted = install_plan.Wanted(
        package="package" in args.only,
        dependencies="dependencies" in args.only,
        build_dependencies=args.include_build_deps,
        overwrite=args.overwrite,
    )
    if args.dry_run:
        planned = install_plan.plan(roots, wanted)
        if args.json:
            print_json(install_plan.plan_document(planned))
        else:
            install_plan.print_plan(planned)
        return 0
    if args.overwrite:
        install_plan.confirm_overwrite(roots, args.yes_to_all)
    planned, outcomes = command.install_closure(
        roots,
        wanted,
        jobs=args.concurrent_packages or args.jobs,
        reporter=None if args.json else reporter(print_unpadded),
        verbose=args.install_verbose,
        fail_fast=args.fail_fast,
        unsigned=args.unsigned,
    )
    if args.json:
        command.print_failures(outcomes, "installed")
        print_json(command.outcome_document(planned, outcomes))
    else:
        command.print_outcome(planned, outcomes, "Installed")
    return 0 if all(o.status == "installed" for o in outcomes) else 1
