# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Documents made to exhaust the memory of who reads them, or that hold what our lines are made of."""

import json
import tracemalloc

import pytest
import zstandard
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, sha256_digest
from spack_oci.errors import InvalidContent
from spack_oci.index import frames as frames_module
from spack_oci.index.entry import PackageEntry
from spack_oci.index.frames import compress, decompress
from spack_oci.index.index_cache import IndexCache
from spack_oci.index.lines import DatabaseOfLines, entries_from_lines
from spack_oci.index.model import PackageIndex
from spack_oci.index.nodes import nodes_of_document
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG, DOCUMENT_TYPE, document_manifest_bytes
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, document, node, push_package

DESCRIPTOR = Descriptor.of(b"x", OCI_LAYER_GZIP)


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def compressed(piece, count):
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join([*(compressor.compress(piece) for _ in range(count)), compressor.flush()])


def test_endless_line_is_refused_with_bounded_memory():
    data = compressed(b" " * (1 << 20), 1024)  # 1 GiB in some 100 kB

    def read():
        with pytest.raises(InvalidContent, match="a line of more than"):
            list(decompress(data))

    assert len(data) < 200_000
    assert peak_of(read) < 16 << 20


def test_endless_lines_are_refused_with_bounded_memory(monkeypatch):
    monkeypatch.setattr(frames_module, "SMALL", 1 << 20)
    monkeypatch.setattr(frames_module, "MAX_EXPANSION", 10)
    data = compressed(b"{}\n" * (1 << 18), 64)
    assert peak_of(lambda: pytest.raises(InvalidContent, sum, map(len, decompress(data)))) < 16 << 20


def test_more_lines_than_announced_are_refused():
    index = PackageIndex()
    index.add(nodes_of_document(document([node("p")]), "p"), PackageEntry("p.spack", DESCRIPTOR, DESCRIPTOR))
    header, line = index.lines()
    with pytest.raises(InvalidContent, match="announced"):
        entries_from_lines([header, line, line])
    # the database is as large as announced, whatever follows
    with pytest.raises(InvalidContent):
        DatabaseOfLines(lambda: [header, *[line] * 1000], sha256_digest(b""))


ODD = {
    "package": {"tag": "x"},
    "record": {"in_buildcache": True},
    "hash": "x",
}


@pytest.mark.parametrize("key", ODD)
def test_node_with_a_member_named_like_ours_is_read_again(tmp_path, key):
    """In a dependency, which has no package of its own behind it, and in a package."""
    dependency = node(
        "dependency", external={"path": "/usr", "module": None, "extra_attributes": {"a": 1, key: ODD[key]}}
    )
    dependency = {
        **dependency,
        "x": {"a": 1, key: ODD[key]},
        **({"package": ODD["package"]} if key == "package" else {}),
    }
    package = node("p", dependencies=[dependency])
    store = MemoryStore()
    push_package(store, [package, dependency])
    update_index(store, QUICK)
    found = fetch_index(store)
    assert found.source == DOCUMENT_TAG and found.fallback == ""
    assert list(found.entries()) == [package["hash"]]
    indexes = IndexCache(str(tmp_path))
    indexes.keep(store.url, found)
    assert indexes.load(store.url).index.data == found.data
    assert indexes.lookup(store.url, package["hash"]) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix_length": "5"},
        {"prefix_length": True},
        {"prefix_length": -1},
        {"relocation": {"strings": "5"}},
        {"relocation": [1]},
        {"tag": 5},
        {"tag": "../x"},
        {"layer": {"mediaType": "x", "digest": DESCRIPTOR.digest, "size": "1"}},
        {"manifest": 5},
        {"diff_id": "sha256:x"},
        {"pusher": 5},
        {"signed": "no"},
    ],
)
def test_entry_of_another_type_is_refused(changes):
    entry = PackageEntry("p.spack", DESCRIPTOR, DESCRIPTOR).to_dict()
    with pytest.raises(InvalidContent):
        PackageEntry.from_dict({**entry, **changes})


def test_entry_of_another_type_is_as_good_as_none_for_an_install(tmp_path):
    """The package is then found by its tag."""
    package = node("p")
    store = MemoryStore()
    push_package(store, [package])
    update_index(store, QUICK)
    found = fetch_index(store)
    text = b"".join(decompress(found.document)).replace(b'"signed":false', b'"prefix_length":"5","signed":false')
    document_ = put_bytes(store, b"".join(compress(text.splitlines(keepends=True))), DOCUMENT_TYPE)
    manifest = document_manifest_bytes(document_, None, store.resolve(DATABASE_TAG).digest, found.digest, 1)
    store.put_manifest(manifest, OCI_MANIFEST, DOCUMENT_TAG)
    again = fetch_index(store)
    assert json.loads(again.data) == json.loads(found.data)
    indexes = IndexCache(str(tmp_path))
    indexes.keep(store.url, again)
    assert indexes.lookup(store.url, package["hash"]) is None
