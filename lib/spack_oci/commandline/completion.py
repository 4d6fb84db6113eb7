# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Shell completion of a program with sub-commands, made of its parser: their names, their options, the values that an
option can have, and files for the rest. (That of `spack oci` is made by Spack's own generators, which extend Spack's.)
"""

import argparse
import re
from typing import Dict, Iterator, List, Tuple

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
# completion of {program}, made by `{program} completion {shell}`
{setup}_{function}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" word command="" options values
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case "$word" in -*) ;; *) command="$word"; break ;; esac
    done
    COMPREPLY=()
    if [ -z "$command" ]; then
        COMPREPLY=($(compgen -W "{words}" -- "$current"))
        return
    fi
    case "$command $previous" in
{values}
        *) values="" ;;
    esac
    if [ -n "$values" ]; then
        COMPREPLY=($(compgen -W "$values" -- "$current"))
        return
    fi
    case "$command" in
{options}
        *) options="" ;;
    esac
    case "$current" in -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;; esac
}}
complete -o default -F _{function} {program}
"""

#: zsh runs what is made for bash
_ZSH_SETUP = """\
(( $+functions[compdef] )) || { autoload -U compinit && compinit; }
autoload -U bashcompinit && bashcompinit
"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """``shell``: bash, zsh or fish."""
    if shell == "fish":
        return "\n".join(_fish(parser)) + "\n"
    commands = _commands(parser)
    values = [
        f'        "{name} {option}") values="{" ".join(map(str, action.choices or ()))}" ;;'
        for name, (sub, _) in commands.items()
        for action in _options(sub)
        if action.choices
        for option in action.option_strings
    ]
    values += [
        f'        "{name} {name}") values="{" ".join(map(str, action.choices))}" ;;'
        for name, (sub, _) in commands.items()
        for action in sub._get_positional_actions()[:1]
        if action.choices
    ]
    return _BASH.format(
        program=parser.prog,
        function=re.sub(r"\W", "_", parser.prog),
        shell=shell,
        setup="" if shell == "bash" else _ZSH_SETUP,
        words=" ".join([*commands, *_names(parser)]),
        values="\n".join(values),
        options="\n".join(
            f'        {name}) options="{" ".join(_names(sub))}" ;;' for name, (sub, _) in commands.items()
        ),
    )


def _fish(parser: argparse.ArgumentParser) -> Iterator[str]:
    program = parser.prog
    yield f"# completion of {program}, made by `{program} completion fish`"
    for name, (sub, about) in _commands(parser).items():
        yield f"complete -c {program} -n __fish_use_subcommand -f -a {name} -d {_quoted(about)}"
        condition = f"-n '__fish_seen_subcommand_from {name}'"
        for action in sub._get_positional_actions()[:1]:
            if action.choices:
                yield f"complete -c {program} {condition} -f -a {_quoted(' '.join(map(str, action.choices)))}"
        for action in _options(sub):
            names = [f"-l {o[2:]}" if o.startswith("--") else f"-s {o[1:]}" for o in action.option_strings]
            value = "" if action.nargs == 0 else " -r"
            if action.choices:
                value = f" -x -a {_quoted(' '.join(map(str, action.choices)))}"
            help_text = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
            yield f"complete -c {program} {condition} {' '.join(names)}{value} -d {_quoted(help_text)}"


def _commands(parser: argparse.ArgumentParser) -> Dict[str, Tuple[argparse.ArgumentParser, str]]:
    """Name -> parser and help; aliases too."""
    found: Dict[str, Tuple[argparse.ArgumentParser, str]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            about = ""
            for name, sub in action.choices.items():
                about = helps.get(name, about)  # an alias comes after its name
                found[name] = (sub, about)
    return found


def _options(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    return [a for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS]


def _names(parser: argparse.ArgumentParser) -> List[str]:
    return [name for action in _options(parser) for name in action.option_strings]


def _quoted(text: str) -> str:
    """For fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
