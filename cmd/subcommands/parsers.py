# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Sub-commands whose parsers are made when they are asked for: all of them at once cost each command 0.1 s."""

import argparse
import importlib
from typing import Any, Dict, List, Mapping, Optional, Sequence

#: module -> names of its sub-commands and their aliases, in the order of `spack oci --help`
SUBCOMMANDS: Mapping[str, Sequence[str]] = {
    "push": ["push", "create"],
    "install": ["install"],
    "fetch": ["fetch"],
    "update_index": ["update-index", "rebuild-index"],
    "list": ["list"],
    "show": ["show"],
    "catalog": ["catalog"],
    "copy": ["copy", "sync"],
    "prune": ["prune"],
    "pins": ["pin", "unpin", "pins"],
    "snapshot": ["snapshot", "snapshots"],
    "du": ["du"],
    "export": ["export"],
    "sign": ["sign"],
    "verify": ["verify"],
    "repair": ["repair"],
    "key": ["key"],
    "trust": ["trust"],
    "login": ["login"],
    "logout": ["logout"],
    "doctor": ["doctor"],
    "clean": ["clean"],
    "completion": ["completion"],
}


class Subcommands(argparse._SubParsersAction):
    """The action for ``add_subparsers``. Whoever lists the sub-commands (a help text, a completion) gets them all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: set by argparse to an empty list
        self._listed: Optional[List[argparse.Action]] = None
        super().__init__(*args, **kwargs)
        self._name_parser_map = self.choices = _Parsers(self)

    @property
    def _choices_actions(self) -> List[argparse.Action]:
        if not self._listed:
            every = self.made(list(SUBCOMMANDS))
            self._name_parser_map.update(every._name_parser_map)
            self._listed = every._choices_actions
        return self._listed

    @_choices_actions.setter
    def _choices_actions(self, value: List[argparse.Action]) -> None:
        self._listed = value

    def made(self, modules: Sequence[str]) -> argparse._SubParsersAction:
        """The parsers of these modules."""
        from spack_oci.commandline.common import explain_mistakes

        made = argparse._SubParsersAction([], prog=self._prog_prefix, parser_class=self._parser_class)
        for module in modules:
            importlib.import_module(f".{module}", __package__).add_parser(made)
        for parser in dict.fromkeys(made.choices.values()):
            explain_mistakes(parser)
        return made


class _Parsers(Dict[str, Any]):
    """Name -> parser, made with the others of its module when it is looked up."""

    def __init__(self, action: Subcommands) -> None:
        super().__init__({name: None for names in SUBCOMMANDS.values() for name in names})
        self._action = action

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            module = next(module for module, names in SUBCOMMANDS.items() if name in names)
            self.update(self._action.made([module])._name_parser_map)
        return super().__getitem__(name)

    def items(self) -> Any:
        return [(name, self[name]) for name in self]
