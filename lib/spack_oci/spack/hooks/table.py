# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The one table of everything that spack-oci replaces inside Spack, and the code that installs it.

A hook is installed only where its target exists with the parameters that the replacement was written for. Any other is
named in one warning and in ``spack oci doctor``, and Spack's own code stays. The replacements are resolved when they
are first called, so that a Spack command that touches no OCI mirror imports nothing of the library.
"""

import functools
import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ...errors import SpackOciError
from ...reference import SCHEMES
from .after_import import after_import


@dataclass(frozen=True)
class Hook:
    """One function of Spack and its replacement.

    ``targets``: ``module:attribute`` where Spack looks the function up; the first that exists is taken (classes were
    renamed between releases). ``signatures``: accepted tuples of parameter names. ``replacement``:
    ``module:function`` below ``spack_oci.spack``; it is called with the original function first. ``later``: the module
    is not imported for the sake of the hook, which is installed when a command imports it.
    """

    purpose: str
    targets: Sequence[str]
    signatures: Sequence[Tuple[str, ...]]
    replacement: str
    later: bool = False


_BINARY = "spack.binary_distribution"

HOOKS: Sequence[Hook] = (
    Hook(
        "fetch a package",
        [f"{_BINARY}:download_tarball"],
        [("spec", "unsigned", "mirrors_for_spec")],
        "hooks.install:download_tarball",
    ),
    Hook(
        "extract and relocate a package",
        [f"{_BINARY}:extract_tarball"],
        [("spec", "tarball_stage", "force", "timer")],
        "hooks.install:extract_tarball",
    ),
    Hook(
        "push (spack buildcache push, autopush, spack ci)",
        [f"{_BINARY}:make_uploader"],
        [("mirror", "force", "update_index", "signing_key", "base_image")],
        "hooks.uploader:make_uploader",
    ),
    Hook(
        "fetch an index",
        [f"{_BINARY}:BinaryIndexCache._fetch_and_cache_index", f"{_BINARY}:BinaryCacheIndex._fetch_and_cache_index"],
        [("self", "mirror_metadata", "cache_entry"), ("self", "url_and_version", "cache_entry")],
        "indexes:fetch_and_cache_index",
    ),
    Hook(
        "update an index",
        [f"{_BINARY}:_oci_update_index"],
        [("image_ref", "tmpdir", "pool")],
        "indexes:oci_update_index",
    ),
    Hook(
        "look for a package that no index has",
        [f"{_BINARY}:try_direct_fetch"],
        [("spec",), ("spec", "mirrors")],
        "hooks.install:try_direct_fetch",
    ),
    Hook(
        "know the image of a mirror",
        ["spack.oci.oci:image_from_mirror"],
        [("mirror",)],
        "mirrors:image_from_mirror",
    ),
    Hook(
        "not look for the layout of a mirror of files",
        ["spack.cmd.buildcache:check_mirror_for_layout"],
        [("mirror",)],
        "mirrors:check_mirror_for_layout",
        later=True,
    ),
    *(
        Hook(
            f"fetch ahead of the {which} installer",
            [f"spack.{module}:PackageInstaller.install"],
            [("self",)],
            "hooks.prefetch:run_installer",
            later=True,
        )
        for which, module in (("classic", "installer"), ("new", "new_installer"))
    ),
    Hook(
        "tell what children of the new installer have to tell",
        ["spack.new_installer:install_from_buildcache"],
        [("mirrors", "spec", "unsigned", "state_stream")],
        "hooks.notices:install_from_buildcache",
        later=True,
    ),
    Hook(
        "print what they have told",
        ["spack.new_installer:BuildStatus.update_state"],
        [("self", "build_id", "state")],
        "hooks.notices:update_state",
        later=True,
    ),
    Hook(
        "set permissions of what was installed",
        ["spack.hooks.permissions_setters:post_install"],
        [("spec", "explicit")],
        "hooks.permissions:post_install",
        later=True,
    ),
    Hook(
        "write the database of the store",
        ["spack.util.spack_json:dump"],
        [("data", "stream"), ("data", "stream", "pretty")],
        "hooks.json_writer:dump",
    ),
    Hook(
        "remove the short names of an uninstalled package",
        ["spack.hooks.module_file_generation:post_uninstall"],
        [("spec",)],
        "hooks.install:after_uninstall",
        later=True,
    ),
    Hook(
        "carry the hooks to child processes that are not forked",
        ["spack.subprocess_context:GlobalStateMarshaler.__init__"],
        [("self",), ("self", "ctx", "serialize_env")],
        "hooks.subprocess_hooks:remember_hooks",
    ),
)


@dataclass(frozen=True)
class HookStatus:
    hook: Hook
    installed: bool
    #: why it is not installed; empty otherwise
    reason: str


_statuses: List[HookStatus] = []


def statuses() -> List[HookStatus]:
    """One status for each hook of the table, in its order; empty before :func:`install_hooks`."""
    return list(_statuses)


def install_hooks() -> None:
    """Install every hook that fits this Spack; name those that do not in one warning."""
    if _statuses:
        return
    _teach_url_schemes()
    _statuses.extend(_install(hook) for hook in HOOKS)
    _warn_of([s for s in _statuses if not s.installed])


def _warn_of(refused: Sequence[HookStatus]) -> None:
    if refused:
        from ..plugin import _warn

        _warn(
            "spack-oci leaves these functions of Spack as they are: "
            + "; ".join(f"{s.hook.targets[0].partition(':')[2]} ({s.reason})" for s in refused)
        )


def _install(hook: Hook) -> HookStatus:
    if hook.later:
        after_import(hook.targets[0].partition(":")[0], lambda module: _install_in(hook))
        return HookStatus(hook, True, "")
    return _install_now(hook)


def _install_in(hook: Hook) -> None:
    """The module of a hook was imported just now."""
    status = _install_now(hook)
    if not status.installed:
        _statuses[:] = [status if s.hook is hook else s for s in _statuses]
        _warn_of([status])


def _install_now(hook: Hook) -> HookStatus:
    owner, name, original = _find(hook.targets)
    if original is None:
        return HookStatus(hook, False, "not in this Spack")
    found = tuple(inspect.signature(original).parameters)
    if found not in hook.signatures:
        return HookStatus(hook, False, f"unknown parameters ({', '.join(found)})")
    setattr(owner, name, _replacement(hook, original))
    return HookStatus(hook, True, "")


def _find(targets: Sequence[str]) -> Tuple[Any, str, Optional[Callable]]:
    for target in targets:
        module_name, _, path = target.partition(":")
        try:
            owner: Any = importlib.import_module(module_name)
        except ImportError:
            continue
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent, None)
        function = getattr(owner, name, None)
        if callable(function):
            return owner, name, function
    return None, "", None


def _replacement(hook: Hook, original: Callable) -> Callable:
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        function = _resolve(hook.replacement) if enabled() else None
        if function is None:
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
    """``oci:hooks:enabled``."""
    import spack.config

    return bool(spack.config.get("oci:hooks:enabled", True))


_resolved: Dict[str, Optional[Callable]] = {}


def _resolve(replacement: str) -> Optional[Callable]:
    """The function behind ``module:function``; None, with one warning, when a dependency is missing."""
    if replacement not in _resolved:
        module_name, _, name = replacement.partition(":")
        try:
            module = importlib.import_module(f"spack_oci.spack.{module_name}")
            _resolved[replacement] = getattr(module, name)
        except ImportError as e:
            from ..plugin import _warn, missing_dependencies, pip_command

            missing = missing_dependencies()
            if missing:
                _warn(f"spack-oci cannot work without {', '.join(missing)}: run {pip_command(missing)}")
            else:
                _warn(f"spack-oci does not work with this Spack, whose own code is used: {e}")
            _resolved.update({hook.replacement: None for hook in HOOKS})
    return _resolved.get(replacement)


def _as_spack_error(error: SpackOciError) -> Exception:
    from ..compat import OciError

    return OciError(error)


def _teach_url_schemes() -> None:
    """Let Spack's mirrors take all three URL schemes for OCI.

    ``is_oci_url`` is imported by name into ``spack.mirrors.mirror`` since 1.2; 1.0 has none.
    """
    import spack.mirrors.mirror as mirror_module
    import spack.oci.image

    schemes = mirror_module.supported_url_schemes
    mirror_module.supported_url_schemes = (*schemes, *(s for s in SCHEMES if s not in schemes))

    for module in (spack.oci.image, mirror_module):
        known = getattr(module, "is_oci_url", None)
        if known is not None:
            module.is_oci_url = _any_scheme(known)
    if not hasattr(mirror_module, "is_oci_url"):
        _mirrors_without_signatures(mirror_module.Mirror)


def _any_scheme(known: Callable[[str], bool]) -> Callable[[str], bool]:
    @functools.wraps(known)
    def is_oci_url(url: str) -> bool:
        return known(url) or url.startswith("oci+file://")

    return is_oci_url


def _mirrors_without_signatures(mirror_class: Any) -> None:
    """As 1.2 does: an OCI mirror is no signed mirror, so that autopush does not ask for a GPG key (1.0, 1.1)."""
    signed = mirror_class.signed.fget

    def is_signed(self: Any) -> bool:
        return self.fetch_url.partition("://")[0] not in SCHEMES and signed(self)

    mirror_class.signed = property(is_signed, doc=signed.__doc__)


def modules_imported() -> List[str]:
    """Our modules that this process has imported (the start-up test looks at it)."""
    return sorted(name for name in sys.modules if name.startswith("spack_oci"))
