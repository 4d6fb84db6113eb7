# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci pin`, `unpin` and `pins`"""

import argparse

from .common import DEFAULT_MIRROR_HELP, MIRROR_HELP, add_json, examples, print_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    pin = subparsers.add_parser(
        "pin",
        help="keep packages of a mirror from being pruned",
        description="Name packages that `spack oci prune` keeps, with all that they need. The pin is in the mirror, so "
        "it holds for everybody.",
        **examples(
            "spack oci pin team paper-2026 --lock spack.lock",
            "spack oci pin team release hdf5@1.14 --until 2027-06-30",
        ),
    )
    pin.add_argument("mirror", help=MIRROR_HELP)
    pin.add_argument("name", help="name of the pin; one of that name is replaced")
    pin.add_argument("specs", nargs="*", default=[], metavar="SPEC", help="packages of the mirror that match")
    pin.add_argument("--lock", metavar="FILE", action="append", default=[], help="what this spack.lock has")
    pin.add_argument("--until", metavar="DATE", help="last day, as 2027-06-30; default: for ever")
    pin.set_defaults(run=add_pin)

    unpin = subparsers.add_parser(
        "unpin", help="remove a pin", description="Remove a pin.", **examples("spack oci unpin team paper-2026")
    )
    unpin.add_argument("mirror", help=MIRROR_HELP)
    unpin.add_argument("name", help="name of the pin")
    unpin.set_defaults(run=remove_pin)

    pins = subparsers.add_parser(
        "pins", help="list the pins of a mirror", description="List pins.", **examples("spack oci pins team")
    )
    pins.add_argument("mirror", nargs="?", help=DEFAULT_MIRROR_HELP)
    add_json(pins)
    pins.set_defaults(run=list_pins)


def add_pin(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import prune as command

    command.add_pin(args)
    return 0


def remove_pin(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import prune as command

    command.remove_pin(args)
    return 0


def list_pins(args: argparse.Namespace) -> int:
    from spack_oci.spack.commands import prune as command

    found = command.find_pins(args.mirror)
    if args.json:
        print_json({"pins": [pin.to_dict() for pin in found]})
    else:
        command.print_pins(found)
    return 0
