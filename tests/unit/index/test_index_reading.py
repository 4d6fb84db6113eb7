# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Reading the index of a cache in memory: which of its two documents is taken, and what is in it."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_MANIFEST
from spack_oci.errors import NotFound, ServerFailure
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG, read_database
from spack_oci.index.read import IndexDocument, NotModified, fetch_index
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package, tag_of


@pytest.fixture
def store():
    return MemoryStore()


def test_unchanged_index_costs_one_request(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    index = fetch_index(store)
    store.reset()
    assert fetch_index(store, index.known) == NotModified(index.digest)
    assert store.requests == store.calls["resolve"] == 1
    store.reset()
    assert fetch_index(store, index.known._replace(manifest="")) == NotModified(index.digest)
    assert store.calls["open_blob"] == 0


def test_both_documents_give_the_same_bytes(store):
    push_package(store, chain("p", 4))
    update_index(store, QUICK)
    ours = fetch_index(store)
    assert isinstance(ours, IndexDocument) and ours.source == DOCUMENT_TAG
    _, database, data = read_database(store)
    assert (ours.data, ours.digest) == (data, database.digest)


def test_no_index_is_not_found(store):
    push_package(store, [node("p")])
    with pytest.raises(NotFound):
        fetch_index(store)


def test_failure_is_not_a_missing_index(store):
    store.fail("resolve", ServerFailure("500"))
    with pytest.raises(ServerFailure):
        fetch_index(store)


def test_reader_falls_back_when_ours_is_missing_or_damaged(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    expected = fetch_index(store).data
    digest = json.loads(store.manifests[store.tagged[DOCUMENT_TAG]][1])["layers"][0]["digest"]
    store.blobs[digest] = b"x" * len(store.blobs[digest])
    damaged = fetch_index(store)
    assert (damaged.source, damaged.data) == (DATABASE_TAG, expected)
    assert damaged.fallback
    del store.tagged[DOCUMENT_TAG]
    missing = fetch_index(store)
    assert (missing.source, missing.data) == (DATABASE_TAG, expected)
    assert fetch_index(store, missing.known._replace(manifest="")) == NotModified(missing.digest)


def test_stale_document_still_tells_where_layers_are(store):
    package = node("p")
    push_package(store, [package])
    update_index(store, QUICK)
    overwrite_as_spack(store, [package["hash"]])
    index = fetch_index(store)
    assert index.source == DATABASE_TAG
    assert index.entries([package["hash"]])[package["hash"]].tag == tag_of(package)


def test_stale_document_that_is_damaged_is_left_away(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    manifest = json.loads(store.manifests[store.tagged[DOCUMENT_TAG]][1])
    manifest["layers"] = [put_bytes(store, b"no zstd", manifest["layers"][0]["mediaType"]).to_dict()]
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, DOCUMENT_TAG)
    overwrite_as_spack(store)
    index = fetch_index(store)
    assert (index.source, index.document, index.entries()) == (DATABASE_TAG, None, {})
    assert "zstd" in index.fallback


def test_ours_alone_is_an_index(store):
    push_package(store, [node("p")])
    update_index(store, QUICK)
    del store.tagged[DATABASE_TAG]
    assert fetch_index(store).source == DOCUMENT_TAG


def test_entries_of_some_packages(store):
    packages = [node(f"p{number}") for number in range(20)]
    for package in packages:
        push_package(store, [package])
    update_index(store, QUICK)
    index = fetch_index(store)
    wanted = {packages[3]["hash"], packages[11]["hash"]}
    assert set(index.entries(wanted)) == wanted
    assert len(index.entries()) == 20


def test_relocation_facts_come_from_the_manifest(store):
    notes = {"org.spack-oci.relocation.prefix-length": "63", "org.spack-oci.relocation.binaries": "2"}
    push_package(store, [node("p")], annotations=notes)
    update_index(store, QUICK)
    entry = fetch_index(store).entries()[node("p")["hash"]]
    assert (entry.prefix_length, entry.relocation) == (63, {"binaries": 2})


def test_signature_tags_are_seen(store):
    """cosign tags the signature of a manifest ``sha256-HEX.sig``; no request for it."""
    signed, other = node("signed"), node("other")
    descriptor = push_package(store, [signed])
    push_package(store, [other])
    update_index(store, QUICK)
    assert not any(entry.signed for entry in fetch_index(store).entries().values())
    store.put_manifest(b'{"schemaVersion":2}', OCI_MANIFEST, descriptor.digest.replace(":", "-") + ".sig")
    store.reset()
    update_index(store, QUICK)
    assert store.calls["referrers"] == 0
    entries = fetch_index(store).entries()
    assert {h: entry.signed for h, entry in entries.items()} == {signed["hash"]: True, other["hash"]: False}
    assert update_index(store, QUICK).writes == 0
