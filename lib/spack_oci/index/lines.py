# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The lines of our index document, a JSON object each.

The first line is a header; every other has the members ``hash``, ``spec`` (the node) and, for packages of the build
cache, ``package``, in this order and without white space (``config_schema/index.json``). Lines are parsed, never
searched: what a node holds is foreign. What follows from other lines (how many nodes depend on one) is not written, so
that a new package changes no other line.

Documents of version 1 have, instead of ``spec``, the record of Spack's database; they are read, not written.
"""

import array
import hashlib
import io
import json
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..descriptor import canonical_json, check_digest, parse_json
from ..errors import InvalidContent, InvalidReference
from .entry import PackageEntry
from .nodes import MAX_NODE_SIZE

FORMAT = "spack-oci.index"
FORMAT_VERSION = 2
#: version of Spack's database whose nodes are those of specfile version 5
CURRENT_DATABASE = "8"
_VERSIONS = (1, 2)
LABEL = "the package index"

#: bytes; a node, its package entry, and what stands around them
MAX_LINE_SIZE = MAX_NODE_SIZE + (64 << 10)
DATABASE_END = b"}}}"
#: between the hash of a line and its node: now, and in documents of version 1
_NODE_START, _RECORD_START = b'","spec":', b'","record":{"spec":'

_decode = json.JSONDecoder().raw_decode


class Header(NamedTuple):
    """The first line of our document: the Spack database that it corresponds to."""

    packages: int
    nodes: int
    database_version: str
    #: of the database's bytes
    database_digest: str
    database_size: int

    def to_line(self) -> bytes:
        document = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "packages": self.packages,
            "nodes": self.nodes,
            "database": {
                "version": self.database_version,
                "digest": self.database_digest,
                "size": self.database_size,
            },
        }
        return canonical_json(document) + b"\n"


class Line(NamedTuple):
    """A node of our document."""

    dag_hash: str
    #: the node, as its bytes and parsed
    spec_data: bytes
    spec: Mapping[str, Any]
    #: of :class:`PackageEntry`, not yet checked; None: a dependency that is not in the build cache
    package: Optional[Mapping[str, Any]]
    package_data: Optional[bytes] = None


def database_start(version: str) -> bytes:
    """What stands before the records in Spack's database."""
    return b'{"database":{"version":%s,"installs":{' % canonical_json(version)


def database_records(nodes: Iterable[Tuple[str, bytes, bool]], counts: Mapping[str, int]) -> Iterator[bytes]:
    """The pieces of Spack's database between start and end. ``nodes``: (DAG hash, node, is it in the build cache),
    sorted; ``counts``: how many edges lead to each.
    """
    separator = b""
    for dag_hash, spec, in_buildcache in nodes:
        yield b'%s"%s":{"spec":%s,"ref_count":%d,"in_buildcache":%s}' % (
            separator,
            dag_hash.encode(),
            spec,
            counts.get(dag_hash, 0),
            b"true" if in_buildcache else b"false",
        )
        separator = b","


def node_line(dag_hash: str, spec: bytes, package: Optional[bytes]) -> bytes:
    rest = b"" if package is None else b',"package":' + package
    return b'{"hash":"%s","spec":%s%s}\n' % (dag_hash.encode(), spec, rest)


def parse_line(line: bytes) -> Line:
    """Raises InvalidContent for a line that is not as :func:`node_line` writes it."""
    try:
        text = line.decode("utf-8")
        _skip(text, 0, '{"hash":"')
        end = text.index('"', 9)
        if text.startswith('","record":{"spec":', end):
            start = end + len('","record":{"spec":')
            spec, stop = _decode(text, start)
            _, after = _decode(text, end + len('","record":'))
        else:
            start = _skip(text, end, '","spec":')
            spec, stop = _decode(text, start)
            after = stop
        spec_data, stop = text[start:stop], after
        package, package_data = None, None
        if text.startswith(',"package":', stop):
            start = stop + len(',"package":')
            package, stop = _decode(text, start)
            package_data = text[start:stop].encode("utf-8")
        _skip(text, stop, "}\n")
        if stop + 2 != len(text) or not isinstance(spec, dict) or not isinstance(package, (dict, type(None))):
            raise ValueError("it has other members")
    except (ValueError, RecursionError) as e:
        raise InvalidContent(f"{LABEL} has a line that cannot be read: {ascii(e)[:100]}") from None
    return Line(text[9:end], spec_data.encode("utf-8"), spec, package, package_data)


def _skip(text: str, at: int, expected: str) -> int:
    if not text.startswith(expected, at):
        raise ValueError(f"no {expected} at {at}")
    return at + len(expected)


def parse_header(line: bytes) -> Header:
    """Raises InvalidContent."""
    data = parse_json(line, LABEL)
    if data.get("format") != FORMAT:
        raise InvalidContent(f"{LABEL} has the format {ascii(data.get('format'))[:40]}, not {FORMAT}")
    if data.get("version") not in _VERSIONS:
        raise InvalidContent(
            f"{LABEL} has the format version {ascii(data.get('version'))[:40]}, the newest known is {FORMAT_VERSION}",
            remedy="update spack-oci: a newer one wrote it",
        )
    try:
        database = data["database"]
        header = Header(
            data["packages"], data["nodes"], database["version"], check_digest(database["digest"]), database["size"]
        )
        if not isinstance(header.database_version, str):
            raise TypeError("its version is not a text")
        if any(
            type(number) is not int or number < 0 for number in (header.packages, header.nodes, header.database_size)
        ):
            raise TypeError("its counts are not numbers")
    except (KeyError, TypeError, InvalidReference) as e:
        raise InvalidContent(f"{LABEL} has no valid header ({type(e).__name__}: {ascii(e)[:100]})") from None
    return header


def read_lines(lines: Iterable[bytes]) -> Tuple[Header, Iterator[bytes]]:
    """The header, and the lines of nodes: exactly as many as it announces. Raises InvalidContent."""
    iterator = iter(lines)
    header = parse_header(next(iterator, b""))
    return header, _announced(iterator, header.nodes)


def _announced(lines: Iterator[bytes], count: int) -> Iterator[bytes]:
    number = 0
    for line in lines:
        number += 1
        if number > count:
            break
        yield line
    if number != count:
        raise InvalidContent(f"{LABEL} has {'more' if number > count else number} nodes where {count} were announced")


class DatabaseOfLines:
    """Spack's database out of our document: what ``index.spack`` holds, byte for byte, and a piece at a time: the whole
    would be 150 MB of 100,000 packages.

    ``lines``: gives those of the document, each time that it is called. ``see``: shown each line, once. Raises
    InvalidContent when the document gives another database than the one with ``digest``. ``is_checked``: it was seen to
    give that one, and is not read before it is needed.
    """

    def __init__(
        self,
        lines: Callable[[], Iterable[bytes]],
        digest: str,
        see: Callable[[Header, Line], None] = lambda header, line: None,
        is_checked: bool = False,
    ) -> None:
        self._lines = lines
        self._digest = digest
        self._header = read_lines(lines())[0]
        #: of each line, in order: the size of its node, whether it is a package, how many edges lead to it
        self._sizes, self._packages = array.array("L"), bytearray()
        self._counts: Optional[Mapping[str, int]] = None
        if is_checked and self._header.database_digest != digest:
            raise self._another()
        if not is_checked:
            self._scan(see)
            hasher = hashlib.sha256()
            for piece in self.pieces():
                hasher.update(piece)
            if digest != "sha256:" + hasher.hexdigest():
                raise self._another()

    def _another(self) -> InvalidContent:
        return InvalidContent(f"{LABEL} does not give the database {self._digest} that it announces")

    def _scan(self, see: Callable[[Header, Line], None] = lambda header, line: None) -> None:
        """Raises InvalidContent also where the nodes alone are more than the database that is announced."""
        counts: Dict[str, int] = {}
        left = self._header.database_size
        for line in map(parse_line, read_lines(self._lines())[1]):
            see(self._header, line)
            self._sizes.append(len(line.spec_data))
            self._packages.append(line.package is not None)
            left -= len(line.spec_data)
            if left < 0:
                raise self._another()
            for dag_hash in edges_of(line.spec):
                counts[dag_hash] = counts.get(dag_hash, 0) + 1
        self._counts = counts

    @property
    def version(self) -> str:
        """Of Spack's database."""
        return self._header.database_version

    def pieces(self) -> Iterator[bytes]:
        """The bytes, a record each between start and end."""
        if self._counts is None:
            self._scan()
        yield database_start(self._header.database_version)
        yield from database_records(_nodes_again(self._lines(), self._sizes, self._packages), self._counts or {})
        yield DATABASE_END

    def read(self) -> bytes:
        """All of it."""
        out = io.BytesIO()
        out.writelines(self.pieces())
        return out.getvalue()  # of CPython, without a copy


def _nodes_again(
    lines: Iterable[bytes], sizes: Sequence[int], packages: Sequence[int]
) -> Iterator[Tuple[str, bytes, bool]]:
    """As :func:`database_records` takes them: of lines that have been parsed, whose nodes have these sizes."""
    _, rest = read_lines(lines)
    for line, size, is_package in zip(rest, sizes, packages):
        end = line.index(b'"', 9)
        start = end + len(_RECORD_START if line.startswith(_RECORD_START, end) else _NODE_START)
        yield line[9:end].decode("utf-8"), line[start : start + size], bool(is_package)


def edges_of(spec: Mapping[str, Any]) -> Iterator[str]:
    """The hashes of a node's dependencies, as far as it is one."""
    edges = spec.get("dependencies")
    for edge in edges if isinstance(edges, list) else ():
        if isinstance(edge, dict) and isinstance(edge.get("hash"), str):
            yield edge["hash"]


def entries_from_lines(lines: Iterable[bytes], hashes: Optional[Set[str]] = None) -> Dict[str, PackageEntry]:
    """The packages with these hashes (None: all) out of our document. Raises InvalidContent.

    An install looks for a few hashes in a document of tens of thousands: only lines that begin with one of the wanted
    hashes are parsed.
    """
    _, rest = read_lines(lines)
    result: Dict[str, PackageEntry] = {}
    for line in rest:
        if hashes is not None and line[9 : line.find(b'"', 9)].decode("utf-8", "replace") not in hashes:
            continue
        found = parse_line(line)
        if found.package is not None:
            result[found.dag_hash] = PackageEntry.from_dict(found.package)
    return result


def packages_of_lines(lines: Iterable[bytes]) -> Dict[str, Mapping[str, Any]]:
    """DAG hash -> what our document says of each package, not yet checked. Raises InvalidContent."""
    _, rest = read_lines(lines)
    return {line.dag_hash: line.package for line in map(parse_line, rest) if line.package is not None}
