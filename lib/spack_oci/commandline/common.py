# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the sub-commands of `spack oci` and of `spack-oci` share: how they are written and how they print.

Only argparse: both programs import this before they know what they will do.
"""

import argparse
import textwrap
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..util.documents import messages_apart, print_json

__all__ = [
    "DEFAULT_MIRROR_HELP",
    "MIRROR_HELP",
    "add_json",
    "allow_options_anywhere",
    "examples",
    "messages_apart",
    "print_json",
]

MIRROR_HELP = "mirror name, path of a layout directory, or URL (oci://, oci+http://, oci+file://)"
DEFAULT_MIRROR_HELP = f"{MIRROR_HELP}; default: the first OCI mirror, else a layout in Spack's user cache"


def examples(*lines: str, notes: str = "") -> Dict[str, Any]:
    """Keyword arguments of ``add_parser`` that show examples, and a paragraph of notes, below the options."""
    text = "examples:\n" + textwrap.indent("\n".join(lines), "  ")
    if notes:
        text += "\n\n" + textwrap.fill(notes, 100, break_on_hyphens=False)
    return {"epilog": text, "formatter_class": argparse.RawDescriptionHelpFormatter}


def allow_options_anywhere(parser: argparse.ArgumentParser, words: str) -> None:
    """Let options stand between the words of the positional argument ``words``, which takes any number of them.

    By itself argparse gives such an argument what stands before the next option, and calls the rest unrecognized:
    `push MIRROR --tag NAME SPEC` would fail.
    """
    parse = parser.parse_known_args

    def parse_known_args(
        args: Optional[Sequence[str]] = None, namespace: Optional[argparse.Namespace] = None
    ) -> Tuple[argparse.Namespace, List[str]]:
        found, rest = parse(args, namespace)
        late = [word for word in rest if not word.startswith("-")]
        setattr(found, words, [*getattr(found, words), *late])
        return found, [word for word in rest if word.startswith("-")]

    parser.parse_known_args = parse_known_args  # type: ignore


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_no_check_signature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-check-signature",
        action="store_true",
        dest="unsigned",
        help="do not ask for signatures, whatever the policies of oci:trust say",
    )
