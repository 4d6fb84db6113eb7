# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Single packages out of a document on the disk, without reading the rest: what that costs does not grow with it."""

import contextlib
import functools
import hashlib
import mmap
import os
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ..errors import InvalidContent
from .frames import HASH_ALPHABET, Frame, compress, decompress, digest_of, frame_number, read_table
from .lines import (
    CURRENT_DATABASE,
    DATABASE_END,
    LABEL,
    Header,
    Line,
    database_records,
    database_start,
    edges_of,
    node_line,
    parse_header,
    parse_line,
)

#: the nodes of a package and of all that it needs, the package first, each with its ``hash``
NodesOfPackage = List[Dict[str, Any]]


class Wanted(NamedTuple):
    """Packages that are asked for: those of these names, and those whose DAG hash begins so."""

    names: FrozenSet[str]
    prefixes: FrozenSet[str] = frozenset()

    @classmethod
    def by(cls, specs: Iterable[Tuple[Optional[str], Optional[str]]]) -> "Optional[Wanted]":
        """``specs``: name and beginning of the hash of each. None where one has neither, or there is none: all of an
        index may be meant then."""
        names, prefixes = set(), set()
        for name, prefix in specs:
            if not prefix and not name:
                return None
            names.update([name] if name else [])
            prefixes.update([prefix] if prefix else [])
        return cls(frozenset(names), frozenset(prefixes)) if names or prefixes else None


class Part(NamedTuple):
    """Some packages of an index with all that they need, as an index of their own."""

    #: the JSON of a Spack database, and its digest
    data: bytes
    digest: str
    #: our document
    document: bytes


def line_of_hash(path: str, dag_hash: str) -> Optional[bytes]:
    """The line of a package in a file of lines that begin with ``{"hash":"HASH"``, sorted, whose content never changes.
    Raises OSError."""
    data = _mapped(path)
    wanted = b'{"hash":"%s"' % dag_hash.encode()
    low, high = 0, len(data)
    while low < high:
        start = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = data.find(b"\n", start)
        line = data[start : end if end >= 0 else high]
        found = line[: len(wanted)]
        if found == wanted:
            return line
        if found < wanted:
            low = start + len(line) + 1
        else:
            high = start
    return None


@functools.lru_cache(maxsize=8)
def _mapped(path: str) -> Union[bytes, mmap.mmap]:
    """What is asked for each package of an install is opened once."""
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(f.fileno()).st_size else b""


class DocumentFiles(NamedTuple):
    """Paths of files whose content never changes. All methods raise OSError, and InvalidContent for damaged files."""

    document: str
    table: str
    #: a line for each package, NAME and HASH, sorted, after an empty line
    names: str

    def lines(self, hashes: Iterable[str]) -> Iterator[bytes]:
        """Of the packages and other nodes that there are, in any order. Each part of the document is read once."""
        frames = _frames(self.table, os.path.getsize(self.document))
        bits = (len(frames) - 1).bit_length() - 1
        wanted: Dict[Frame, Set[bytes]] = {}
        for dag_hash in hashes:
            with contextlib.suppress(ValueError):  # no hash
                wanted.setdefault(frames[frame_number(dag_hash, bits)], set()).add(dag_hash.encode())
        for frame, left in wanted.items():
            for line in self._lines(frame):
                if line[9:41] in left:
                    left.discard(line[9:41])
                    yield line
                if not left:
                    break

    def hashes(self, name: str) -> List[str]:
        """DAG hashes of the packages of that name."""
        wanted = b"\n%s " % name.encode()
        result: List[str] = []
        with open(self.names, "rb") as f, contextlib.closing(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)) as data:
            at = data.find(wanted)
            while at >= 0 and data[at : at + len(wanted)] == wanted:
                end = data.find(b"\n", at + 1)
                result.append(data[at + len(wanted) : end].decode())
                at = end
        return result

    def packages_by_hash(self, prefix: str) -> Optional[Dict[str, NodesOfPackage]]:
        """DAG hash -> nodes, of the packages whose hash begins so. None: they are written in an older way."""
        if self._header().database_version != CURRENT_DATABASE:
            return None
        found = {}
        for dag_hash in self._hashes_from(prefix):
            lines = self._closure([dag_hash])
            others = sorted(lines.keys() - {dag_hash})
            found[dag_hash] = [{**lines[h].spec, "hash": h} for h in [dag_hash, *others]]
        return found

    def _hashes_from(self, prefix: str) -> Iterator[str]:
        frames = _frames(self.table, os.path.getsize(self.document))
        bits = (len(frames) - 1).bit_length() - 1
        try:
            first, last = (frame_number(prefix.ljust(4, end), bits) for end in (HASH_ALPHABET[0], HASH_ALPHABET[-1]))
        except ValueError:  # no hash
            return
        for number in range(first, last + 1):
            for line in self._lines(frames[number]):
                parsed = parse_line(line) if line[9:41].startswith(prefix.encode()) else None
                if parsed is not None and parsed.package is not None:
                    yield parsed.dag_hash

    def part(self, wanted: Wanted) -> Part:
        """The packages that are asked for."""
        chosen = {dag_hash for name in wanted.names for dag_hash in self.hashes(name)}
        chosen.update(dag_hash for prefix in wanted.prefixes for dag_hash in self._hashes_from(prefix))
        lines = self._closure(chosen)
        nodes = [(h, lines[h].spec_data, lines[h].package is not None) for h in sorted(lines)]
        counts: Dict[str, int] = {}
        for line in lines.values():
            for needed in edges_of(line.spec):
                counts[needed] = counts.get(needed, 0) + 1
        version = self._header().database_version
        data = b"".join([database_start(version), *database_records(nodes, counts), DATABASE_END])
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        header = Header(sum(has for _, _, has in nodes), len(lines), version, digest, len(data))
        document = compress([header.to_line(), *(node_line(h, spec, lines[h].package_data) for h, spec, _ in nodes)])
        return Part(data, digest, b"".join(document))

    def _closure(self, chosen: Iterable[str]) -> Dict[str, Line]:
        found: Dict[str, Line] = {}
        pending = set(chosen)
        while pending:
            new = {line.dag_hash: line for line in map(parse_line, self.lines(pending))}
            for dag_hash in pending - new.keys():
                raise InvalidContent(f"{LABEL} lacks {dag_hash}")
            found.update(new)
            pending = {needed for line in new.values() for needed in _named_by(line.spec)} - found.keys()
        return found

    def _header(self) -> Header:
        frames = _frames(self.table, os.path.getsize(self.document))
        return parse_header(next(self._lines(frames[0]), b""))

    def _lines(self, frame: Frame) -> Iterator[bytes]:
        if not frame.size:
            return
        with open(self.document, "rb") as f:
            f.seek(frame.start)
            data = f.read(frame.size)
        if digest_of(data) != frame.digest:
            raise InvalidContent(f"{self.document} is damaged")
        yield from decompress(data)


def _named_by(spec: Mapping[str, Any]) -> Iterator[str]:
    """DAG hashes of what a node needs, and of the spec that it was built as."""
    yield from edges_of(spec)
    built = spec.get("build_spec")
    if isinstance(built, dict):
        yield str(built.get("hash"))


@functools.lru_cache(16)
def _frames(table: str, size: int) -> Tuple[Frame, ...]:
    with open(table, "rb") as f:
        return tuple(read_table(f.read(), size))


def names_of(lines: Iterable[Line]) -> bytes:
    """The content of the file with names."""
    pairs = sorted(f"{line.spec.get('name')} {line.dag_hash}" for line in lines if line.package is not None)
    return "".join(f"\n{pair}" for pair in pairs).encode("utf-8", "replace") + b"\n"
