# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Do something to a module when, and only when, it is imported.

Spack's installers are large and most commands do not need them; importing them for the sake of a hook would slow down
every command.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence

Action = Callable[[Any], None]


class _Watcher(importlib.abc.MetaPathFinder):
    """Stands first in ``sys.meta_path``; lets the others find the module and runs the actions after its code."""

    def __init__(self) -> None:
        self.actions: Dict[str, List[Action]] = {}

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Any = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        actions = self.actions.pop(fullname, None)
        if actions is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            for action in actions:
                action(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_watcher = _Watcher()


def after_import(name: str, action: Action) -> None:
    """Call ``action(module)`` as soon as the module ``name`` is imported: now, if it is already."""
    module = sys.modules.get(name)
    if module is not None:
        action(module)
        return
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)
    _watcher.actions.setdefault(name, []).append(action)


def forget_actions() -> None:
    """Watch for no module any more."""
    _watcher.actions.clear()
    if _watcher in sys.meta_path:
        sys.meta_path.remove(_watcher)
