# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Installs the table of hooks: all of what fits this Spack, or, after a failure, nothing.

A hook is installed only where its target exists in the form that the replacement was written for. Any other is named in
one warning and in ``spack oci doctor``, and Spack's own code stays. The replacements are resolved when they are first
called, so that a Spack command that touches no OCI mirror imports nothing of the library.
"""

import functools
import importlib
import inspect
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import SpackOciError
from ..dependencies import missing_dependencies, pip_command, warn
from .after_import import after_import, forget_actions
from .table import ADDITION, EXTENSION, HOOKS, PROPERTY, Hook

#: what became of a hook: installed; waits until a command imports its module; its target is not as expected; this
#: release of Spack needs it not or not yet
ACTIVE, PENDING, REFUSED, NOT_NEEDED = "active", "pending", "refused", "not needed"


class HookStatus(NamedTuple):
    hook: Hook
    state: str
    #: why it is refused; empty otherwise
    reason: str = ""


class _Misfit(Exception):
    """The target of a hook is missing or of another form; says how."""


_statuses: List[HookStatus] = []
#: put back what was there, in the order of the installation
_undo: List[Callable[[], Any]] = []


def statuses() -> List[HookStatus]:
    """One status for each hook of the table, in its order; empty before :func:`install_hooks`."""
    return list(_statuses)


def checked_statuses() -> List[HookStatus]:
    """As :func:`statuses`, after the modules that hooks wait for were imported: so none is pending."""
    for status in statuses():
        if status.state == PENDING:
            name = _module_of(status.hook)
            try:
                importlib.import_module(name)
            except ImportError as e:
                _replace(HookStatus(status.hook, REFUSED, f"cannot import {name}: {e}"))
    return statuses()


def install_hooks() -> None:
    """Install every hook that fits this Spack; name those that do not in one warning.

    Raises whatever goes wrong beyond that, when Spack is as it was again.
    """
    if _statuses:
        return
    version = _spack_version()
    made: List[HookStatus] = []
    try:
        for hook in HOOKS:
            made.append(_install(hook) if hook.is_for(version) else HookStatus(hook, NOT_NEEDED))
            if hook.required and made[-1].state == REFUSED:
                raise _Misfit(f"{hook.targets[0]}: {made[-1].reason}")
    except BaseException:
        uninstall_hooks()
        raise
    _statuses.extend(made)
    _warn_of([s for s in made if s.state == REFUSED])


def _spack_version() -> Tuple[int, int]:
    import spack

    return spack.spack_version_info[0], spack.spack_version_info[1]


def uninstall_hooks() -> None:
    """Put back what was there."""
    forget_actions()
    _statuses.clear()
    while _undo:
        _undo.pop()()


def _warn_of(refused: Sequence[HookStatus]) -> None:
    if refused:
        warn(
            "spack-oci leaves these functions of Spack as they are: "
            + "; ".join(f"{s.hook.targets[0].partition(':')[2]} ({s.reason})" for s in refused)
        )


def _module_of(hook: Hook) -> str:
    return hook.targets[0].partition(":")[0]


def _install(hook: Hook) -> HookStatus:
    name = _module_of(hook)
    if hook.later and name not in sys.modules:
        after_import(name, lambda module: _install_in_imported(hook))
        return HookStatus(hook, PENDING)
    return _install_now(hook)


def _install_in_imported(hook: Hook) -> None:
    """The module of a pending hook was imported just now."""
    status = _install_now(hook)
    _replace(status)
    _warn_of([status] if status.state == REFUSED else [])


def _replace(status: HookStatus) -> None:
    _statuses[:] = [status if s.hook is status.hook else s for s in _statuses]


def _install_now(hook: Hook) -> HookStatus:
    try:
        if hook.kind == EXTENSION:
            _extend(hook)
        elif hook.kind == ADDITION:
            _add(hook)
        else:
            _wrap(hook)
    except _Misfit as e:
        if hook.verifies:
            _refuse_instead(hook)
        return HookStatus(hook, REFUSED, str(e))
    return HookStatus(hook, ACTIVE)


def _refuse_instead(hook: Hook) -> None:
    try:
        owner, name, found = _find(hook)
    except _Misfit:
        return
    if callable(found):
        from .unverified import refusing  # hardly ever needed, and this is imported by every command

        _set(owner, name, refusing(found, enabled))


def _wrap(hook: Hook) -> None:
    """Put a wrapper in the place of a function, or of a property's getter."""
    owner, name, found = _find(hook)
    original = getattr(found, "fget", None) if hook.kind == PROPERTY else found
    if not callable(original):
        raise _Misfit(f"is no {hook.kind}")
    parameters = tuple(inspect.signature(original).parameters)
    if parameters not in hook.signatures:
        raise _Misfit(f"unknown parameters ({', '.join(parameters)})")
    wrapper: Any = _replacement(hook, original)
    if hook.kind == PROPERTY:
        wrapper = property(wrapper, found.fset, found.fdel, found.__doc__)
    _set(owner, name, wrapper)


def _extend(hook: Hook) -> None:
    """Give a constant more elements: a dictionary keeps its identity, since other modules may have it by name."""
    owner, name, found = _find(hook)
    if not isinstance(found, (dict, tuple)):
        raise _Misfit("is no tuple or dictionary")
    more = _load(hook.replacement)()
    if isinstance(found, dict):
        added = [key for key in more if key not in found]
        _undo.append(lambda: [found.pop(key, None) for key in added])
        found.update({key: more[key] for key in added})
    else:
        _set(owner, name, (*found, *(element for element in more if element not in found)))


def _add(hook: Hook) -> None:
    """Give a module an attribute that it has not."""
    module_name, _, name = hook.targets[0].partition(":")
    owner = importlib.import_module(module_name)
    if hasattr(owner, name):
        raise _Misfit("exists already")
    setattr(owner, name, _load(hook.replacement)())
    _undo.append(lambda: delattr(owner, name))


def _set(owner: Any, name: str, value: Any) -> None:
    before = vars(owner)[name] if name in vars(owner) else getattr(owner, name)
    _undo.append(lambda: setattr(owner, name, before))
    setattr(owner, name, value)


def _find(hook: Hook) -> Tuple[Any, str, Any]:
    """(what holds it, its name there, itself) of the first target that exists. Raises _Misfit."""
    for target in hook.targets:
        module_name, _, path = target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
        except ImportError:
            continue
        owner, name = found, ""
        for name in path.split("."):
            owner = found
            found = owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)
        if found is not None:
            return owner, name, found
    raise _Misfit("not in this Spack")


def _replacement(hook: Hook, original: Callable) -> Callable:
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        wanted = hook.always or enabled()
        function = _resolve(hook.replacement) if wanted else None
        if function is None:
            if wanted and hook.verifies:
                from .unverified import refuse_unverified

                refuse_unverified()
            return original(*args, **kwargs)
        try:
            return function(original, *args, **kwargs)
        except SpackOciError as e:
            raise _as_spack_error(e) from e

    replaced.__spack_oci_original__ = original  # type: ignore[attr-defined]
    return replaced


def original_of(function: Callable) -> Callable:
    """Spack's own function behind a hook."""
    return getattr(function, "__spack_oci_original__", function)


def enabled() -> bool:
    """``oci:hooks:enabled``; False where there is no configuration, so that Spack does what it does by itself.

    Raises Spack's own error for a configuration that is wrong.
    """
    import spack.config
    import spack.error

    try:
        return bool(spack.config.get("oci:hooks:enabled", True))
    except spack.error.SpackError:
        raise
    except Exception:  # Spack's own tests take the configuration away
        return False


_resolved: Dict[str, Optional[Callable]] = {}


def _load(replacement: str) -> Callable:
    module_name, _, name = replacement.partition(":")
    return getattr(importlib.import_module(f"spack_oci.spack.{module_name}"), name)


def _resolve(replacement: str) -> Optional[Callable]:
    """The function behind ``module:function``; None, with one warning, when a dependency is missing."""
    if replacement not in _resolved:
        try:
            _resolved[replacement] = _load(replacement)
        except ImportError as e:
            missing = missing_dependencies()
            if missing:
                warn(f"spack-oci cannot work without {', '.join(missing)}: run {pip_command(missing)}")
            else:
                warn(f"spack-oci does not work with this Spack, whose own code is used: {e}")
            _resolved.update({hook.replacement: None for hook in HOOKS})
    return _resolved.get(replacement)


def _as_spack_error(error: SpackOciError) -> Exception:
    from ..compat import OciError

    return OciError(error)
