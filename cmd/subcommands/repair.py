# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci repair`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, add_json, examples, messages_apart, print_json
from .verify import LEVELS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "repair",
        help="put right what is wrong with a mirror, where nothing can be lost by it",
        description="Verify a mirror, then: send layers that are gone or damaged from this machine's blob cache, push "
        "packages again that are installed here, leave broken packages out of the index until somebody pushes them, "
        "make the index say what the tags say, remove temporary files of writers that were killed. Nothing that "
        "anybody could still read is deleted. Exit code 1: something is still wrong.",
        **examples(
            "spack oci repair --dry-run mymirror",
            "spack oci repair --level index mymirror     # the index alone, whatever another Spack made of it",
            "spack oci repair --level content mymirror   # every layer is read",
        ),
    )
    parser.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    parser.add_argument("--level", choices=LEVELS, default="blobs", help="how deep to look, as verify (default: blobs)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be done, and do nothing")
    add_json(parser)
    parser.set_defaults(run=repair)


def repair(args: argparse.Namespace) -> int:
    import spack.llnl.util.tty as tty
    from spack_oci.operations.check.findings import Level
    from spack_oci.spack import mirror_arguments, mirrors
    from spack_oci.spack.commands import repair as command

    result = remaining = None
    with messages_apart(args.json):
        mirror, note = mirror_arguments.find(args.mirror, mirrors.PUSH)
        if note:
            tty.info(note)
        request = command.plan(mirror, Level[args.level.upper()])
        if not args.dry_run:
            result = command.execute(request)
            remaining = command.verify_again(request)
    if args.json:
        print_json(command.document(request, result, remaining))
    elif result is None:
        command.print_plan(request)
    else:
        command.print_result(request, result, remaining)
    if result is None:
        return 0
    return 0 if command.is_whole(result, remaining) else 1
