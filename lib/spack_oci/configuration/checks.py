# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `doctor` looks at, with Spack and without: one cache, the codecs; and how it tells."""

import os
import shutil
import sys
from typing import Any, Callable, List, Mapping, Optional, Sequence

from ..archive.codec import engines
from ..content import ContentStore
from ..descriptor import OCI_LAYER_ZSTD
from ..errors import NotFound, SpackOciError
from ..index.read import IndexDocument, NotModified, fetch_index
from ..reference import LayoutDirectory, Location
from ..registry.probe import FAIL, OK, SKIP, WARN, Check, probe_repository, worst
from ..registry.store import RegistryStore
from ..util.documents import print_json
from ..util.text import counted, elided, wrapped_table

_MARKS = {OK: "ok", WARN: "warn", FAIL: "FAIL", SKIP: "-"}


def print_reports(reports: Mapping[str, Sequence[Check]], as_json: bool) -> int:
    """``reports``: by what was checked. Exit code 1: something fails."""
    if as_json:
        print_json({"checks": {name: [c.to_dict() for c in checks] for name, checks in reports.items()}})
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for name, checks in reports.items():
            print(f"==> {name}")
            for line in wrapped_table([(_MARKS[c.status], c.name, c.detail) for c in checks], "    ", columns):
                print(line)
    return 1 if any(worst(list(checks)) == FAIL for checks in reports.values()) else 0


def check_codecs(remedy: str) -> Check:
    """``remedy``: the command that installs the faster one."""
    found = engines()
    detail = ", ".join(f"{name} by {library}" for name, library in found.items())
    if found.get("gzip", "").startswith("zlib "):
        cost = "compressing takes five times as long as with isal"
        return Check("codecs", WARN, f"{detail}; {cost}: {remedy}")
    return Check("codecs", OK, detail)


def check_cache(
    location: Location,
    open_store: Callable[[], ContentStore],
    open_index_store: Callable[[], ContentStore],
    push: Optional[bool],
    update: str,
) -> List[Check]:
    """``push``: see probe_repository; ``update``: the command that makes an index."""
    if isinstance(location, LayoutDirectory) and not os.path.exists(location.path):
        status = FAIL if push is False else OK
        return [Check("directory", status, f"{location.path} does not exist yet; a push makes it")]
    try:
        store = open_store()
    except SpackOciError as e:
        return [Check("url", FAIL, str(e))]
    if isinstance(store, RegistryStore):
        checks = probe_repository(store, push)
        if any(c.status == FAIL and c.name in ("network", "tls") for c in checks):
            return checks
        if any(c.status == FAIL and c.name == "tags" for c in checks):  # would fail in the same words
            return [*checks, Check("index", SKIP, "cannot be looked at: see tags")]
    else:
        checks = [_layout(location)]
    return [*checks, _index(store, open_index_store, update)]


def _layout(location: Location) -> Check:
    if not isinstance(location, LayoutDirectory):
        return Check("directory", OK, str(location))
    if location.bundle:
        return Check("bundle", OK, location.bundle)
    writable = os.access(location.path, os.W_OK)
    return Check("directory", OK if writable else WARN, location.path + ("" if writable else ", not writable for you"))


def _index(store: ContentStore, open_index_store: Callable[[], ContentStore], update: str) -> Check:
    """Whether there is an index, and whether it names what the tags name."""
    remedy = f"run `{update}`"
    try:
        tags = {t for t in store.tags() if t.endswith(".spack") and t != "index.spack"}
        index = fetch_index(open_index_store())
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
