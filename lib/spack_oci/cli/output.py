# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a user sees: results on standard output, all else on standard error."""

import os
import re
import sys
from typing import TYPE_CHECKING, Callable, Sequence

if TYPE_CHECKING:
    from ..util.progress import Reporter

_COLORS = {"==>": "\033[1;34m", "Warning:": "\033[1;33m", "Error:": "\033[1;31m"}


def _head(word: str) -> str:
    # https://no-color.org
    is_plain = not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return word if is_plain else f"{_COLORS[word]}{word}\033[0m"


#: how the library says which setting of a registry to change (`set_command`)
_SET = re.compile(
    r"""`spack config add "oci:registries:(\{')?(?P<host>[^'"]+?)(?(1)': \{|:)"""
    r"""(?P<key>\w+): ?(?P<value>[^"]+?)(?(1)\}\})"`"""
)


def _as_setting(found: "re.Match[str]") -> str:
    """The same for the file of settings."""
    import json  # every start imports this module

    value = found["value"]
    try:
        value = json.loads(value)
    except ValueError:  # a text
        pass
    setting = json.dumps({"registries": {found["host"]: {found["key"]: value}}})
    path = os.environ.get("SPACK_OCI_CONFIG") or "~/.config/spack-oci/config.json"
    return f"put `{setting}` into {path}"


def _say(head: str, message: str, lines: Sequence[str] = ()) -> None:
    """What the library advises is named as this program has it."""
    text = "\n    ".join([message, *lines]).replace("`spack oci ", "`spack-oci ")
    text = _SET.sub(_as_setting, text)
    print(f"{_head(head)} {text}", file=sys.stderr, flush=True)


def info(message: str) -> None:
    _say("==>", message)


def warn(message: str, *lines: str) -> None:
    """``lines``: more of it, indented."""
    _say("Warning:", message, lines)


def error(message: str, *lines: str) -> None:
    _say("Error:", message, lines)


def reporter(line: Callable[[str], None] = info) -> "Reporter":
    """For long work: a live display on a terminal, lines that ``line`` prints in a log, nothing with ``--json``."""
    from ..util.progress import reporter_for

    return reporter_for(sys.stdout, line, warn)
