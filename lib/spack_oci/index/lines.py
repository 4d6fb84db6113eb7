# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Our index document as bytes: one zstd frame of lines, a JSON object each, read with bounded memory.

The first line is a header; every other has the members ``hash``, ``record`` (of Spack's database) and, for packages of
the build cache, ``package``, in this order and without white space (``config_schema/index.json``). Lines are parsed,
never searched: what a node holds is foreign.
"""

import hashlib
import io
import json
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Set, Tuple

from ..descriptor import canonical_json, check_digest, parse_json
from ..errors import InvalidContent, InvalidReference
from .entry import PackageEntry
from .nodes import MAX_NODE_SIZE

FORMAT = "spack-oci.index"
FORMAT_VERSION = 1
LABEL = "the package index"

#: bytes; a node, its package entry, and what stands around them
MAX_LINE_SIZE = MAX_NODE_SIZE + (64 << 10)
#: bytes of an uncompressed document or database: ten times what 100,000 packages have
MAX_DATABASE_SIZE = 4 << 30
#: a compressed document may become this many times larger (real ones: 10 to 40 times), or have the small size below
_MAX_EXPANSION = 500
_SMALL = 64 << 20
_LEVEL = 6

DATABASE_END = b"}}}"

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
    #: the record of Spack's database, as its bytes and parsed
    record_data: bytes
    record: Mapping[str, Any]
    #: of :class:`PackageEntry`, not yet checked; None: a dependency that is not in the build cache
    package: Optional[Mapping[str, Any]]


def database_start(version: str) -> bytes:
    """What stands before the records in Spack's database."""
    return b'{"database":{"version":%s,"installs":{' % canonical_json(version)


def node_line(dag_hash: str, record: bytes, package: Optional[bytes]) -> bytes:
    rest = b"" if package is None else b',"package":' + package
    return b'{"hash":"%s","record":%s%s}\n' % (dag_hash.encode(), record, rest)


def parse_line(line: bytes) -> Line:
    """Raises InvalidContent for a line that is not as :func:`node_line` writes it."""
    try:
        text = line.decode("utf-8")
        _skip(text, 0, '{"hash":"')
        end = text.index('"', 9)
        record, stop = _decode(text, _skip(text, end, '","record":'))
        record_data = text[end + len('","record":') : stop]
        package = None
        if text.startswith(',"package":', stop):
            package, stop = _decode(text, stop + len(',"package":'))
        _skip(text, stop, "}\n")
        if stop + 2 != len(text) or not isinstance(record, dict) or not isinstance(package, (dict, type(None))):
            raise ValueError("it has other members")
    except (ValueError, RecursionError) as e:
        raise InvalidContent(f"{LABEL} has a line that cannot be read: {ascii(e)[:100]}") from None
    return Line(text[9:end], record_data.encode("utf-8"), record, package)


def _skip(text: str, at: int, expected: str) -> int:
    if not text.startswith(expected, at):
        raise ValueError(f"no {expected} at {at}")
    return at + len(expected)


def parse_header(line: bytes) -> Header:
    """Raises InvalidContent."""
    data = parse_json(line, LABEL)
    if data.get("format") != FORMAT:
        raise InvalidContent(f"{LABEL} has the format {ascii(data.get('format'))[:40]}, not {FORMAT}")
    if data.get("version") != FORMAT_VERSION:
        raise InvalidContent(
            f"{LABEL} has the format version {ascii(data.get('version'))[:40]}, only {FORMAT_VERSION} is known",
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


def database_from_lines(
    lines: Iterable[bytes], digest: str, see: Callable[[Header, Line], None] = lambda header, line: None
) -> bytes:
    """Spack's database out of our document: what ``index.spack`` holds, byte for byte. ``see``: shown each line.

    Raises InvalidContent when the document gives another database than the one with ``digest``.
    """
    header, rest = read_lines(lines)
    pieces = [database_start(header.database_version)]
    size = len(pieces[0]) + len(DATABASE_END)
    separator = b""
    for line in map(parse_line, rest):
        see(header, line)
        pieces += separator, b'"%s":' % line.dag_hash.encode(), line.record_data
        size += sum(map(len, pieces[-3:]))
        separator = b","
        if size > header.database_size:
            break
    pieces.append(DATABASE_END)
    data = b"".join(pieces)
    if digest != "sha256:" + hashlib.sha256(data).hexdigest():
        raise InvalidContent(f"{LABEL} does not give the database {digest} that it announces")
    return data


def entry_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """``{"hash":...,"package":{...}}`` and a newline for each package of our document."""
    for line in map(parse_line, read_lines(lines)[1]):
        if line.package is not None:
            yield canonical_json({"hash": line.dag_hash, "package": line.package}) + b"\n"


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


def compress(lines: Iterable[bytes]) -> bytes:
    """One zstd frame. The same lines give the same bytes (with the same libzstd: no threads, no dictionary)."""
    import zstandard  # not at the top: most of Spack's processes never read an index

    target = io.BytesIO()
    with zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(target, closefd=False) as writer:
        for line in lines:
            writer.write(line)
    return target.getvalue()


def decompress(data: bytes) -> Iterator[bytes]:
    """The lines of our document, one at a time. Raises InvalidContent, also when a line or the whole is too long."""
    import zstandard

    limit = min(MAX_DATABASE_SIZE, max(_SMALL, _MAX_EXPANSION * len(data)))
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            buffered = io.BufferedReader(reader, 1 << 17)  # type: ignore[arg-type]
            size = 0
            while True:
                line = buffered.readline(MAX_LINE_SIZE + 1)
                if not line:
                    return
                size += len(line)
                if len(line) > MAX_LINE_SIZE:
                    raise InvalidContent(f"{LABEL} has a line of more than {MAX_LINE_SIZE} bytes")
                if size > limit:
                    raise InvalidContent(f"{LABEL} is larger than {limit} bytes")
                yield line
    except zstandard.ZstdError as e:
        raise InvalidContent(f"{LABEL} is not zstd: {e}") from None
