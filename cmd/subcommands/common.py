# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What several sub-commands share."""

import argparse
import contextlib
import json
import sys
import textwrap
from typing import Any, ContextManager, Dict

MIRROR_HELP = "mirror name, path of a layout directory, or URL (oci://, oci+http://, oci+file://)"
DEFAULT_MIRROR_HELP = f"{MIRROR_HELP}; default: the first OCI mirror, else a layout in Spack's user cache"


def examples(*lines: str) -> Dict[str, Any]:
    """Keyword arguments of ``add_parser`` that show examples below the options."""
    text = "examples:\n" + textwrap.indent("\n".join(lines), "  ")
    return {"epilog": text, "formatter_class": argparse.RawDescriptionHelpFormatter}


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


def messages_apart(json_wanted: bool) -> ContextManager[Any]:
    """Where standard output is a JSON document, what is told on the way goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr) if json_wanted else contextlib.nullcontext()
