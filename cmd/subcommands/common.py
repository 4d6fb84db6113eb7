# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What several sub-commands share."""

import argparse
import contextlib
import sys
import textwrap
from typing import Any, ContextManager, Dict, List, Mapping, Optional, Sequence, Tuple

MIRROR_HELP = "mirror name, path of a layout directory, or URL (oci://, oci+http://, oci+file://)"
DEFAULT_MIRROR_HELP = f"{MIRROR_HELP}; default: the first OCI mirror, else a layout in Spack's user cache"


def examples(*lines: str) -> Dict[str, Any]:
    """Keyword arguments of ``add_parser`` that show examples below the options."""
    text = "examples:\n" + textwrap.indent("\n".join(lines), "  ")
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

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def print_json(document: Mapping[str, Any]) -> None:
    from spack_oci.spack.output import print_json

    print_json(document)


def messages_apart(json_wanted: bool) -> ContextManager[Any]:
    """Where standard output is a JSON document, what is told on the way goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr) if json_wanted else contextlib.nullcontext()
