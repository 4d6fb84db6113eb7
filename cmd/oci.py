# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The `spack oci` command: its sub-commands are the modules beside it, in `subcommands/`.

They are imported when the command is used: `spack help` imports this module for its description.
"""

import argparse
from typing import Any

description = "OCI registries and layout directories as binary caches"
section = "packaging"
level = "short"


class _Version(argparse.Action):
    """As `action="version"`; the version is imported when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        from spack_oci import __version__

        print(f"spack-oci {__version__}")
        parser.exit()


def setup_parser(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument("--version", action=_Version, nargs=0, help="show the version of spack-oci and exit")
    subparser.set_defaults(oci_parser=subparser)
    from .subcommands.parsers import Subcommands

    subparsers = subparser.add_subparsers(
        action=Subcommands, help="oci sub-commands", dest="oci_command", metavar="SUBCOMMAND"
    )
    subparsers.required = True
    _explain_mistakes(subparser)


def _explain_mistakes(parser: argparse.ArgumentParser) -> None:
    """When the command is used."""
    parse = parser.parse_known_args

    def parse_known_args(*args: Any, **kwargs: Any) -> Any:
        from spack_oci.commandline.common import explain_mistakes

        parser.parse_known_args = parse  # type: ignore
        explain_mistakes(parser)
        return parser.parse_known_args(*args, **kwargs)

    parser.parse_known_args = parse_known_args  # type: ignore


def oci(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from .subcommands import run

    return run(args)
