# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package that is pushed again with other content: the index names its new digest, and who has an index follows."""

import json

import pytest
from spack_oci.content.blob_cache import BlobCache
from spack_oci.content.cached_fetch import fetch_into_cache
from spack_oci.descriptor import OCI_MANIFEST
from spack_oci.errors import ServerFailure
from spack_oci.index.index_cache import IndexCache, load_index
from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG, document_manifest_bytes, read_document_manifest
from spack_oci.index.read import NotModified, fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.index.update.read_package import read_package
from spack_oci.operations.install.locate import fetch_package
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, overwrite_as_spack, push_package, tag_of

PACKAGE = node("p")
TAG = tag_of(PACKAGE)


@pytest.fixture
def store():
    result = MemoryStore()
    push_package(result, [PACKAGE], layer=b"old")
    push_package(result, chain("other", 3))
    update_index(result, QUICK)
    return result


@pytest.fixture
def indexes(tmp_path, store):
    """The client's copy of the index as it was before."""
    result = IndexCache(str(tmp_path / "indexes"))
    load_index(result, store.url, lambda: store)
    return result


def push_again_as_ours(store):
    push_package(store, [PACKAGE], layer=b"new")
    merge_pushed(store, [read_package(store, TAG)], QUICK)


def push_again_as_others(store):
    """What a Spack without this extension or a copying tool does; then somebody updates the index."""
    push_package(store, [PACKAGE], layer=b"new")
    update_index(store, QUICK)


def push_again_as_spack(store):
    """A Spack without this extension pushes and writes ``index.spack``, of which ours knows nothing."""
    push_package(store, [PACKAGE], layer=b"new")
    overwrite_as_spack(store, [PACKAGE["hash"]])


def push_again_as_spack_with_the_same_database(store):
    """Spack's database does not name manifests, so it may be byte for byte the same."""
    push_package(store, [PACKAGE], layer=b"new")
    _, data = store.get_manifest(DATABASE_TAG)
    manifest = {key: value for key, value in json.loads(data).items() if key != "annotations"}
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, DATABASE_TAG)


def content_of(store, indexes, tmp_path):
    """What an install unpacks: the layer that the client's index names, or the tag."""
    cache = BlobCache(str(tmp_path / "blobs"), 1 << 20)
    remote, _ = fetch_package(
        store, TAG, PACKAGE["hash"], lambda remote: fetch_into_cache(store, remote.layer, cache), indexes
    )
    with open(cache.path(remote.layer.digest), "rb") as f:
        return f.read()


@pytest.mark.parametrize(
    "push_again",
    [push_again_as_ours, push_again_as_others, push_again_as_spack, push_again_as_spack_with_the_same_database],
)
def test_client_with_an_index_gets_the_new_content(store, indexes, tmp_path, push_again):
    assert content_of(store, indexes, tmp_path) == b"old"
    push_again(store)
    load_index(indexes, store.url, lambda: store, ttl=0)
    assert content_of(store, indexes, tmp_path) == b"new"


@pytest.mark.parametrize("push_again", [push_again_as_ours, push_again_as_others])
def test_index_names_the_digest_of_the_tag(store, push_again):
    push_again(store)
    assert fetch_index(store).entries()[PACKAGE["hash"]].manifest == store.resolve(TAG)


def test_database_stays_as_it_is_and_the_document_changes(store):
    """Spack's database does not name manifests; what a client asks for first changes nevertheless."""
    before = fetch_index(store)
    push_again_as_ours(store)
    after = fetch_index(store, before.known)
    assert not isinstance(after, NotModified)
    assert after.data == before.data and after.digest == before.digest
    assert after.manifest != before.manifest
    assert fetch_index(store, after.known) == NotModified(after.digest)


def test_update_tells_what_it_compared_and_what_changed(store):
    push_package(store, [PACKAGE], layer=b"new")
    store.reset()
    result = update_index(store, QUICK)
    assert (result.total, result.added, result.changed, result.removed, result.compared) == (2, 0, 1, 0, 2)
    read = [tag for verb, tag in store.log if verb == "get_manifest" and tag.endswith(".spack")]
    assert set(read) == {TAG}
    again = update_index(store, QUICK)
    assert (again.changed, again.writes, again.compared) == (0, 0, 2)


def test_without_comparing_no_request_is_made_for_known_packages(store):
    store.reset()
    result = update_index(store, QUICK, compare_digests=False)
    assert result.compared == 0
    assert not [tag for verb, tag in store.log if verb == "resolve" and tag != DATABASE_TAG]


def test_tag_whose_digest_cannot_be_asked_stays_as_it_was(store):
    failure = ServerFailure("500")
    for verb in ("resolve", "get_manifest"):
        store.fail(verb, failure, when=lambda tag: tag == TAG)
    result = update_index(store, QUICK)
    assert list(result.kept) == [TAG]
    assert (result.total, result.writes) == (2, 0)


def test_of_two_who_push_one_package_again_the_last_is_in_the_index(store):
    """Both merge: the slower one finds the other's digest in the index, and asks the tag who was last."""
    push_package(store, [PACKAGE], layer=b"mine")
    mine = read_package(store, TAG)

    def other_pushes(tag):
        if tag == DATABASE_TAG:
            store.before.clear()
            push_package(store, [PACKAGE], layer=b"of the other")
            merge_pushed(store, [read_package(store, TAG)], QUICK)

    store.before["put_manifest"] = other_pushes
    merge_pushed(store, [mine], QUICK)
    assert fetch_index(store).entries()[PACKAGE["hash"]].manifest == store.resolve(TAG) != mine.entry.manifest


def test_index_that_does_not_name_its_document_is_followed_nevertheless(store, indexes, tmp_path):
    """Written by an older version: only our own manifest changes when a package is pushed again."""
    ours = read_document_manifest(store)
    _, data = store.get_manifest(DATABASE_TAG)
    plain = store.put_manifest(data.replace(b'"org.spack-oci.index.document":', b'"x":'), OCI_MANIFEST, DATABASE_TAG)

    def publish_as_before(document):
        data = document_manifest_bytes(document, None, plain.digest, ours.named_database, 2)
        data = data.replace(b'"org.spack-oci.index.document":', b'"x":')
        store.put_manifest(data, OCI_MANIFEST, DOCUMENT_TAG)

    publish_as_before(ours.document)
    load_index(indexes, store.url, lambda: store, ttl=0)
    other = MemoryStore()
    push_package(other, [PACKAGE], layer=b"new")
    push_package(other, chain("other", 3))
    update_index(other, QUICK)
    store.blobs.update(other.blobs)
    store.manifests.update(other.manifests)
    store.tagged[TAG] = other.tagged[TAG]
    publish_as_before(read_document_manifest(other).document)
    load_index(indexes, store.url, lambda: store, ttl=0)
    assert content_of(store, indexes, tmp_path) == b"new"
