# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The two entry points that Spack calls, and what they set in motion.

``spack.config`` is called while Spack builds its configuration, in every Spack process, when
``spack.binary_distribution`` is imported already (checked on 1.0.2, 1.1.0 and 1.3.0.dev0). It is on the path of every
command, so nothing here imports requests, zstandard, elftools or the like, and no failure in here may break a command.
"""

from typing import Any, Optional

from ..errors import ConfigurationError
from .dependencies import warn

#: None: not tried yet
_active: Optional[bool] = None
#: why not, if it is not
_failure = ""


def extension_directory() -> str:
    """Entry point ``spack.extensions``: where Spack finds the ``oci`` command."""
    from ..util.resources import extension_directory as directory

    return directory()


def config_scope() -> Optional[str]:
    """Entry point ``spack.config``: register the ``oci`` section and the hooks.

    Returns no scope directory: Spack puts such a scope above the user's own ones, and takes it for the scope that
    ``spack config add`` writes to. The defaults are a scope of their own at the bottom (``section.push_defaults``).
    """
    activate()
    return None


def activate() -> bool:
    """Register section and hooks, once in this process; False if that failed (Spack is then as it was)."""
    global _active, _failure
    if _active is None:
        try:
            _register()
            _active = True
        except Exception as e:  # a plugin must not break every command of its host
            _active, _failure = False, f"{type(e).__name__}: {e}"
            warn(f"spack-oci is not active: {_failure}")
    return _active


def _register() -> None:
    """All of it or nothing."""
    from . import hooks, section

    hooks.install_hooks()
    try:
        section.push_defaults(ActivateOnUnpickling())
    except BaseException:
        hooks.uninstall_hooks()
        raise


def is_active() -> bool:
    return bool(_active)


def failure() -> str:
    """Why :func:`activate` failed; empty if it did not."""
    return _failure


def require() -> None:
    """Raise ConfigurationError where section and hooks could not be registered."""
    if not activate():
        raise ConfigurationError(
            f"spack-oci is not active in this Spack ({_failure})",
            remedy="use a release of spack-oci that knows this Spack, see `spack oci doctor`",
        )


class ActivateOnUnpickling:
    """What unpickles it has our hooks, see :mod:`.hooks.subprocess_hooks`."""

    def __reduce__(self) -> Any:
        return (_activated, ())


def _activated() -> ActivateOnUnpickling:
    activate()
    return ActivateOnUnpickling()
