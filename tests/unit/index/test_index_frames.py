# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The frames of our document: what a new package changes, what of a changed index is downloaded, older documents."""

import hashlib
import random

import pytest
import zstandard
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.errors import InvalidContent, UnexpectedResponse
from spack_oci.index import frames as frames_module
from spack_oci.index.entry import PackageEntry
from spack_oci.index.frames import (
    assemble,
    compress,
    decompress,
    frame_bits,
    frame_number,
    missing_spans,
    read_table,
    table_of,
)
from spack_oci.index.index_cache import IndexCache, load_index, refresh_index
from spack_oci.index.lines import DatabaseOfLines, database_start
from spack_oci.index.model import PackageIndex
from spack_oci.index.nodes import nodes_of_document
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG, document_manifest_bytes
from spack_oci.index.read import IndexDocument, OldDocument, fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, document, node, push_package
from support.specs.spec_universe import Universe

DESCRIPTOR = Descriptor.of(b"x", OCI_LAYER_GZIP)


def index_of(packages):
    index = PackageIndex()
    for nodes in packages:
        digest = Descriptor("application/x", "sha256:" + hashlib.sha256(nodes[0]["hash"].encode()).hexdigest(), 5)
        entry = PackageEntry(f"{nodes[0]['name']}-{nodes[0]['hash']}.spack", digest, digest)
        index.add(nodes_of_document(document(nodes), "test", index.has_node), entry)
    return index


@pytest.fixture(scope="module")
def universe():
    return list(Universe(1500, largest=40).documents())


def test_nodes_are_where_their_hash_says_and_sorted(universe):
    index = index_of(universe)
    frames = compress(index.lines())
    bits = frame_bits(len(index._records))
    assert len(frames) == 1 + (1 << bits) and 24 <= len(index._records) / (1 << bits) < 48
    lines = list(decompress(b"".join(frames)))
    assert lines == list(index.lines())
    for number, frame in enumerate(frames[1:], 1):
        for line in decompress(frame) if frame else ():
            assert frame_number(line[9:13].decode(), bits) == number


def test_few_frames_change_with_a_few_new_packages(universe):
    old, new = compress(index_of(universe[:-10]).lines()), compress(index_of(universe).lines())
    assert sum(a != b for a, b in zip(old, new)) <= 11
    frames, old_frames = (read_table(table_of(f), sum(map(len, f))) for f in (new, old))
    whole = b"".join(new)
    fetched = []

    def fetch(start, stop):
        fetched.append(stop - start)
        return whole[start:stop]

    assert assemble(b"".join(old), old_frames, frames, fetch) == whole
    assert 0 < sum(fetched) == sum(stop - start for start, stop in missing_spans(old_frames, frames))
    # of 50 frames; in a large cache, of a thousand
    assert sum(fetched) < 0.35 * len(whole)


@pytest.mark.parametrize("seed", range(20))
def test_any_document_is_assembled_out_of_any_other(universe, seed):
    chance = random.Random(seed)
    sizes = [chance.choice([1, 3, 30, 200, 900]) for _ in range(2)]
    documents = [compress(index_of(chance.sample(universe, size)).lines()) for size in sizes]
    old, new = map(b"".join, documents)
    tables = [read_table(table_of(frames), len(whole)) for frames, whole in zip(documents, (old, new))]
    assert assemble(old, tables[0], tables[1], lambda start, stop: new[start:stop]) == new


def test_frames_cost_less_than_half_more(universe):
    """The hashes of common dependencies stand in each frame; the dictionary gives the rest that they share."""
    index = index_of(universe)
    one = len(zstandard.ZstdCompressor(level=6).compress(b"".join(index.lines())))
    assert sum(map(len, compress(index.lines()))) < 1.5 * one
    few = index_of(universe[:1])
    lines = b"".join(few.lines())
    assert sum(map(len, compress(few.lines()))) < len(zstandard.ZstdCompressor(level=6).compress(lines))


@pytest.mark.parametrize("table", [b"", b"x" * 19, b"\0" * 20, b"\0" * 80, b"\1\0\0\0" + b"\0" * 36])
def test_table_that_does_not_fit_is_refused(table):
    with pytest.raises(InvalidContent):
        read_table(table, 10)


@pytest.fixture
def store(universe):
    result = MemoryStore()
    for nodes in universe[:300]:
        push_package(result, nodes)
    update_index(result, QUICK)
    return result


@pytest.fixture
def indexes(tmp_path, store):
    result = IndexCache(str(tmp_path / "indexes"))
    load_index(result, store.url, lambda: store)
    return result


def add(store, name="new"):
    push_package(store, [node(name)])
    update_index(store, QUICK)
    store.reset()
    store.ranged = 0


def document_size(store):
    return fetch_index(store).document.__len__()


def test_of_a_changed_index_only_changed_frames_are_downloaded(store, indexes):
    add(store)
    found = refresh_index(indexes, store.url, store)
    assert isinstance(found, IndexDocument)
    assert found.source == DOCUMENT_TAG and found.document == fetch_index(store).document
    assert 0 < store.ranged < len(found.document) / 4
    assert indexes.load(store.url).index.data == found.data


def test_table_and_document_of_another_time_are_noticed(store, indexes, monkeypatch):
    """What was put together has the wrong digest: the whole document is read."""
    add(store)
    old = indexes.old_document(store.url)
    damaged = OldDocument(old.document[:-5] + b"xxxxx", old.table)
    found = fetch_index(store, None, lambda: damaged)
    assert found.document == fetch_index(store).document and store.ranged > 0


def test_registry_that_ignores_ranges_gives_the_whole(store, indexes):
    add(store)
    store.fail("read_range", UnexpectedResponse("ignores ranges"))
    assert refresh_index(indexes, store.url, store).document == fetch_index(store).document


def test_index_that_changed_much_is_downloaded_whole(store, indexes, universe):
    for nodes in universe[300:700]:
        push_package(store, nodes)
    add(store)
    refresh_index(indexes, store.url, store)
    assert store.calls["read_range"] == 0


def older_document(store):
    """What the version before wrote: records of the database in one frame, no table."""
    index = fetch_index(store)
    lines = list(decompress(index.document))
    header = lines[0].replace(b'"version":2', b'"version":1', 1)
    data = index.data
    records = []
    start = len(database_start("8"))
    for line in lines[1:]:
        dag_hash, package = line[9:41], line.partition(b',"package":')[2]
        begin = data.index(b'"%s":{"spec"' % dag_hash, start) + 35
        end = data.find(b',"', data.index(b'"in_buildcache":', begin))
        record = data[begin : end if end > 0 else -3]
        rest = b',"package":' + package if package else b"}\n"
        records.append(b'{"hash":"%s","record":%s%s' % (dag_hash, record, rest))
    stored = zstandard.ZstdCompressor(level=6).compress(header + b"".join(records))
    document = put_bytes(store, stored, "application/vnd.spack-oci.index.v1.jsonl+zstd")
    manifest = document_manifest_bytes(document, None, store.resolve(DATABASE_TAG).digest, index.digest, 0)
    store.put_manifest(manifest, OCI_MANIFEST, DOCUMENT_TAG)
    return index


def test_document_of_the_version_before_is_read_and_replaced(tmp_path):
    store = MemoryStore()
    packages = [node("p"), node("q", dependencies=[node("d")])]
    push_package(store, packages[:1])
    push_package(store, [packages[1], node("d")])
    update_index(store, QUICK)
    index = older_document(store)
    old = fetch_index(store)
    assert (old.source, old.fallback, old.data, old.table) == (DOCUMENT_TAG, "", index.data, b"")
    assert old.entries() == index.entries()
    cache = IndexCache(str(tmp_path))
    cache.keep(store.url, old)
    assert cache.lookup(store.url, packages[0]["hash"]) == index.entries()[packages[0]["hash"]]
    store.reset()
    push_package(store, [node("new")])
    update_index(store, QUICK)
    read = [tag for verb, tag in store.log if verb == "get_manifest" and tag.startswith("p-")]
    assert read == []  # what it knows is not read again
    assert fetch_index(store).table


def test_expansion_of_frames_is_bounded(monkeypatch):
    monkeypatch.setattr(frames_module, "SMALL", 1 << 20)
    monkeypatch.setattr(frames_module, "MAX_EXPANSION", 10)
    frame = zstandard.ZstdCompressor().compress(b"{}\n" * (1 << 18))
    with pytest.raises(InvalidContent, match="larger than"):
        list(decompress(frame * 64))


def test_database_of_a_document_has_the_counts_that_spack_writes(universe):
    index = index_of(universe[:50])
    data = b"".join(index.database())
    assert DatabaseOfLines(index.lines, sha256_digest(data)).read() == data
    assert canonical_json("8") in database_start("8")
