# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where things are in a store: prefixes by a projection, ``.spack``, ``.spack-db``, ``bin/sbang``.

The projection is part of a Spack's configuration, which is not here. So what the packages of a store have in common is
taken for it, and Spack's default in a store without packages.
"""

import contextlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from ..errors import StoreError
from ..specs.constraints import target_name
from ..util.files import set_mode

DEFAULT_PROJECTION = "{architecture.platform}-{architecture.target}/{name}-{version}-{hash}"
DATABASE_DIRECTORY = ".spack-db"
METADATA_DIRECTORY = ".spack"
#: what this program keeps in a store besides what Spack knows of
OWN_DIRECTORY = ".spack-oci"

#: what Spack repeats to make a root longer (``config:install_tree:padded_length``); the last one may be cut
_PADDING = "__spack_path_placeholder__"
_FIELD = re.compile(r"\{([a-z._]+)(?::([0-9]+))?\}")


@dataclass(frozen=True)
class StoreLayout:
    """``root``: absolute, with padding if there is any."""

    root: str
    projection: str = DEFAULT_PROJECTION

    @property
    def unpadded_root(self) -> str:
        """Without the directories that only make it longer."""
        parts = self.root.split("/")
        if _PADDING in parts:
            return "/".join(parts[: parts.index(_PADDING)])
        cut = parts[-1].startswith("__spack") and _PADDING.startswith(parts[-1].rstrip("_"))
        return "/".join(parts[:-1] if cut else parts)

    @property
    def sbang_path(self) -> str:
        return os.path.join(self.unpadded_root, "bin", "sbang")

    @property
    def database_directory(self) -> str:
        return os.path.join(self.root, DATABASE_DIRECTORY)

    def own_path(self, *names: str) -> str:
        return os.path.join(self.root, OWN_DIRECTORY, *names)

    def prefix_of(self, node: Mapping[str, Any]) -> str:
        """Where a package is, or would be. Raises StoreError for one whose name leaves the store."""
        external = node.get("external")
        if external:
            return str(external["path"])
        path = os.path.normpath(os.path.join(self.root, _project(self.projection, node)))
        if not path.startswith(f"{self.root}/"):
            raise StoreError(f"{node['name']}@{node['version']} would be outside of the store, in {path}")
        return path


def metadata_path(prefix: str, *names: str) -> str:
    return os.path.join(prefix, METADATA_DIRECTORY, *names)


def _fields(node: Mapping[str, Any]) -> Dict[str, str]:
    """What a projection may name of a package."""
    arch = node["arch"]
    target = target_name(node)
    fields = {
        "name": node["name"],
        "version": node["version"],
        "hash": node["hash"],
        "namespace": node.get("namespace") or "",
        "architecture": f"{arch['platform']}-{arch['platform_os']}-{target}",
        "architecture.platform": arch["platform"],
        "architecture.os": arch["platform_os"],
        "architecture.target": target,
    }
    compiler = _compiler(node)
    if compiler:
        fields["compiler.name"], fields["compiler.version"] = compiler
    return fields


def _compiler(node: Mapping[str, Any]) -> Optional[Tuple[str, str]]:
    """Of a package of Spack before 1.0."""
    name, at, version = str((node.get("annotations") or {}).get("compiler") or "").partition("@=")
    return (name, version) if at else None


def _project(projection: str, node: Mapping[str, Any]) -> str:
    fields = _fields(node)

    def value(match: "re.Match[str]") -> str:
        text = fields.get(match[1], "")
        # Spack's polite_filename
        return re.sub(r"[^A-Za-z0-9_.-]", "_", text[: int(match[2])] if match[2] else text)

    return os.path.normpath(_FIELD.sub(value, projection))


def projection_of(root: str, records: Iterable[Tuple[Mapping[str, Any], str]]) -> Tuple[str, bool]:
    """The projection that most packages of a store follow, and whether it is certain.

    ``records``: (node, prefix) of installed packages that are not external. Not certain: some are elsewhere, as after a
    change of the configuration.
    """
    known: List[Tuple[Mapping[str, Any], str]] = [
        (node, os.path.relpath(prefix, root)) for node, prefix in records if prefix.startswith(root.rstrip("/") + "/")
    ]
    if not known:
        return DEFAULT_PROJECTION, True
    candidates = Counter({DEFAULT_PROJECTION: 0})
    candidates.update(_guess(node, path) for node, path in known[:50])
    votes = {one: sum(_project(one, node) == path for node, path in known) for one in candidates}
    best = max(votes, key=lambda one: (votes[one], one == DEFAULT_PROJECTION))
    return best, votes[best] == len(known)


def _guess(node: Mapping[str, Any], path: str) -> str:
    """The projection that made ``path``: values become the names of fields, the longest first."""
    fields = _fields(node)
    result = path.replace(fields["hash"], "{hash}")
    if "{hash}" not in result:
        short = re.search(r"[a-z2-7]{5,31}\Z", path)
        if short and fields["hash"].startswith(short.group()):
            result = result[: short.start()] + f"{{hash:{len(short.group())}}}"
    order = ["architecture", "architecture.target", "architecture.os", "architecture.platform", "name", "version"]
    if "compiler.name" in fields:
        order[4:4] = ["compiler.name", "compiler.version"]
    for name in order:
        if fields[name]:
            pattern = rf"(?<![A-Za-z0-9{{]){re.escape(fields[name])}(?![A-Za-z0-9}}])"
            result = re.sub(pattern, "{" + name + "}", result, count=1)
    return result


def make_directory(path: str) -> None:
    """With its parents, which get the permissions and the group of the one that is there (as Spack does it)."""
    existing, missing = path, []  # type: str, List[str]
    while not os.path.isdir(existing):
        missing.append(existing)
        existing = os.path.dirname(existing)
    status = os.stat(existing)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)
            with contextlib.suppress(OSError):
                if os.stat(directory).st_gid != status.st_gid:
                    os.chown(directory, -1, status.st_gid)
                set_mode(directory, stat.S_IMODE(status.st_mode))
