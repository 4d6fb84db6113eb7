# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``.spack/install_manifest.json``: what `spack verify manifest` compares an installed package with.

The one in a tarball names the files of the prefix in which the package was built, with their owners and times. Spack
leaves it so, and then calls every file added or deleted. Here it is brought up to date twice: with the extraction,
which knows what relocation has changed, and when Spack would write one, after everything else that changes a prefix.
What the builder says of the content of a file is kept as long as that is what was in the tarball: it is not read again.
"""

import base64
import hashlib
import json
import os
import stat
from typing import Any, Collection, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from ...util.files import storage_errors
from .metadata import DIRECTORY, read_metadata, remove_metadata, write_metadata

NAME = "install_manifest.json"
#: Spack writes it after the manifest, and does not check it
_TIMES = "install_times.json"
#: 26,000 files take 7 MB
_MAX_SIZE = 256 << 20

Entry = Dict[str, Any]
#: (path below a prefix, path, status) of what is in it
Contents = List[Tuple[str, str, os.stat_result]]


def adapt_manifest(directory: str, prefix: str, changed: Collection[str], times: Mapping[str, int]) -> Dict[str, Entry]:
    """For a package that was extracted to ``directory`` and will be in ``prefix``: prepare :func:`update_manifest`.

    ``changed``: files whose content is not that of the tarball, which loses its digest; ``times``: of the files that do
    not have 0. Without a manifest of the builder there will be none. Entries by path below the prefix. Raises
    StorageError.
    """
    with storage_errors(f"writing {os.path.join(prefix, DIRECTORY, NAME)}"):
        entries = _read(directory)
        for name, entry in entries.items():
            if name in changed:
                entry.pop("hash", None)
            elif "time" in entry:
                entry["time"] = times.get(name, 0)
        if entries:
            _write(directory, {f"{prefix}/{name}" if name else prefix: entry for name, entry in entries.items()})
        return entries


def contents_of(prefix: str) -> Contents:
    """Everything but what Spack's check leaves out. Raises StorageError."""
    with storage_errors(f"reading {prefix}"):
        return list(_contents(prefix))


def update_manifest(prefix: str, known: Optional[Dict[str, Entry]] = None, contents: Optional[Contents] = None) -> None:
    """When a package is complete; makes a manifest if there is none. ``known``: what :func:`adapt_manifest` returned;
    ``contents``: of the prefix as it is now; either is read if it is not given. Raises StorageError."""
    with storage_errors(f"writing {os.path.join(prefix, DIRECTORY, NAME)}"):
        entries = _read(prefix) if known is None else known
        _write(prefix, _entries_of_files(prefix, entries, _contents(prefix) if contents is None else contents))


def _read(directory: str) -> Dict[str, Entry]:
    """Entries by path below the prefix; none if there is no manifest that can be used, and then it is removed."""
    try:
        data = read_metadata(directory, NAME, _MAX_SIZE)
    except FileNotFoundError:
        return {}
    entries = _entries_by_name(data)
    if entries is None:
        remove_metadata(directory, NAME)
    return entries or {}


def _write(directory: str, entries: Dict[str, Entry]) -> None:
    write_metadata(directory, NAME, json.dumps(entries, separators=(",", ":")).encode("utf-8"))


def _entries_by_name(data: bytes) -> Optional[Dict[str, Entry]]:
    """Entries by path below the prefix that they were written for; None for what is no manifest."""
    try:
        document = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not document:
        return None
    prefix = min(document, key=len)
    return {path[len(prefix) + 1 :]: entry for path, entry in document.items() if isinstance(entry, dict)}


def _entries_of_files(
    prefix: str, known: Dict[str, Entry], contents: Iterable[Tuple[str, str, os.stat_result]]
) -> Dict[str, Entry]:
    """By path. The digest of a file whose time and size are ``known`` is as well."""
    entries: Dict[str, Entry] = {prefix: _common(os.lstat(prefix))}
    for name, path, status in contents:
        entry = entries[f"{prefix}/{name}"] = _common(status)
        if stat.S_ISLNK(status.st_mode):
            entry["dest"] = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            old = known.get(name, {})
            same = old.get("size") == status.st_size and old.get("time") == status.st_mtime
            digest = old.get("hash") if same else None
            entry["hash"] = digest if isinstance(digest, str) else _digest(path)
            entry["time"] = status.st_mtime
            entry["size"] = status.st_size
    return entries


def _common(status: os.stat_result) -> Entry:
    return {"mode": status.st_mode, "owner": status.st_uid, "group": status.st_gid}


def _contents(directory: str) -> Iterator[Tuple[str, str, os.stat_result]]:
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(os.path.join(directory, below)) as found:
            for item in found:
                name = below + item.name
                if item.name != _TIMES and name != f"{DIRECTORY}/{NAME}":
                    yield name, item.path, item.stat(follow_symlinks=False)
                    if item.is_dir(follow_symlinks=False):
                        pending.append(name + "/")


def _digest(path: str) -> str:
    """Of a file's content, as Spack writes it."""
    hasher = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb", buffering=0) as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            hasher.update(chunk)
    return base64.b32encode(hasher.digest()).decode()
