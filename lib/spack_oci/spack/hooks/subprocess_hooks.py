# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Hooks in child processes.

A forked child has them. A child of ``forkserver`` or ``spawn`` gets a pickled configuration from its parent, so the
entry point that installs them is never called there. So an object whose unpickling activates us travels in what Spack
pickles for such a child: in our defaults scope of the configuration (all that the first new installer, of 1.1, sends),
and in the ``GlobalStateMarshaler``, for a configuration that Spack swapped and that lacks the scope.
"""

from typing import Any, Callable

from ..plugin import ActivateOnUnpickling


def remember_hooks(original: Callable, self: Any, *args: Any, **kwargs: Any) -> None:
    """Hook of ``GlobalStateMarshaler.__init__``."""
    original(self, *args, **kwargs)
    self.spack_oci = ActivateOnUnpickling()
