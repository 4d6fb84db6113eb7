# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The `spack oci` command: its sub-commands are the modules beside it, in `subcommands/`."""

import argparse

from .subcommands import SUBCOMMANDS, run

description = "OCI registries and layout directories as binary caches"
section = "packaging"
level = "short"


def setup_parser(subparser: argparse.ArgumentParser) -> None:
    subparsers = subparser.add_subparsers(help="oci sub-commands", dest="oci_command", metavar="SUBCOMMAND")
    subparsers.required = True
    for module in SUBCOMMANDS:
        module.add_parser(subparsers)


def oci(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    return run(args)
