# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Large caches in a layout, made quickly: the nodes of a generated universe, again and again under other hashes and
names. There are an index and the tags; of the packages themselves, only the first is there."""

import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import archspec.cpu
from spack_oci.descriptor import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.index.entry import PackageEntry
from spack_oci.index.lines import Header, node_line
from spack_oci.index.model import PackageIndex
from spack_oci.index.publish import publish
from spack_oci.index.update.read_package import read_package
from spack_oci.layout import LayoutStore
from spack_oci.reference import LayoutDirectory
from spack_oci.store.machine import this_system
from support.packages.cache_builder import dag_hash, node, push_package, tag_of
from support.specs.spec_universe import Universe

#: packages of the universe, which all copies have
_ONCE = 200
_ANY_HASH = re.compile(r'(?<="hash":")[a-z2-7]{32}(?=")')


def large_cache(path: Path, packages: int) -> Tuple[LayoutStore, Dict[str, Any]]:
    """(the cache, the node of the package that is really there)"""
    store = LayoutStore(LayoutDirectory(str(path)), durable=False)
    store.create()
    index = PackageIndex.from_lines(_lines(packages))
    platform, system = this_system()
    arch = {"platform": platform, "platform_os": system, "target": archspec.cpu.host().family.name}
    first = node("first-of-all", arch=arch)
    push_package(store, [first])
    read = read_package(store, tag_of(first))
    index.add(read.nodes, read.entry)
    publish(store, index)
    table = json.loads((path / "index.json").read_text())
    table["manifests"] += [
        {**entry.manifest.to_dict(), "annotations": {"org.opencontainers.image.ref.name": entry.tag}}
        for _, entry in index.packages()
        if entry.tag != tag_of(first)
    ]
    (path / "index.json").write_text(json.dumps(table, separators=(",", ":")))
    return store, first


def documents(packages: int, universe: Universe, first: int = 0) -> Iterator[List[Dict[str, Any]]]:
    """The nodes of each package, its own first, of a universe again and again; ``first``: number of the first copy."""
    whole = list(universe.documents())
    for number in range(first, first + -(-packages // len(whole))):
        copies = {node["hash"]: copied(node, number) for node in universe.nodes}
        for document in whole[: packages - (number - first) * len(whole)]:
            yield [copies[node["hash"]] for node in document]


def _lines(packages: int) -> Iterator[bytes]:
    """A document, whose header names no database."""
    nodes = Universe(_ONCE, largest=30).nodes
    found: List[Tuple[str, bytes]] = []
    count = 0
    for number in range(-(-packages // _ONCE)):
        for one in nodes:
            copy = copied(one, number)
            package = b""
            if "external" not in copy and count < packages:
                package = canonical_json(_entry(copy).to_dict())
                count += 1
            found.append((copy["hash"], node_line(copy["hash"], canonical_json(copy), package or None)))
    yield Header(count, len(found), "8", sha256_digest(b""), 0).to_line()
    for _, line in sorted(found):
        yield line


def copied(one: Dict[str, Any], number: int) -> Dict[str, Any]:
    """A node under another name and another hash, as what it needs."""

    def other(found: "re.Match[str]") -> str:
        return dag_hash(f"{found[0]} {number}")

    copy = json.loads(_ANY_HASH.sub(other, json.dumps(one, separators=(",", ":"))))
    for named in (copy, *copy.get("dependencies", ())):
        named["name"] = f"{named['name']}-{number}"
    return copy


def _entry(package: Dict[str, Any]) -> PackageEntry:
    def content(kind: str, media_type: str) -> Descriptor:
        return Descriptor(media_type, sha256_digest(f"{kind} {package['hash']}".encode()), 1000)

    return PackageEntry(
        tag_of(package),
        content("manifest", OCI_MANIFEST),
        content("layer", OCI_LAYER_GZIP),
        diff_id=sha256_digest(package["hash"].encode()),
        prefix_length=73,
        relocation={"binaries": 3, "fixed_strings": 0, "strings": 12, "unknown_files": 0},
        pusher="spack-oci 1.0",
    )
