# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The database of a store, ``.spack-db/index.json``, read and written as Spack does it.

::

    {"database": {"version": "8", "installs": {HASH: {
        "spec": {node}, "ref_count": n, "path": PREFIX, "installed": true, "explicit": false,
        "installation_time": SECONDS, "deprecated_for": null}, ...}}}

It changes under an exclusive lock (:mod:`.locks`), in a new file that is renamed into place; then ``index_verifier``
gets a new UUID, by which other processes see that they have to read it again. Reading takes no lock: the file is always
a complete one. ``ref_count`` is the number of edges that lead to a record, of all kinds, and of packages that are
deprecated for it. A record that is not installed stays while something that is installed depends on it.

What Spack keeps in a record and is not named here stays as it is. Upstreams belong to a configuration, not to a store,
and are not touched.
"""

import contextlib
import json
import os
import stat
import time
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Set

from ..errors import CorruptDatabase, NotAStore, StorageError, StoreError, UnknownDatabase
from ..util.files import atomic_write, storage_errors
from .layout import DATABASE_DIRECTORY, make_directory
from .locks import DATABASE_TIMEOUT, FileLock, byte_of

#: of Spack 1.0 to 1.2
VERSION = "8"

#: a record, as JSON has it
Record = Dict[str, Any]


class Records:
    """What a database says, and changes to it that keep its counts right. Keys are DAG hashes."""

    def __init__(self, installs: Optional[Dict[str, Record]] = None) -> None:
        self.by_hash: Dict[str, Record] = installs or {}
        self.changed = False

    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """DAG hash -> node, for all records."""
        return {dag_hash: record["spec"] for dag_hash, record in self.by_hash.items()}

    def installed(self) -> Iterator[str]:
        """Hashes of what is installed, externals included."""
        return (dag_hash for dag_hash, record in self.by_hash.items() if record.get("installed"))

    def is_installed(self, dag_hash: str) -> bool:
        return bool(self.by_hash.get(dag_hash, {}).get("installed"))

    def dependents(self, dag_hash: str) -> List[str]:
        """Installed packages that need it to link or run (or were built with it)."""
        return [
            other
            for other in self.installed()
            if any(edge["hash"] == dag_hash for edge in _edges(self.by_hash[other]["spec"]))
        ]

    def needed_to_run(self, roots: Iterable[str]) -> Set[str]:
        """``roots``, and what they link and run, as far as there are records."""
        found: Set[str] = set()
        pending = [root for root in roots if root in self.by_hash]
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in found:
                found.add(dag_hash)
                pending.extend(h for h in runtime_edges(self.by_hash[dag_hash]["spec"]) if h in self.by_hash)
        return found

    def unused(self) -> List[str]:
        """What is installed, is not external, and is needed by nothing that somebody asked for (``spack gc``)."""
        needed = self.needed_to_run(h for h, r in self.by_hash.items() if r.get("explicit"))
        return [h for h in self.installed() if h not in needed and not self.by_hash[h]["spec"].get("external")]

    def add(
        self,
        nodes: Mapping[str, Mapping[str, Any]],
        dag_hash: str,
        prefixes: Mapping[str, str],
        *,
        explicit: bool = False,
        now: Optional[float] = None,
    ) -> None:
        """Record that a package is installed.

        ``nodes``: DAG hash -> node, of the package and all that it refers to; those that have no record yet get one as
        not installed, or as there if they are external. ``prefixes``: DAG hash -> where it is or would be. A package
        that was explicit stays so. Raises KeyError for a node that is missing.
        """
        now = time.time() if now is None else now
        self._ensure(nodes, dag_hash, prefixes, now)
        record = self.by_hash[dag_hash]
        replaced_by = record.get("deprecated_for")
        if replaced_by:  # it is back in its own place
            record["deprecated_for"] = None
            if replaced_by in self.by_hash:
                self.by_hash[replaced_by]["ref_count"] -= 1
        record.update(
            path=prefixes[dag_hash],
            installed=True,
            explicit=bool(explicit or (record.get("installed") and record.get("explicit"))),
            installation_time=now,
        )
        self.changed = True

    def _ensure(
        self, nodes: Mapping[str, Mapping[str, Any]], root: str, prefixes: Mapping[str, str], now: float
    ) -> None:
        """Records for a package and all that it refers to, dependencies first."""
        order: List[str] = []
        pending = [(root, False)]
        seen: Set[str] = set()
        while pending:
            dag_hash, complete = pending.pop()
            if complete:
                order.append(dag_hash)
            elif dag_hash not in seen and dag_hash not in self.by_hash:
                seen.add(dag_hash)
                pending.append((dag_hash, True))
                node = nodes[dag_hash]
                pending.extend((h, False) for h in _references(node) if h not in seen)
        for dag_hash in order:
            node = dict(nodes[dag_hash])
            external = node.get("external")
            path = external["path"] if external else prefixes.get(dag_hash)
            self.by_hash[dag_hash] = {
                "spec": node,
                "ref_count": 0,
                "path": path,
                "installed": bool(external),
                "explicit": False,
                "installation_time": now,
                "deprecated_for": None,
            }
            for edge in _edges(node):
                if edge["hash"] in self.by_hash:
                    self.by_hash[edge["hash"]]["ref_count"] += 1

    def mark_explicit(self, dag_hash: str) -> None:
        if not self.by_hash[dag_hash].get("explicit"):
            self.by_hash[dag_hash]["explicit"] = True
            self.changed = True

    def remove(self, dag_hash: str) -> None:
        """Record that a package is not installed any more; records that nothing refers to go with it."""
        record = self.by_hash[dag_hash]
        self.changed = True
        if record["ref_count"] > 0:
            record["installed"] = False
            return
        self._forget(dag_hash)

    def _forget(self, dag_hash: str) -> None:
        pending = [dag_hash]
        while pending:
            record = self.by_hash.pop(pending.pop())
            references = [edge["hash"] for edge in _edges(record["spec"])]
            if record.get("deprecated_for"):
                references.append(record["deprecated_for"])
            for other in references:
                if other in self.by_hash:
                    self.by_hash[other]["ref_count"] -= 1
                    if self.by_hash[other]["ref_count"] == 0 and not self.by_hash[other]["installed"]:
                        pending.append(other)


def _edges(node: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return node.get("dependencies", ())


def _references(node: Mapping[str, Any]) -> List[str]:
    """What must have a record when a node has one: dependencies, and what a spliced package was built as."""
    found = [edge["hash"] for edge in _edges(node)]
    if node.get("build_spec"):
        found.append(node["build_spec"]["hash"])
    return found


def runtime_edges(node: Mapping[str, Any]) -> List[str]:
    """Hashes of what a package links and runs."""
    return [e["hash"] for e in _edges(node) if {"link", "run"} & set(e["parameters"]["deptypes"])]


class Database:
    """The database of the store at ``root``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._directory = os.path.join(root, DATABASE_DIRECTORY)
        self._lock = FileLock(os.path.join(self._directory, "lock"), label=f"the database of {root}")

    @property
    def exists(self) -> bool:
        return os.path.isdir(self._directory)

    def read(self) -> Records:
        """Raises NotAStore, CorruptDatabase, UnknownDatabase (nothing is touched then), and StorageError."""
        if not self.exists:
            raise NotAStore(
                f"{self._root} is no store: it has no {DATABASE_DIRECTORY}",
                remedy="name the install tree of a Spack, or a directory that spack-oci has installed into",
            )
        return self._read()

    def _read(self) -> Records:
        path = os.path.join(self._directory, "index.json")
        try:
            with open(path, encoding="utf-8") as file:
                # a Spack to come may write more objects behind the first
                text = file.read()
        except FileNotFoundError:
            return Records()
        except OSError as e:
            raise StorageError.from_os_error(f"reading the database of {self._root}", e) from e
        except UnicodeDecodeError as e:
            raise CorruptDatabase(f"the database of {self._root} cannot be read: {e}") from None
        try:
            document, _ = json.JSONDecoder().raw_decode(text)
            database = document["database"]
            version = database["version"]
        except (ValueError, KeyError, TypeError) as e:
            raise CorruptDatabase(f"{path} is no database of Spack's ({type(e).__name__}: {e})") from None
        if version != VERSION:
            raise UnknownDatabase(
                f"the database of {self._root} is of version {version}, and {VERSION} is the one known here",
                remedy="update spack-oci"
                if str(version).isdecimal() and len(str(version)) < 10 and int(version) > int(VERSION)
                else "run `spack reindex` with Spack 1.0 or newer",
            )
        return Records(self._checked(database.get("installs"), path))

    @staticmethod
    def _checked(installs: Any, path: str) -> Dict[str, Record]:
        if not isinstance(installs, dict):
            raise CorruptDatabase(f"{path} has no table of installed packages")
        for dag_hash, record in installs.items():
            node = record.get("spec") if isinstance(record, dict) else None
            if not (
                isinstance(node, dict)
                and isinstance(record.get("ref_count"), int)
                and all(isinstance(node.get(key), str) for key in ("name", "version"))
                and isinstance(node.get("arch"), dict)
                and isinstance(node.get("dependencies", []), list)
            ):
                raise CorruptDatabase(f"{path} has a record that is none: {dag_hash}")
            node.setdefault("hash", dag_hash)
            record.setdefault("installed", False)
        return installs

    @contextlib.contextmanager
    def transaction(self, timeout: float = DATABASE_TIMEOUT) -> Iterator[Records]:
        """Read, change, write, alone. Nothing is written when the block raises, or changes nothing."""
        with storage_errors(f"making the database of {self._root}"):
            make_directory(self._directory)
        with self._lock.held(timeout=timeout):
            records = self._read()
            yield records
            if records.changed:
                self._write(records)

    def _write(self, records: Records) -> None:
        import uuid  # with platform 3 ms, which only those that write need

        path = os.path.join(self._directory, "index.json")
        mode = _mode_for(path, self._directory)
        document = {"database": {"version": VERSION, "installs": records.by_hash}}
        with storage_errors(f"writing the database of {self._root}"):
            # first, so that the last step is what counts: if this one fails, nothing is registered. (Readers have the
            # lock, so that none sees it before the rest.)
            with atomic_write(os.path.join(self._directory, "index_verifier"), mode=mode, exact=True) as file:
                file.write(str(uuid.uuid4()).encode())
            with atomic_write(path, mode=mode, exact=True) as file:
                file.write(json.dumps(document, separators=(",", ":")).encode())

    def prefix_lock(self, dag_hash: str, name: str) -> FileLock:
        """Held while the prefix of a package is made or removed."""
        path = os.path.join(self._directory, "prefix_lock")
        return FileLock(path, byte_of(dag_hash), 1, f"the prefix of {name}/{dag_hash[:7]} in {self._root}")


def _mode_for(path: str, directory: str) -> int:
    """The permissions of the file that is replaced; of a new one, those that the store gives, whatever the umask."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0o600 | (os.stat(directory).st_mode & 0o666)


def check_root(root: str) -> str:
    """An absolute path for a store. Raises StoreError for one that is a file, or cannot be a part of RPATHs."""
    path = os.path.abspath(os.path.expanduser(root))
    if os.path.lexists(path) and not os.path.isdir(path):
        raise NotAStore(f"{path} is not a directory")
    if ":" in path:
        raise StoreError(f"{path} cannot be a store: a ':' separates directories in RPATHs", remedy="use another name")
    if "\n" in path:
        raise StoreError(f"{path!r} cannot be a store: no line of a script can name it", remedy="use another name")
    return path
