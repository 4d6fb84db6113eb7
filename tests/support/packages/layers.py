# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Layers as Spack writes them (Python's tarfile, gzip, ``binary_distribution`` last), and layers that nobody should."""

import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Union

from spack_oci.relocate.build_info import BUILD_INFO
from spack_oci.relocate.mapping import Relocation
from spack_oci.relocate.text import GrowthLimit

#: for text that may grow as it likes
NO_LIMIT = GrowthLimit(1 << 60, "a test")
#: longer than the temporary directories of the tests, so that strings shrink
OLD_ROOT = "/old/store" + "/padding" * 15
HASH = "abcdefghijklmnopqrstuvwxyz234567"
OTHER_HASH = "zyxwvutsrqponmlkjihgfedcba765432"
OLD_PREFIX = f"{OLD_ROOT}/linux-x86_64/tool-1.0-{HASH}"
OTHER_OLD_PREFIX = f"{OLD_ROOT}/linux-x86_64/lib-2.0-{OTHER_HASH}"
SPEC_FILE = ".spack/spec.json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class Layer:
    """Collects members; names are relative to the prefix unless they are added with :meth:`member`."""

    old_prefix: str = OLD_PREFIX
    members: List[tuple] = field(default_factory=list)
    info: Dict[str, object] = field(default_factory=dict)
    format: int = tarfile.PAX_FORMAT
    directories: set = field(default_factory=set)

    def __post_init__(self) -> None:
        self.info = {
            "sbang_install_path": f"{OLD_ROOT}/bin/sbang",
            "buildpath": OLD_ROOT,
            "relative_prefix": os.path.relpath(self.old_prefix, OLD_ROOT),
            "hash_to_prefix": {HASH: self.old_prefix, OTHER_HASH: OTHER_OLD_PREFIX},
            "hardlinks_deduped": True,
            "relocate_textfiles": [],
            "relocate_binaries": [],
            "relocate_links": [],
        }
        parts = self.old_prefix.strip("/").split("/")
        for i in range(1, len(parts) + 1):
            self._directory("/".join(parts[:i]))

    def _directory(self, name: str, mode: int = 0o755) -> None:
        self.directories.add(name)
        self.members.append((_info(name, tarfile.DIRTYPE, mode), b""))

    def member(self, info: tarfile.TarInfo, data: bytes = b"") -> "Layer":
        info.size = len(data)
        self.members.append((info, data))
        return self

    def name(self, path: str) -> str:
        return f"{self.old_prefix[1:]}/{path}"

    def directory(self, path: str, mode: int = 0o755) -> "Layer":
        self._directory(self.name(path), mode)
        return self

    def file(self, path: str, data: Union[bytes, str], mode: int = 0o644, listed: Optional[str] = None) -> "Layer":
        """``listed``: None, "text" or "binary"."""
        parent = os.path.dirname(self.name(path))
        missing = []
        while parent not in self.directories:
            missing.append(parent)
            parent = os.path.dirname(parent)
        for name in reversed(missing):
            self._directory(name)
        if listed:
            self.info["relocate_textfiles" if listed == "text" else "relocate_binaries"].append(path)
        return self.member(
            _info(self.name(path), tarfile.REGTYPE, mode), data.encode() if isinstance(data, str) else data
        )

    def symlink(self, path: str, target: str) -> "Layer":
        return self.member(_info(self.name(path), tarfile.SYMTYPE, 0o755, target))

    def hard_link(self, path: str, target: str) -> "Layer":
        return self.member(_info(self.name(path), tarfile.LNKTYPE, 0o644, self.name(target)))

    def tar(self, dump: Callable[[dict], str] = json.dumps, with_info: bool = True) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=self.format) as tar:
            for info, data in self.members:
                tar.addfile(info, io.BytesIO(data))
            for path, data in self._metadata(dump).items() if with_info else ():
                info = _info(self.name(path), tarfile.REGTYPE, 0o644)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()

    def _metadata(self, dump: Callable[[dict], str]) -> Dict[str, bytes]:
        """What every package has, as far as no member is it already."""
        spec = json.dumps({"spec": {"_meta": {"version": 5}, "nodes": [{"name": "tool", "hash": HASH}]}})
        there = {info.name for info, _ in self.members}
        found = {SPEC_FILE: spec.encode(), BUILD_INFO: dump(self.info).encode()}
        return {path: data for path, data in found.items() if self.name(path) not in there}

    def gzip(self) -> bytes:
        return gzip.compress(self.tar(), 6, mtime=0)


def _info(name: str, kind: bytes, mode: int, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


tar_info = _info


def relocation(store_root: str, **changes) -> Relocation:
    """Both packages of a :class:`Layer` under ``store_root``."""
    values = {
        "new_prefixes": {
            HASH: f"{store_root}/linux-x86_64/tool-1.0-{HASH}",
            OTHER_HASH: f"{store_root}/linux-x86_64/lib-2.0-{OTHER_HASH}",
        },
        "store_root": store_root,
        "sbang_path": f"{store_root}/bin/sbang",
    }
    return Relocation(**{**values, **changes})


def new_prefix(store_root: str) -> str:
    return f"{store_root}/linux-x86_64/tool-1.0-{HASH}"
