# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci doctor``: everything that decides whether mirrors work, and where it comes from."""

import platform
import sys
from typing import Dict, List, Optional, Sequence

import spack
import spack.mirrors.mirror

from ... import __version__
from ...configuration.checks import check_cache, check_codecs, print_reports
from ...errors import NotFound, SpackOciError
from ...registry.probe import FAIL, OK, SKIP, WARN, Check
from ...util.text import counted
from .. import dependencies, hooks, plugin
from ..configuration import mirror_arguments, mirrors
from ..configuration.credentials import mirror_credentials

_MARKS = {OK: "ok", WARN: "warn", FAIL: "FAIL", SKIP: "-"}


def examine(names: Sequence[str], as_json: bool) -> int:
    """Check the named mirrors, or all that are configured, and print what was found. Exit code 1: something fails."""
    reports: Dict[str, List[Check]] = {"spack-oci": environment()}
    for mirror in _mirrors(names):
        reports[_title(mirror)] = check_mirror(mirror)
    return print_reports(reports, as_json)


def _title(mirror: "spack.mirrors.mirror.Mirror") -> str:
    """The name of a configured mirror, the URL of another; Spack calls that one ``<unnamed>``."""
    return mirror.fetch_url if mirror.name.startswith("<") else mirror.name


def _mirrors(names: Sequence[str]) -> List["spack.mirrors.mirror.Mirror"]:
    if names:
        return [mirror_arguments.find(name, mirrors.FETCH)[0] for name in names]
    return mirrors.in_use()


def environment() -> List[Check]:
    """Versions, hooks, codecs: what is the same for all mirrors."""
    where = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    return [
        Check("versions", OK, f"spack-oci {__version__}, Spack {spack.spack_version}, {where}"),
        _hooks(),
        check_codecs(dependencies.pip_command(["isal"])),
    ]


def _hooks() -> Check:
    if plugin.is_active() and not hooks.enabled():
        return Check("hooks", WARN, "switched off (oci:hooks:enabled): `spack install` uses Spack's own code")
    if not plugin.is_active():
        return Check("hooks", WARN, f"not active: Spack's own code is used ({plugin.failure()})")
    needed = [s for s in hooks.checked_statuses() if s.state != hooks.NOT_NEEDED]
    refused = [s for s in needed if s.state != hooks.ACTIVE]
    if refused:
        named = "; ".join(f"{s.hook.purpose}: {s.reason}" for s in refused)
        return Check("hooks", WARN, f"{len(refused)} of {len(needed)} not installed: {named}")
    if not _is_installed():
        detail = (
            "active in `spack oci` only: pip install spack-oci into this Python, so that `spack install` uses it too"
        )
        return Check("hooks", WARN, detail)
    return Check("hooks", OK, f"all {len(needed)} active")


def _is_installed() -> bool:
    """Whether Spack calls us in every process, or only config:extensions names us."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("spack-oci")
    except PackageNotFoundError:
        return False
    return True


def check_mirror(mirror: "spack.mirrors.mirror.Mirror") -> List[Check]:
    """Fetching is checked as the mirror fetches; pushing as it pushes, where URL or credentials are others."""
    two = mirror.push_url != mirror.fetch_url or _differ(mirror)
    checks = _check_url(mirror, mirrors.FETCH, push=False if two else mirror.autopush or None)
    if two:
        pushing = _check_url(mirror, mirrors.PUSH, push=True)
        said = [c for c in checks if c.status == FAIL]  # what fails both ways in one way is said once
        checks += [Check(f"push: {c.name}", c.status, c.detail) for c in pushing if c not in said]
    if any(c.status == FAIL for c in checks if c.name in ("url", "network")):
        return checks  # what else there is to say of it needs the mirror
    return [*checks, _policy(mirror)]


def _policy(mirror: "spack.mirrors.mirror.Mirror") -> Check:
    """Which policy holds, and what would fail under it."""
    from ..configuration import trust

    try:
        policy = trust.policy_of(mirror)
        trusted = trust.trusted_index(mirror)
        if trusted is None:
            return Check("policy", OK, "none: signatures are not asked for")
        store = mirrors.open_index_store(mirror, mirrors.FETCH)
        offered, hidden = trusted.count(store)
    except NotFound as e:
        return Check("policy", OK, f"{policy.describe()}; {e.message}")
    except SpackOciError as e:
        return Check("policy", FAIL, str(e))
    found = f"{policy.describe()} (by {policy.origin}): {counted(offered, 'package')} signed"
    return Check("policy", WARN if hidden else OK, f"{found}, {hidden} not" if hidden else found)


def _differ(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """Whether pushes are made with other credentials than fetches."""
    try:
        return mirror_credentials(mirror, mirrors.FETCH) != mirror_credentials(mirror, mirrors.PUSH)
    except SpackOciError:
        return True


def _check_url(mirror: "spack.mirrors.mirror.Mirror", direction: str, push: Optional[bool]) -> List[Check]:
    """``push``: see probe_repository."""
    try:
        location = mirrors.location_of(mirror, direction)
    except SpackOciError as e:
        return [Check("url", FAIL, str(e))]
    return check_cache(
        location,
        lambda: mirrors.open_store(mirror, direction),
        lambda: mirrors.open_index_store(mirror, direction),
        push,
        "spack oci update-index",
    )
