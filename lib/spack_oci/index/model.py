# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The package index in memory, and its two forms as bytes: Spack's database and our own document.

Spack's database (what ``index.spack`` holds)::

    {"database": {"version": "8", "installs": {HASH: {"spec": {node}, "ref_count": n, "in_buildcache": true}, ...}}}

A record with ``in_buildcache: false`` is a dependency of a package that is not itself in the cache. ``ref_count`` is
the number of edges that lead to the node.

Our own document (``config_schema/index.json``) is a sequence of JSON objects, a line each, compressed with zstd. The
first says what it is and which database it corresponds to; the others are the nodes, sorted by hash, with what is known
of their packages. Lines keep reading and writing at the memory of one node, and Spack's database comes out of them byte
for byte, so that a client loads the small document and Spack's own code reads the result.

Both depend on the set of packages alone, not on who wrote them or when: the same cache has the same index.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..descriptor import Descriptor, canonical_json, parse_json, sha256_digest
from ..errors import InvalidContent, NotAPackage
from .nodes import DATABASE_VERSION, SPECFILE_VERSION, Node, node_of_entry

FORMAT = "spack-oci.index"
FORMAT_VERSION = 1
#: characters of a DAG hash
HASH_LENGTH = 32
_WHAT = "the package index"

_DATABASE_START = b'{"database":{"version":"%s","installs":{'
_DATABASE_END = b"}}}"
#: between the parts of a line; no string of JSON contains them, as their quotes would be escaped in it
_RECORD_MEMBER = b'","record":'
_PACKAGE_MEMBER = b',"package":'


@dataclass(frozen=True)
class PackageEntry:
    """What the index knows of one package of the cache. Sizes in bytes; ``None`` and ``False``: not known."""

    tag: str
    manifest: Descriptor
    #: the package's own layer: the last of the manifest
    layer: Descriptor
    #: digest of the uncompressed layer
    diff_id: Optional[str] = None
    #: length of the install prefix that the package was built for; a new prefix up to it always fits
    prefix_length: Optional[int] = None
    #: what the pusher recorded for relocation, as it recorded it
    relocation: Mapping[str, Any] = field(default_factory=dict)
    #: version of the program that pushed it
    pusher: Optional[str] = None
    #: a signature was seen in the tags, or reported by the pusher
    signed: bool = False

    def to_dict(self) -> Dict[str, Any]:
        result: Dict[str, Any] = {
            "tag": self.tag,
            "manifest": _bare(self.manifest),
            "layer": _bare(self.layer),
        }
        for key in ("diff_id", "prefix_length", "pusher"):
            value = getattr(self, key)
            if value is not None:
                result[key] = value
        if self.relocation:
            result["relocation"] = dict(sorted(self.relocation.items()))
        result["signed"] = self.signed
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PackageEntry":
        try:
            return cls(
                tag=data["tag"],
                manifest=Descriptor.from_dict(data["manifest"]),
                layer=Descriptor.from_dict(data["layer"]),
                diff_id=data.get("diff_id"),
                prefix_length=data.get("prefix_length"),
                relocation=data.get("relocation") or {},
                pusher=data.get("pusher"),
                signed=bool(data["signed"]),
            )
        except (KeyError, TypeError, AttributeError) as e:
            raise InvalidContent(f"{_WHAT} has an entry that is none ({type(e).__name__}: {e})") from None


class Header(NamedTuple):
    """The first line of our document: the Spack database that it corresponds to."""

    packages: int
    nodes: int
    database_version: str
    #: of the database's bytes
    database_digest: str
    database_size: int


class _Record:
    """A node, kept as bytes: tens of thousands of them as dictionaries would take gigabytes."""

    __slots__ = ("dependencies", "needs", "package", "plain", "spec")

    def __init__(
        self, spec: bytes, dependencies: Tuple[str, ...], needs: Tuple[str, ...], package: Optional[bytes], plain: bool
    ) -> None:
        self.spec = spec
        self.dependencies = dependencies
        self.needs = needs
        self.package = package
        #: the annotations, which the DAG hash does not cover, are those of a spec that no other Spack has rewritten
        self.plain = plain

    def copy(self) -> "_Record":
        return _Record(self.spec, self.dependencies, self.needs, self.package, self.plain)


class PackageIndex:
    """All nodes by DAG hash; those of packages in the cache with a :class:`PackageEntry`. Not for several threads."""

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

        Nodes that were skipped are in this index (:meth:`has_node`).
        """
        package, *others = nodes
        for node in others:
            self._add_dependency(node)
        self._set(package, entry)

    def _add_dependency(self, node: Node) -> None:
        """A package's own document wins over what others say of it; among others the smaller bytes, whoever came first.

        What the DAG hash does not cover (annotations, the attributes of an external) may differ between documents.
        """
        known = self._records.get(node.dag_hash)
        if known is None:
            self._records[node.dag_hash] = self._record(node, None)
        elif known.package is None:
            other = self._record(node, None)
            if other.spec < known.spec:
                self._records[node.dag_hash] = other

    def _set(self, node: Node, entry: PackageEntry) -> None:
        known = self._records.get(node.dag_hash)
        if known is not None and known.package is not None:
            self.tags.pop(self._entry(known).tag, None)
        self._records[node.dag_hash] = self._record(node, canonical_json(entry.to_dict()))
        self.tags[entry.tag] = node.dag_hash

    def _record(self, node: Node, package: Optional[bytes]) -> _Record:
        intern = self._interned.setdefault
        dependencies = tuple(intern(h, h) for h in node.dependencies)
        needs = dependencies if node.needs == node.dependencies else tuple(intern(h, h) for h in node.needs)
        return _Record(canonical_json(node.spec), dependencies, needs, package, _is_plain(node.spec))

    def has_node(self, node: Any) -> bool:
        """Whether a dependency's node would change nothing (see :func:`nodes_of_document`); for any thread."""
        record = self._records.get(str(node.get("hash"))) if isinstance(node, dict) else None
        return record is not None and (record.package is not None or (record.plain and _is_plain(node)))

    def remove(self, tag: str) -> None:
        """Drop a package; its node stays while another package needs it."""
        self._records[self.tags.pop(tag)].package = None

    def entry(self, dag_hash: str) -> Optional[PackageEntry]:
        record = self._records.get(dag_hash)
        return self._entry(record) if record is not None and record.package is not None else None

    def node(self, dag_hash: str) -> Dict[str, Any]:
        """Raises KeyError."""
        return parse_json(self._records[dag_hash].spec, _WHAT)

    def dependencies(self, dag_hash: str) -> Tuple[str, ...]:
        return self._records[dag_hash].dependencies

    def __contains__(self, dag_hash: str) -> bool:
        """Whether the package is in the cache."""
        record = self._records.get(dag_hash)
        return record is not None and record.package is not None

    def packages(self) -> Iterator[Tuple[str, PackageEntry]]:
        """(DAG hash, entry), sorted by hash."""
        for dag_hash in sorted(self.tags.values()):
            yield dag_hash, self._entry(self._records[dag_hash])

    def adopt(self, other: "PackageIndex", tag: str) -> None:
        """Take a package over from another index, with the nodes it needs."""
        pending = [other.tags[tag]]
        record = other._records[pending[0]]
        known = self._records.get(pending[0])
        if known is not None and known.package is not None:
            self.tags.pop(self._entry(known).tag, None)
        self._records[pending[0]] = record.copy()
        self.tags[tag] = pending[0]
        pending.extend(record.needs)
        while pending:
            dag_hash = pending.pop()
            if dag_hash not in self._records:
                record = other._records[dag_hash].copy()
                record.package = None
                self._records[dag_hash] = record
                pending.extend(record.needs)

    def replace_entry(self, dag_hash: str, entry: PackageEntry) -> None:
        record = self._records[dag_hash]
        self.tags.pop(self._entry(record).tag, None)
        record.package = canonical_json(entry.to_dict())
        self.tags[entry.tag] = dag_hash

    def _entry(self, record: _Record) -> PackageEntry:
        return PackageEntry.from_dict(parse_json(record.package or b"", _WHAT))

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
        yield _DATABASE_START % DATABASE_VERSION.encode()
        separator = b""
        for dag_hash, record in self._spack_records():
            yield b'%s"%s":%s' % (separator, dag_hash.encode(), record)
            separator = b","
        yield _DATABASE_END

    def _spack_records(self) -> Iterator[Tuple[str, bytes]]:
        counts: Dict[str, int] = dict.fromkeys(self._records, 0)
        for record in self._records.values():
            for dag_hash in record.dependencies:
                counts[dag_hash] += 1
        for dag_hash in sorted(self._records):
            record = self._records[dag_hash]
            in_buildcache = b"false" if record.package is None else b"true"
            yield (
                dag_hash,
                b'{"spec":%s,"ref_count":%d,"in_buildcache":%s}' % (record.spec, counts[dag_hash], in_buildcache),
            )

    # Our own document

    def lines(self) -> Iterator[bytes]:
        """The bytes of our document, a line each, uncompressed."""
        hasher = hashlib.sha256()
        size = 0
        for piece in self.database():
            hasher.update(piece)
            size += len(piece)
        header = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "packages": len(self.tags),
            "nodes": len(self._records),
            "database": {
                "version": DATABASE_VERSION,
                "digest": "sha256:" + hasher.hexdigest(),
                "size": size,
            },
        }
        yield canonical_json(header) + b"\n"
        for dag_hash, record in self._spack_records():
            package = self._records[dag_hash].package
            rest = b"" if package is None else _PACKAGE_MEMBER + package
            yield _line_start(dag_hash) + _RECORD_MEMBER + record + rest + b"}\n"

    @classmethod
    def from_lines(cls, lines: Iterable[bytes]) -> "PackageIndex":
        """Read our document. Raises InvalidContent when it is none, is newer than we are, or was cut short."""
        iterator = iter(lines)
        header = parse_header(next(iterator, b""))
        index = cls()
        for line in iterator:
            index._add_line(line)
        if (len(index.tags), len(index._records)) != (header.packages, header.nodes):
            raise InvalidContent(f"{_WHAT} has {len(index._records)} nodes where {header.nodes} were announced")
        index._check_complete()
        return index

    def _add_line(self, line: bytes) -> None:
        entry = parse_json(line, _WHAT)
        try:
            node = node_of_entry(entry["hash"], entry["record"]["spec"])
        except (KeyError, TypeError, NotAPackage) as e:
            raise InvalidContent(f"{_WHAT} has a line that is none: {e}") from None
        package = entry.get("package")
        if package is None:
            self._records[node.dag_hash] = self._record(node, None)
        else:
            self._set(node, PackageEntry.from_dict(package))

    def _check_complete(self) -> None:
        for dag_hash, record in self._records.items():
            for needed in record.needs:
                if needed not in self._records:
                    raise InvalidContent(f"{_WHAT} lacks {needed}, which {dag_hash} needs")


def parse_header(line: bytes) -> Header:
    """Raises InvalidContent."""
    data = parse_json(line, _WHAT)
    if data.get("format") != FORMAT:
        raise InvalidContent(f"{_WHAT} has the format {str(data.get('format'))[:40]!r}, not {FORMAT}")
    if data.get("version") != FORMAT_VERSION:
        raise InvalidContent(
            f"{_WHAT} has the format version {data.get('version')!r}, only {FORMAT_VERSION} is known",
            remedy="update spack-oci: a newer one wrote it",
        )
    try:
        database = data["database"]
        return Header(data["packages"], data["nodes"], database["version"], database["digest"], database["size"])
    except (KeyError, TypeError) as e:
        raise InvalidContent(f"{_WHAT} has no valid header ({type(e).__name__}: {e})") from None


def database_from_lines(lines: Iterable[bytes], digest: str) -> bytes:
    """Spack's database out of our document: what ``index.spack`` holds, byte for byte.

    The records are cut out of the lines, not parsed: this is on the way of every ``spack install``. A line that is not
    as we write it gives other bytes than those with ``digest``, and then InvalidContent is raised.
    """
    iterator = iter(lines)
    header = parse_header(next(iterator, b""))
    pieces = [_DATABASE_START % header.database_version.encode()]
    separator = b""
    for line in iterator:
        start = line.find(_RECORD_MEMBER)
        end = line.rfind(_PACKAGE_MEMBER)
        # 8: behind {"hash":
        pieces += separator, line[8 : start + 1], b":", line[start + len(_RECORD_MEMBER) : end if end > 0 else -2]
        separator = b","
    pieces.append(_DATABASE_END)
    data = b"".join(pieces)
    if sha256_digest(data) != digest:
        raise InvalidContent(f"{_WHAT} does not give the database {digest} that it announces")
    return data


def package_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """``{"hash":...,"package":{...}}`` and a newline for each package, cut out of the lines of our document."""
    iterator = iter(lines)
    parse_header(next(iterator, b""))
    for line in iterator:
        package = line.rfind(_PACKAGE_MEMBER)
        if package > 0:
            yield line[: line.find(_RECORD_MEMBER) + 1] + line[package:]


def entries_from_lines(lines: Iterable[bytes], hashes: Optional[Set[str]] = None) -> Dict[str, PackageEntry]:
    """The packages with these hashes (None: all) out of our document. Raises InvalidContent.

    An install looks for a few hashes in a document of tens of thousands: only lines that begin as those of the wanted
    ones do are parsed (every line begins with its hash; ``from_lines`` refuses others).
    """
    iterator = iter(lines)
    parse_header(next(iterator, b""))
    wanted = None if hashes is None else {_line_start(h) for h in hashes}
    length = len(_line_start("")) + HASH_LENGTH
    result: Dict[str, PackageEntry] = {}
    for line in iterator:
        if wanted is not None and line[:length] not in wanted:
            continue
        data = parse_json(line, _WHAT)
        if data.get("package") is not None:
            result[data["hash"]] = PackageEntry.from_dict(data["package"])
    return result


def _is_plain(node: Mapping[str, Any]) -> bool:
    return bool(node.get("annotations") == {"original_specfile_version": SPECFILE_VERSION})


def _line_start(dag_hash: str) -> bytes:
    return b'{"hash":"' + dag_hash.encode()


def _bare(descriptor: Descriptor) -> Dict[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
