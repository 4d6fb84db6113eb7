# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The package index in memory, and its two forms as bytes: Spack's database and our own document.

Spack's database (what ``index.spack`` holds)::

    {"database": {"version": "8", "installs": {HASH: {"spec": {node}, "ref_count": n, "in_buildcache": true}, ...}}}

A record with ``in_buildcache: false`` is a dependency of a package that is not itself in the cache. ``ref_count`` is
the number of edges that lead to the node.

Our own document (``config_schema/index.json``) is a sequence of JSON objects, a line each, compressed with zstd
(:mod:`.frames`). The first says what it is and which database it corresponds to; the others are the nodes, sorted by
hash, with what is known of their packages. A client downloads the small document and gives Spack's own code the
database that follows from it.

Both depend on the packages alone, not on who wrote them or when: a build cache with the same content has the same
index.
"""

import hashlib
import sys
from typing import Any, Container, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from ..descriptor import Descriptor, canonical_json, parse_json
from ..errors import InvalidContent, NotAPackage
from .entry import PackageEntry
from .frames import packed, unpacked
from .lines import DATABASE_END, LABEL, Header, database_records, database_start, node_line, parse_line, read_lines
from .nodes import DATABASE_VERSION, SPECFILE_VERSION, Node, cycle_in, node_of_entry
from .packed_nodes import IndexedNode


class _Record:
    """A node, as packed bytes: a hundred thousand of them as dictionaries would take gigabytes. It never changes, so
    several indexes may have it.
    """

    __slots__ = ("dependencies", "needs", "packed_package", "packed_spec", "plain", "signed")

    def __init__(
        self,
        packed_spec: bytes,
        dependencies: Tuple[str, ...],
        needs: Tuple[str, ...],
        packed_package: Optional[bytes],
        plain: bool,
        signed: bool = False,
    ) -> None:
        self.packed_spec = packed_spec
        self.dependencies = dependencies
        self.needs = needs
        self.packed_package = packed_package
        #: the annotations, which the DAG hash does not cover, are those of a spec that no other Spack has rewritten
        self.plain = plain
        #: of the package
        self.signed = signed

    @property
    def spec(self) -> bytes:
        return unpacked(self.packed_spec)

    @property
    def package(self) -> Optional[bytes]:
        return None if self.packed_package is None else unpacked(self.packed_package)

    @property
    def is_package(self) -> bool:
        """Whether the cache has it."""
        return self.packed_package is not None

    def with_package(self, package: Optional[PackageEntry]) -> "_Record":
        if package is None:
            return _Record(self.packed_spec, self.dependencies, self.needs, None, self.plain)
        entry = packed(canonical_json(package.to_dict()))
        return _Record(self.packed_spec, self.dependencies, self.needs, entry, self.plain, package.signed)


class PackageIndex:
    """All nodes by DAG hash; those of packages in the build cache with a :class:`PackageEntry`.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._records: Dict[str, _Record] = {}
        self._interned: Dict[str, str] = {}
        #: tag -> DAG hash of every package
        self.tags: Dict[str, str] = {}

    def __len__(self) -> int:
        """Number of packages."""
        return len(self.tags)

    def add(self, nodes: Iterable[Node], entry: PackageEntry) -> None:
        """Add or replace a package, by its nodes as :func:`~spack_oci.index.nodes.nodes_of_document` gives them.

        Nodes that were skipped are in this index (:meth:`has_node`). Raises NotAPackage for a spec that depends on
        itself by way of what other documents say; :meth:`prune` forgets what was added of it.
        """
        package, *others = nodes
        for node in others:
            self._add_dependency(node)
        self._check_acyclic(package)
        self._set(package, entry)

    def _add_dependency(self, node: Node) -> None:
        """A package's own document wins over what others say of it; among others the smaller bytes, whoever came first.

        What the DAG hash does not cover (annotations, the attributes of an external) may differ between documents.
        """
        known = self._records.get(node.dag_hash)
        if known is None or not known.is_package and known.needs == node.needs and node.data < known.spec:
            self._put(node, None)

    def _check_acyclic(self, node: Node) -> None:
        """A document that says otherwise than others what a package depends on may be forged; a circle of
        dependencies would make every reader of the index follow it for ever.
        """
        known = self._records.get(node.dag_hash)
        if known is None or set(known.needs) == set(node.needs):
            return
        seen: Set[str] = set()
        pending = list(node.needs)
        while pending:
            dag_hash = pending.pop()
            if dag_hash == node.dag_hash:
                raise NotAPackage(f"{node.label} depends on itself")
            if dag_hash not in seen and dag_hash in self._records:
                seen.add(dag_hash)
                pending.extend(self._records[dag_hash].needs)

    def _set(self, node: Node, entry: PackageEntry) -> None:
        self._forget_tag_of(node.dag_hash)
        # whoever reads an index whole has listed the tags, too
        self.tags[sys.intern(entry.tag)] = self._put(node, entry)

    def _put(self, node: Node, entry: Optional[PackageEntry]) -> str:
        """Returns the hash, as the text that all have."""
        intern = self._interned.setdefault
        dag_hash = intern(node.dag_hash, node.dag_hash)
        dependencies = tuple([intern(h, h) for h in node.dependencies])
        needs = dependencies if node.needs == node.dependencies else tuple([intern(h, h) for h in node.needs])
        record = _Record(packed(node.data), dependencies, needs, None, _is_plain(node.spec))
        self._records[dag_hash] = record if entry is None else record.with_package(entry)
        return dag_hash

    def _forget_tag_of(self, dag_hash: str) -> None:
        known = self._records.get(dag_hash)
        if known is not None and known.is_package:
            self.tags.pop(self._entry(known).tag, None)

    def has_node(self, node: Any) -> bool:
        """Whether a dependency's node would change nothing (see :func:`nodes_of_document`); for any thread."""
        record = self._records.get(str(node.get("hash"))) if isinstance(node, dict) else None
        return record is not None and (record.is_package or (record.plain and _is_plain(node)))

    def remove(self, tag: str) -> None:
        """Drop a package; its node stays while another package needs it."""
        dag_hash = self.tags.pop(tag)
        self._records[dag_hash] = self._records[dag_hash].with_package(None)

    def entry(self, dag_hash: str) -> Optional[PackageEntry]:
        record = self._records.get(dag_hash)
        return self._entry(record) if record is not None and record.is_package else None

    def node(self, dag_hash: str) -> Dict[str, Any]:
        """Raises KeyError."""
        return parse_json(self._records[dag_hash].spec, LABEL)

    def nodes(self) -> Iterator[IndexedNode]:
        """All nodes, one at a time, sorted by hash."""
        for dag_hash in sorted(self._records):
            record = self._records[dag_hash]
            package = parse_json(record.package or b"", LABEL) if record.is_package else None
            yield IndexedNode(dag_hash, parse_json(record.spec, LABEL), package, record.is_package)

    @property
    def database_version(self) -> str:
        """Of Spack's database."""
        return DATABASE_VERSION

    def dependencies(self, dag_hash: str) -> Tuple[str, ...]:
        return self._records[dag_hash].dependencies

    def has_same_node(self, node: Node) -> bool:
        """Whether the node is here, byte for byte."""
        record = self._records.get(node.dag_hash)
        return record is not None and record.packed_spec == packed(node.data)

    def changed_since(self, before: "PackageIndex") -> List[str]:
        """Tags of both that have another manifest here."""
        common = before.tags.keys() & self.tags.keys()
        differing = (tag for tag in common if not self.has_same_entry(before, tag))
        return [tag for tag in differing if self.manifest_of(tag) != before.manifest_of(tag)]

    def has_same_entry(self, other: "PackageIndex", tag: str) -> bool:
        """Whether both say the same of the package with that tag; False also if one of them does not have it."""
        if tag not in self.tags or tag not in other.tags or self.tags[tag] != other.tags[tag]:
            return False
        dag_hash = self.tags[tag]
        return self._records[dag_hash].packed_package == other._records[dag_hash].packed_package

    def is_same_as(self, other: "PackageIndex") -> bool:
        """Whether both give the same documents."""
        if self.tags != other.tags or self._records.keys() != other._records.keys():
            return False
        others = other._records
        return all(
            r is others[h] or (r.packed_spec, r.packed_package) == (others[h].packed_spec, others[h].packed_package)
            for h, r in self._records.items()
        )

    def manifest_of(self, tag: str) -> str:
        """Digest of the manifest of a package. Raises KeyError."""
        return self._entry(self._records[self.tags[tag]]).manifest.digest

    def __contains__(self, dag_hash: str) -> bool:
        """Whether the package is in the build cache."""
        record = self._records.get(dag_hash)
        return record is not None and record.is_package

    def packages(self, besides: Container[str] = ()) -> Iterator[Tuple[str, PackageEntry]]:
        """(DAG hash, entry), sorted by hash. ``besides``: hashes of packages that are left out."""
        for dag_hash in sorted(self.tags.values()):
            if dag_hash not in besides:
                yield dag_hash, self._entry(self._records[dag_hash])

    def unsigned_packages(self) -> Iterator[Tuple[str, PackageEntry]]:
        """The same of those that have no signature, as far as their entries know."""
        for dag_hash in sorted(self.tags.values()):
            if not self._records[dag_hash].signed:
                yield dag_hash, self._entry(self._records[dag_hash])

    def adopt(self, other: "PackageIndex", tag: str) -> None:
        """Take a package over from another index, with the nodes it needs."""
        pending = [other.tags[tag]]
        record = other._records[pending[0]]
        self._forget_tag_of(pending[0])
        self._records[pending[0]] = record
        self.tags[tag] = pending[0]
        pending.extend(record.needs)
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in self._records:
                record = other._records[dag_hash]
                self._records[dag_hash] = record.with_package(None) if record.is_package else record
                pending.extend(record.needs)

    def copy(self) -> "PackageIndex":
        """One that changes apart from this one."""
        result = PackageIndex()
        result._records, result.tags = dict(self._records), dict(self.tags)
        return result

    def replace_entry(self, dag_hash: str, entry: PackageEntry) -> None:
        self._forget_tag_of(dag_hash)
        self._records[dag_hash] = self._records[dag_hash].with_package(entry)
        self.tags[entry.tag] = dag_hash

    def _entry(self, record: _Record) -> PackageEntry:
        return PackageEntry.from_dict(parse_json(record.package or b"", LABEL))

    def prune(self) -> None:
        """Forget the nodes that no package needs any more."""
        needed: Set[str] = set()
        pending: List[str] = list(self.tags.values())
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in needed:
                needed.add(dag_hash)
                pending.extend(self._records[dag_hash].needs)
        self._records = {h: r for h, r in self._records.items() if h in needed}

    # Spack's database

    def database(self) -> Iterator[bytes]:
        """The bytes of Spack's database, in pieces."""
        yield database_start(DATABASE_VERSION)
        counts: Dict[str, int] = {}
        for record in self._records.values():
            for dag_hash in record.dependencies:
                counts[dag_hash] = counts.get(dag_hash, 0) + 1
        in_order = ((h, self._records[h]) for h in sorted(self._records))
        yield from database_records(((h, r.spec, r.is_package) for h, r in in_order), counts)
        yield DATABASE_END

    # Our own document

    def lines(self, database: Optional[Descriptor] = None) -> Iterator[bytes]:
        """The bytes of our document, a line each, uncompressed. ``database``: what :meth:`database` gives, if known."""
        digest, size = self.database_digest() if database is None else (database.digest, database.size)
        yield Header(len(self.tags), len(self._records), DATABASE_VERSION, digest, size).to_line()
        for dag_hash in sorted(self._records):
            record = self._records[dag_hash]
            yield node_line(dag_hash, record.spec, record.package)

    def database_digest(self) -> Tuple[str, int]:
        """(digest, size) of what :meth:`database` gives."""
        hasher, size = hashlib.sha256(), 0
        for piece in self.database():
            hasher.update(piece)
            size += len(piece)
        return f"sha256:{hasher.hexdigest()}", size

    @classmethod
    def from_lines(cls, lines: Iterable[bytes]) -> "PackageIndex":
        """Read our document. Raises InvalidContent when it is none, is newer than we are, or was cut short."""
        header, rest = read_lines(lines)
        index = cls()
        for line in rest:
            index._add_line(line)
        if (len(index.tags), len(index._records)) != (header.packages, header.nodes):
            raise InvalidContent(
                f"{LABEL} has {len(index.tags)} packages and {len(index._records)} nodes where {header.packages} and"
                f" {header.nodes} were announced"
            )
        index._check_complete()
        return index

    def _add_line(self, data: bytes) -> None:
        line = parse_line(data)
        try:
            node = node_of_entry(line.dag_hash, line.spec)
        except NotAPackage as e:
            raise InvalidContent(f"{LABEL} has a node that is malformed: {e}") from None
        if line.package is None:
            self._put(node, None)
        else:
            self._set(node, PackageEntry.from_dict(line.package))

    def _check_complete(self) -> None:
        for dag_hash, record in self._records.items():
            for needed in record.needs:
                if needed not in self._records:
                    raise InvalidContent(f"{LABEL} lacks {needed}, which {dag_hash} needs")
        cyclic = cycle_in({dag_hash: record.needs for dag_hash, record in self._records.items()})
        if cyclic is not None:
            raise InvalidContent(f"{LABEL} has a package that depends on itself: {cyclic}")


def _is_plain(node: Mapping[str, Any]) -> bool:
    return bool(node.get("annotations") == {"original_specfile_version": SPECFILE_VERSION})
