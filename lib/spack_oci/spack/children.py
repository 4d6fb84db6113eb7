# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Hooks in child processes.

A forked child has them. A child of ``forkserver`` or ``spawn`` gets a pickled configuration from its parent, so the
entry point that installs them is never called there. Spack pickles a ``GlobalStateMarshaler`` for every such child;
we put an object into it whose unpickling activates us.
"""

from typing import Any, Callable

from . import plugin


class _ActivateOnUnpickling:
    def __reduce__(self) -> Any:
        return (_activated, ())


def _activated() -> _ActivateOnUnpickling:
    plugin.activate()
    return _ActivateOnUnpickling()


def remember_hooks(original: Callable, self: Any, *args: Any, **kwargs: Any) -> None:
    """Hook of ``GlobalStateMarshaler.__init__``."""
    original(self, *args, **kwargs)
    self.spack_oci = _ActivateOnUnpickling()
