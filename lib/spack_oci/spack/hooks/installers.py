# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Spack's two installers: what an OCI mirror has is installed in bulk, then they install the rest."""

import contextlib
from typing import Any, Callable, Dict, Mapping, Set

from ...util.concurrency.collector import relax_collector
from ..configuration import mirrors
from . import autopush, install, notices, prefetch

#: what ends with the install of a classic installer, by the id of that
_classic: Dict[int, contextlib.ExitStack] = {}


def run_command(original: Callable, parser: Any, args: Any) -> Any:
    """Hook of `spack install`."""
    if mirrors.configured(mirrors.FETCH):
        relax_collector()
    return original(parser, args)


def run_installer(original: Callable, self: Any) -> Any:
    """Hook of ``PackageInstaller.install``, of both installers."""
    install.absent.clear()
    with contextlib.ExitStack() as stack:
        stack.enter_context(autopush.failures_told_at_the_end())
        stack.enter_context(install.cache_only(_is_cache_only(self)))
        if _is_classic(self):
            _classic[id(self)] = stack
            stack.callback(_classic.pop, id(self))
        else:
            from ..bulk import new

            stack.enter_context(new.shortened_graph(self))
            stack.enter_context(prefetch.prefetching_for(self))
        try:
            return original(self)
        finally:
            notices.print_waiting()


def init_queue(original: Callable, self: Any) -> None:
    """Hook of ``PackageInstaller._init_queue`` of the classic installer, which decides here what it is going to do."""
    from ..bulk import classic

    original(self)
    classic.shorten_queue(self)
    if id(self) in _classic:
        _classic[id(self)].enter_context(prefetch.prefetching_for(self))


def _is_classic(installer: Any) -> bool:
    return hasattr(installer, "build_requests")


def _is_cache_only(installer: Any) -> bool:
    """Whether `--cache-only` or the like was given, for roots and dependencies."""
    if not _is_classic(installer):  # the new installer of 1.1 has no such option
        return _policies(vars(installer)) == {"cache_only"}
    requests = installer.build_requests
    return bool(requests) and all(
        _policies(r.install_args) == {"cache_only"}
        or (r.install_args.get("package_cache_only") and r.install_args.get("dependencies_cache_only"))  # until 1.1
        for r in requests
    )


def _policies(options: Mapping[str, Any]) -> Set[str]:
    """What Spack 1.2 and later have of an install: auto, cache_only or source_only, for roots and dependencies."""
    return {options.get(name, "auto") for name in ("root_policy", "dependencies_policy")}
