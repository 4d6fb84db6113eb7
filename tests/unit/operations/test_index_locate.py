# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An install finds its layer in the kept index, and in the tag where the index is behind."""

import pytest
from spack_oci.content import read_blob
from spack_oci.errors import NotFound, Unreachable
from spack_oci.index.index_cache import IndexCache, load_index
from spack_oci.index.update.loop import update_index
from spack_oci.operations.install.locate import fetch_package, indexed_package
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, node, push_package, tag_of

NOTES = {"org.spack-oci.relocation.prefix-length": "63", "org.spack-oci.relocation.strings": "4"}


@pytest.fixture
def store():
    result = MemoryStore()
    push_package(result, chain("p", 2), layer=b"the layer", annotations=NOTES)
    update_index(result)
    return result


@pytest.fixture
def index(tmp_path, store):
    result = IndexCache(str(tmp_path / "indexes"))
    load_index(result, store.url, lambda: store)
    store.reset()
    return result


PACKAGE = chain("p", 2)[0]


def fetch(store, index):
    return fetch_package(store, tag_of(PACKAGE), PACKAGE["hash"], lambda remote: read_blob(store, remote.layer), index)


def test_one_request_a_package(store, index):
    remote, data = fetch(store, index)
    assert data == b"the layer"
    assert store.log == [("open_blob", remote.layer.digest)]
    assert (remote.dag_hash, remote.relocation_summary) == (PACKAGE["hash"], {"prefix_length": 63, "strings": 4})
    assert remote.diff_id is not None


def test_three_without_an_index(store, index):
    assert fetch(store, None)[1] == b"the layer"
    assert store.requests == 3


def test_package_pushed_again_with_its_old_layer_gone(store, index):
    old = indexed_package(index, store, tag_of(PACKAGE), PACKAGE["hash"])
    push_package(store, chain("p", 2), layer=b"a new layer")
    del store.blobs[old.layer.digest]
    remote, data = fetch(store, index)
    assert data == b"a new layer"
    assert remote.layer.digest != old.layer.digest


def test_package_that_is_gone_is_not_found(store, index):
    store.blobs.clear()
    store.tagged.clear()
    with pytest.raises(NotFound):
        fetch(store, index)


def test_package_that_the_index_does_not_know(store, index):
    other = node("other")
    push_package(store, [other], layer=b"other")
    found = fetch_package(store, tag_of(other), other["hash"], lambda remote: read_blob(store, remote.layer), index)
    assert found[1] == b"other"


def test_failure_is_not_a_reason_to_ask_the_tag(store, index):
    store.fail("open_blob", Unreachable("no route"))
    store.reset()
    with pytest.raises(Unreachable):
        fetch(store, index)
    assert store.calls["get_manifest"] == 0
