# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``spack oci doctor``: everything that decides whether mirrors work, and where it comes from."""

import json
import os
import platform
import sys
from typing import Any, Dict, List, Optional, Sequence

import spack
import spack.mirrors.mirror

from ... import __version__
from ...archive.codec import engines
from ...content import ContentStore
from ...descriptor import OCI_LAYER_ZSTD
from ...errors import NotFound, SpackOciError
from ...index.read import IndexDocument, NotModified, fetch_index
from ...reference import LayoutDirectory, Location, parse_url
from ...registry.probe import FAIL, OK, SKIP, WARN, Check, probe_repository, worst
from ...registry.store import RegistryStore
from .. import hooks, mirror_arguments, mirrors, plugin
from ..credentials import mirror_credentials
from ..output import counted, elided, table

_MARKS = {OK: "ok", WARN: "warn", FAIL: "FAIL", SKIP: "-"}


def examine(names: Sequence[str], as_json: bool) -> int:
    """Check the named mirrors, or all that are configured, and print what was found. Exit code 1: something fails."""
    reports: Dict[str, List[Check]] = {"spack-oci": environment()}
    for mirror in _mirrors(names):
        reports[_title(mirror)] = check_mirror(mirror)
    if as_json:
        json.dump({name: [c.to_dict() for c in checks] for name, checks in reports.items()}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for name, checks in reports.items():
            print(f"==> {name}")
            for line in table([(_MARKS[c.status], c.name, c.detail) for c in checks]):
                print(f"    {line}")
    return 1 if any(worst(checks) == FAIL for checks in reports.values()) else 0


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
        _codecs(),
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


def _codecs() -> Check:
    found = engines()
    detail = ", ".join(f"{name} by {library}" for name, library in found.items())
    if found.get("gzip", "").startswith("zlib "):
        cost = "compressing takes five times as long as with isal"
        return Check("codecs", WARN, f"{detail}; {cost}: {plugin.pip_command(['isal'])}")
    return Check("codecs", OK, detail)


def check_mirror(mirror: "spack.mirrors.mirror.Mirror") -> List[Check]:
    """Fetching is checked as the mirror fetches; pushing as it pushes, where URL or credentials are others."""
    two = mirror.push_url != mirror.fetch_url or _differ(mirror)
    checks = _check_url(mirror, mirrors.FETCH, push=False if two else mirror.autopush or None)
    if two:
        pushing = _check_url(mirror, mirrors.PUSH, push=True)
        checks += [Check(f"push: {c.name}", c.status, c.detail) for c in pushing]
    return checks


def _differ(mirror: "spack.mirrors.mirror.Mirror") -> bool:
    """Whether pushes are made with other credentials than fetches."""
    try:
        return mirror_credentials(mirror, mirrors.FETCH) != mirror_credentials(mirror, mirrors.PUSH)
    except SpackOciError:
        return True


def _check_url(mirror: "spack.mirrors.mirror.Mirror", direction: str, push: Optional[bool]) -> List[Check]:
    """``push``: see probe_repository."""
    try:
        location = parse_url(mirror.get_url(direction))
        if isinstance(location, LayoutDirectory) and not os.path.exists(location.path):
            status = FAIL if push is False else OK
            return [Check("directory", status, f"{location.path} does not exist yet; a push makes it")]
        store = mirrors.open_store(mirror, direction)
    except SpackOciError as e:
        return [Check("url", FAIL, str(e))]
    if isinstance(store, RegistryStore):
        checks = probe_repository(store, push)
        if any(c.status == FAIL and c.name in ("network", "tls") for c in checks):
            return checks
    else:
        checks = [_layout(location)]
    return [*checks, _index(store)]


def _layout(location: Location) -> Check:
    path = location.path if isinstance(location, LayoutDirectory) else ""
    writable = os.access(path, os.W_OK)
    return Check("directory", OK if writable else WARN, path + ("" if writable else ", not writable for you"))


def _index(store: ContentStore) -> Check:
    """Whether there is an index, and whether it names what the tags name."""
    remedy = "run `spack oci update-index`"
    try:
        tags = {t for t in store.tags() if t.endswith(".spack") and t != "index.spack"}
        index = fetch_index(store)
    except NotFound:
        status = WARN if tags else OK
        return Check(
            "index", status, f"none yet, {counted(len(tags), 'package')} here" + (f": {remedy}" if tags else "")
        )
    except SpackOciError as e:
        return Check("index", FAIL, str(e))
    if isinstance(index, NotModified):  # only with a digest to compare with
        return Check("index", OK, "there")
    return _freshness(index, tags, remedy)


def _freshness(index: IndexDocument, tags: Any, remedy: str) -> Check:
    if index.document is None:
        return Check("index", WARN, f"Spack's only ({index.fallback}): installs need more requests; {remedy}")
    entries = index.entries().values()
    indexed = {entry.tag for entry in entries}
    missing, gone = sorted(tags - indexed), sorted(indexed - tags)
    notes = [f"{counted(len(missing), 'package')} not in it: {elided(missing)}"] if missing else []
    notes += [f"{counted(len(gone), 'package')} in it that are gone: {elided(gone)}"] if gone else []
    notes += [index.fallback] if index.fallback else []
    if notes:
        return Check("index", WARN, f"out of date, {'; '.join(notes)}: {remedy}")
    zstd = sum(entry.layer.media_type == OCI_LAYER_ZSTD for entry in entries)
    more = f"; {counted(zstd, 'package')} with zstd, which Spack without spack-oci cannot install" if zstd else ""
    return Check("index", OK, f"names all {counted(len(indexed), 'package')}{more}")
