# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci push`"""

import argparse
from typing import Any, Sequence

from spack.cmd.common import arguments
from spack_oci.commandline.definitions import add_push_options

from .common import DEFAULT_MIRROR_HELP, add_json, allow_options_anywhere, examples, messages_apart, print_json
from .image_options import add_base_image, add_image_options, image_options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "push",
        aliases=["create"],
        help="push installed packages to a mirror",
        description="Push installed packages and their dependencies to a mirror. What is there already is skipped.",
        **examples(
            "spack oci push                        # the active environment, to the first OCI mirror",
            "spack oci push mymirror hdf5 ^openmpi",
            "spack oci push oci://ghcr.io/org/cache --only package zlib",
            "spack oci push ./cache --dry-run      # a directory, and only show what would be done",
            "spack oci push --base-image debian:12 --tag tools mymirror   # and an image of the environment's roots",
        ),
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],
        metavar="[MIRROR] [SPEC ...]",
        help=f"{DEFAULT_MIRROR_HELP}. Then specs; default: the roots of the active environment",
    )
    add_push_options(parser)
    signing = parser.add_mutually_exclusive_group()
    signing.add_argument(
        "--sign",
        nargs="?",
        const="",
        metavar="KEY",
        help="sign what is pushed with the private key in a file (default: what oci:signing names, if it names one)",
    )
    signing.add_argument("-k", "--key", metavar="KEY", dest="sign", help="as --sign KEY")
    signing.add_argument("--signed", action="store_const", const="", dest="sign", help="as --sign")
    signing.add_argument("-u", "--unsigned", action="store_true", help="do not sign, though oci:signing names a key")
    parser.add_argument(
        "--sbom",
        action="store_true",
        default=None,
        help="attach a software bill of materials (SPDX) to packages and images, which scanners find as a referrer",
    )
    parser.add_argument(
        "--provenance",
        action="store_true",
        default=None,
        help="attach a statement of provenance (in-toto, SLSA) to packages, signed as the packages are",
    )
    parser.add_argument(
        "--digests",
        metavar="FILE",
        help="write HOST/NAME@DIGEST of what was pushed, a line each, for a signer of your own; -: standard output",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="SPEC",
        help="do not push what satisfies this spec, e.g. cuda (repeatable; besides oci:push:exclude)",
    )
    parser.add_argument("--not-in", metavar="MIRROR", help="do not push what this mirror has, e.g. a central cache")
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        dest="groups",
        help="push the specs of this group of the active environment only (repeatable; Spack 1.2 and later)",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="do not fail for named packages that are not installed"
    )
    parser.add_argument("--private", action="store_true", help="push packages too that may not be redistributed")
    add_base_image(parser)
    parser.add_argument(
        "-t",
        "--tag",
        action="append",
        default=[],
        metavar="NAME",
        dest="tags",
        help="make an image of the named specs, or of the environment's roots, with all that they need (repeatable)",
    )
    add_image_options(parser)
    add_json(parser)
    arguments.add_common_arguments(parser, ["jobs"])
    allow_options_anywhere(parser, "arguments")
    parser.set_defaults(run=push)


def push(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.spack.commands import push
    from spack_oci.spack.configuration import mirror_arguments, mirrors

    with messages_apart(args.json):
        mirror_name, spec_args = mirror_arguments.split(args.arguments, "push")
        if args.groups and spec_args:
            tty.die("--group and specs exclude each other")
        mirror, note = mirror_arguments.find(mirror_name, mirrors.PUSH)
        if note:
            tty.info(note)
        reason = push.why_not_writable(mirror) if args.if_writable else None
    if reason is not None:
        push.print_skipped(mirror, reason, args.json)
        return 0
    with messages_apart(args.json):
        request = _request(args, mirror, spec_args)
        result = push.plan(request) if args.dry_run else push.run(request)
        planned = push.planned_images(request) if args.dry_run else []
    if args.dry_run:
        if args.json:
            print_json({**push.plan_document(result), "images": planned})
        else:
            push.print_plan(result)
            for image in planned:
                base = f" on {image['base']}" if image["base"] else ""
                tty.info(f"{image['image']} would be an image of {len(image['packages'])} packages{base}")
        return 0
    if args.digests:
        from spack_oci.maintenance.sign import write_digests

        write_digests(args.digests, push.pushed_references(result))
    if args.json:
        print_json(push.outcome_document(result))
    else:
        push.print_outcome(result)
    return 1 if result.failed else 0


def _request(args: argparse.Namespace, mirror: Any, spec_args: Sequence[str]) -> Any:
    from spack_oci.archive.codec import Compression
    from spack_oci.spack.commands import push
    from spack_oci.spack.configuration import mirror_arguments, mirrors

    return push.Request(
        mirror=mirror,
        roots=push.roots_of_groups(args.groups) if args.groups else push.installed_roots(spec_args),
        package="package" in args.things_to_push,
        dependencies="dependencies" in args.things_to_push,
        build_dependencies=not args.without_build_dependencies,
        force=args.force,
        private=args.private,
        fail_fast=args.fail_fast,
        update_index=args.update_index,
        jobs=args.jobs,
        exclude=args.exclude,
        not_in=mirror_arguments.find(args.not_in, mirrors.FETCH)[0] if args.not_in else None,
        allow_missing=args.allow_missing,
        compression=Compression.parse(args.compression) if args.compression else None,
        image=image_options(args, args.tags),
        signer=_signer(args),
        sbom=args.sbom,
        provenance=args.provenance,
    )


def _signer(args: argparse.Namespace) -> Any:
    """None where nothing is to be signed; then nothing of signing is imported."""
    import spack.config

    if args.unsigned or args.dry_run or (args.sign is None and not spack.config.get("oci:signing")):
        return None
    from spack_oci.spack.configuration import trust

    return trust.signer(ahead=True) if args.sign is None else trust.required_signer(args.sign or None, ahead=True)
