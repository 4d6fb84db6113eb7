# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the sub-commands of `spack oci` and of `spack-oci` share: how they are written and how they print.

Only argparse: both programs import this before they know what they will do.
"""

import argparse
import textwrap
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..util.documents import messages_apart, print_json
from ..util.text import similar

__all__ = [
    "DEFAULT_MIRROR_HELP",
    "MIRROR_HELP",
    "add_json",
    "allow_options_anywhere",
    "examples",
    "explain_mistakes",
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


def explain_mistakes(parser: argparse.ArgumentParser) -> None:
    """Have a parser, and those of its sub-commands, say what a mistyped word, choice or option may have meant.

    Called last: what other functions have made of a parser stays. An option that is unknown is an error of the
    sub-command, with its usage; by itself argparse has the main program say it, and Spack's says no more.
    """
    check, parse = parser._check_value, parser.parse_known_args

    def check_value(action: argparse.Action, value: Any) -> None:
        try:
            check(action, value)
        except argparse.ArgumentError as e:
            meant = similar(str(value), map(str, action.choices or ()), 2)
            if not meant:
                raise
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}: did you mean {meant}?") from e

    def parse_known_args(
        args: Optional[Sequence[str]] = None, namespace: Optional[argparse.Namespace] = None
    ) -> Tuple[argparse.Namespace, List[str]]:
        found, rest = parse(args, namespace)
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}: {_meant_by(rest, parser)}")
        return found, rest

    parser._check_value = check_value  # type: ignore
    parser.parse_known_args = parse_known_args  # type: ignore
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        for nested in dict.fromkeys((action.choices or {}).values()):  # type: ignore
            if nested is not None:  # not made yet
                explain_mistakes(nested)


def _meant_by(rest: Sequence[str], parser: argparse.ArgumentParser) -> str:
    options = [option for action in parser._actions for option in action.option_strings]
    meant = next(filter(None, (similar(word.partition("=")[0], options, 2) for word in rest if word[:1] == "-")), "")
    return f"did you mean {meant}?" if meant else f"`{parser.prog} --help` shows what there is"


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_no_check_signature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-check-signature",
        action="store_true",
        dest="unsigned",
        help="do not ask for signatures, whatever the policies of oci:trust say",
    )
