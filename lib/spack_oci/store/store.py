# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A store: the directory, its layout, its database."""

import contextlib
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, Iterator, List, Mapping

from ..errors import NotAStore
from ..util.files import atomic_write, storage_errors
from .database import Database, Records, check_root
from .layout import DATABASE_DIRECTORY, DEFAULT_PROJECTION, StoreLayout, make_directory, projection_of
from .locks import all_or_none
from .sbang import SBANG


@dataclass(frozen=True)
class Store:
    layout: StoreLayout
    #: the packages of the store do not all follow one projection
    mixed: bool = False

    @classmethod
    def open(cls, path: str) -> "Store":
        """A store that exists. Raises NotAStore, and as :meth:`Database.read`."""
        root = check_root(path)
        if not os.path.isdir(root):
            raise NotAStore(f"there is no store at {root}", remedy="check the path; `spack-oci install` makes one")
        return cls._of(root, Database(root).read())

    @classmethod
    def open_or_create(cls, path: str) -> "Store":
        """The same, or one in a directory that is empty or not there yet. Raises NotAStore for any other."""
        root = check_root(path)
        if os.path.isdir(os.path.join(root, DATABASE_DIRECTORY)):
            return cls.open(root)
        if os.path.isdir(root):
            with storage_errors(f"reading {root}"):
                there = [name for name in os.listdir(root) if not name.startswith(".")]
            if there:
                raise NotAStore(
                    f"{root} is no store, and not empty: {there[0]} is in it",
                    remedy="name a store, an empty directory, or one that does not exist",
                )
        return cls(StoreLayout(root))

    @classmethod
    def _of(cls, root: str, records: Records) -> "Store":
        packages = [
            (record["spec"], record["path"])
            for record in records.by_hash.values()
            if record["installed"] and not record["spec"].get("external") and record.get("path")
        ]
        projection, certain = projection_of(root, packages)
        return cls(StoreLayout(root, projection or DEFAULT_PROJECTION), not certain)

    @cached_property
    def database(self) -> Database:
        return Database(self.root)

    @property
    def root(self) -> str:
        return self.layout.root

    def prefixes(self, nodes: Mapping[str, Mapping[str, Any]], records: Records) -> Dict[str, str]:
        """DAG hash -> where a package is, if it is installed, or would be."""
        result = {}
        for dag_hash, node in nodes.items():
            record = records.by_hash.get(dag_hash)
            path = record["path"] if record is not None and record["installed"] else None
            result[dag_hash] = path or self.layout.prefix_of(node)
        return result

    def prepare(self) -> None:
        """Make the directories of a store and its ``bin/sbang``. Raises StorageError."""
        with storage_errors(f"making the store {self.root}"):
            make_directory(self.layout.database_directory)
            path = self.layout.sbang_path
            with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
                if file.read(10).startswith("#!/bin/sh"):  # Spack's own does the same
                    return
            make_directory(os.path.dirname(path))
            with atomic_write(path, mode=_shared_mode(self.root, 0o755), exact=True) as script:
                script.write(SBANG.encode())

    @contextlib.contextmanager
    def prefixes_locked(self, names: Mapping[str, str]) -> Iterator[None]:
        """Spack's locks on prefixes, to write; ``names``: DAG hash -> name."""

        with all_or_none(lambda: [self.database.prefix_lock(h, n) for h, n in sorted(names.items())]):
            yield


def _shared_mode(directory: str, mode: int) -> int:
    """What of ``mode`` the directory gives to others."""
    with contextlib.suppress(OSError):
        return mode & (stat.S_IMODE(os.stat(directory).st_mode) | 0o700)
    return mode


def installed_nodes(records: Records) -> List[Mapping[str, Any]]:
    """Nodes of what is installed and not external."""
    nodes = (records.by_hash[h]["spec"] for h in sorted(set(records.installed())) if records.is_installed(h))
    return [node for node in nodes if not node.get("external")]
