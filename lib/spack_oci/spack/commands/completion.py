# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Shell completion and man pages of `spack oci`, made of its parsers.

Spack ships completion scripts that were generated without extensions. Its generators take any parser, so what they make
of ours fits the script of the same Spack. `share/completion` has what those of Spack 1.1 make (`make completion`).
"""

import argparse
import io
import os
import re
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from spack.cmd.commands import BashCompletionWriter, FishCompletionWriter

from ... import __version__
from ...errors import StorageError

#: lets `spack o<TAB>` find the command: Spack's own list of commands does not have it
_BASH_HEADER = """\
# completion of `spack oci`; load it behind Spack's setup-env.sh
if [ -z "${_spack_oci_is_known:-}" ] && typeset -f _spack >/dev/null
then
    _spack_oci_is_known=1
    eval "$(typeset -f _spack | sed '1s/_spack/_spack_without_oci/')"
    _spack() {
        _spack_without_oci
        $list_options || SPACK_COMPREPLY="$SPACK_COMPREPLY oci"
    }
fi
"""
_FISH_HEADER = """\
# completion of `spack oci`; load it behind Spack's setup-env.fish
complete -c spack -n '__fish_spack_using_command_pos 0 ' -f -a oci -d 'OCI registries as binary caches'
"""


class _Bash(BashCompletionWriter):
    def positionals(self, positionals: Sequence[Any]) -> str:
        """The function of Spack's script that completes them, by the name that the help shows."""
        first = positionals[0]  # a name; since 1.2, with choices, number and help
        name, rest = (first, ()) if isinstance(first, str) else (first[0], first[1:])
        known = name.strip("[").lower().replace("registry", "mirror")
        if known.startswith("{"):  # choices, which Spack's own code knows since 1.2
            return f'SPACK_COMPREPLY="{" ".join(sorted(known.strip("{}").split(",")))}"'
        return super().positionals([(known, *rest) if rest else known])


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """``parser``: of `spack oci`; ``shell``: bash, zsh (whose setup of Spack loads bash's completion) or fish."""
    out, last_word = io.StringIO(), parser.prog.split()[-1]
    if shell == "fish":
        FishCompletionWriter(last_word, out, True).write(parser)
        return _FISH_HEADER + out.getvalue()
    _Bash(last_word, out, True).write(parser)
    return _BASH_HEADER + out.getvalue()


def write_man_pages(parser: argparse.ArgumentParser, directory: str) -> List[str]:
    """One page for `spack oci` and one for each sub-command; the paths. Raises StorageError."""
    written = []
    try:
        os.makedirs(directory, exist_ok=True)
        for name, page in man_pages(parser).items():
            written.append(os.path.join(directory, name))
            with open(written[-1], "w", encoding="utf-8") as f:
                f.write(page)
    except OSError as e:
        raise StorageError.from_os_error(f"writing man pages into {directory}", e) from e
    return written


def man_pages(parser: argparse.ArgumentParser) -> Dict[str, str]:
    """File name -> page."""
    return {
        f"{prog.replace(' ', '-')}.1": _page(prog, one, about) for prog, one, about in _tree(parser, parser.prog, "")
    }


def _tree(parser: argparse.ArgumentParser, prog: str, about: str) -> Iterator[Tuple[str, argparse.ArgumentParser, str]]:
    yield prog, parser, about or parser.description or ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            seen = set()
            for name, child in action.choices.items():
                if id(child) not in seen:  # an alias comes after its name
                    seen.add(id(child))
                    yield from _tree(child, f"{prog} {name}", helps.get(name, ""))


def _page(prog: str, parser: argparse.ArgumentParser, about: str) -> str:
    usage = re.sub(r"^usage: ", "", parser.format_usage()).strip()
    lines = [
        f'.TH "{prog.replace(" ", "-").upper()}" 1 "" "spack-oci {__version__}"',
        ".SH NAME",
        f"{_text(prog.replace(' ', '-'))} \\- {_text(about)}",
        ".SH SYNOPSIS",
        ".nf",
        _text(usage),
        ".fi",
    ]
    if parser.description:
        lines += [".SH DESCRIPTION", _text(parser.description)]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if actions:
            lines.append(f".SH {_text((group.title or 'options').upper())}")
            for action in actions:
                lines += _option(action)
    if parser.epilog:
        title, _, rest = parser.epilog.partition(":\n")
        lines += [f".SH {_text(title.upper())}", ".nf", _text(rest), ".fi"]
    return "\n".join(lines) + "\n"


def _option(action: argparse.Action) -> List[str]:
    if isinstance(action, argparse._SubParsersAction):
        return [
            line
            for choice in action._choices_actions
            for line in (".TP", f".B {_text(choice.dest)}", _text(choice.help or ""))
        ]
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    names = ", ".join(action.option_strings) if action.option_strings else metavar
    takes_value = bool(action.option_strings) and action.nargs != 0
    help_text = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
    return [".TP", f".B {_text(names)}" + (f" {_text(metavar)}" if takes_value else ""), _text(help_text)]


def _text(text: str) -> str:
    """Escaped for roff: backslashes, hyphens of options, and lines that would be requests."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)
