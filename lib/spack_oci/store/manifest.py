# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""``.spack/install_manifest.json``: what `spack verify` compares the files of a prefix with (``spack.verify``)."""

import base64
import hashlib
import json
import os
import stat
from typing import Any, Dict

from ..util.files import atomic_write, storage_errors
from .layout import metadata_path

_NAME = "install_manifest.json"
#: written after the manifest, and not looked at by `spack verify`
_LEFT_OUT = (_NAME, "install_times.json")


def write_manifest(prefix: str) -> None:
    """Of the files as they are now; what was in the tarball describes another prefix. Raises StorageError."""
    path = metadata_path(prefix, _NAME)
    with storage_errors(f"writing {path}"):
        left_out = {metadata_path(prefix, name) for name in _LEFT_OUT}
        entries = {prefix: _entry(prefix)}
        for directory, directories, files in os.walk(prefix):
            for name in directories + files:
                found = os.path.join(directory, name)
                if found not in left_out:
                    entries[found] = _entry(found)
        with atomic_write(path, mode=0o644, exact=True) as file:
            file.write(json.dumps(entries, separators=(",", ":")).encode("utf-8", "surrogateescape"))


def _entry(path: str) -> Dict[str, Any]:
    status = os.lstat(path)
    entry: Dict[str, Any] = {"mode": status.st_mode, "owner": status.st_uid, "group": status.st_gid}
    if stat.S_ISLNK(status.st_mode):
        entry["dest"] = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        entry.update(hash=_digest(path), time=status.st_mtime, size=status.st_size)
    return entry


def _digest(path: str) -> str:
    hasher = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            hasher.update(chunk)
    return base64.b32encode(hasher.digest()).decode()
