# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Removing packages from a store."""

import os

import pytest
from spack_oci.errors import StoreError
from spack_oci.store.layout import StoreLayout
from spack_oci.store.remove import finish_removals, in_order_of_removal, remove_packages, with_dependents
from spack_oci.store.store import Store
from support.specs.spec_nodes import edge, graph_of, make_node

ZLIB = make_node("zlib@1.3")
HDF5 = make_node("hdf5@1.14", edge(ZLIB, "link"))
APP = make_node("app@1", edge(HDF5, "link"))
GRAPH = graph_of(ZLIB, HDF5, APP)


@pytest.fixture
def store(tmp_path):
    """With all three, and prefixes that can be changed before they are recorded."""
    store = Store(StoreLayout(str(tmp_path / "sw")))
    store.prepare()
    fill(store, {h: store.layout.prefix_of(node) for h, node in GRAPH.items()})
    return store


def fill(store, prefixes):
    with store.database.transaction() as records:
        for node in (ZLIB, HDF5, APP):
            records.add(GRAPH, node["hash"], prefixes, explicit=node is APP)
    for prefix in prefixes.values():
        os.makedirs(f"{prefix}/lib")


def names(nodes):
    return [node["name"] for node in nodes]


def test_dependents_go_first(store):
    records = store.database.read()
    assert names(in_order_of_removal(records, GRAPH)) == ["app", "hdf5", "zlib"]
    assert with_dependents(records, [ZLIB["hash"]]) == set(GRAPH)


def test_a_package_that_was_needed_meanwhile_stays(store):
    with pytest.raises(StoreError, match="zlib@1.3/.* is needed by hdf5@1.14"):
        remove_packages(store, [ZLIB])
    assert store.database.read().is_installed(ZLIB["hash"])


def test_all_that_stays_is_told_with_what_needs_it(store):
    with pytest.raises(StoreError) as raised:
        in_order_of_removal(store.database.read(), {ZLIB["hash"], HDF5["hash"]})
    assert str(raised.value).startswith("nothing is removed: hdf5@1.14/") and "needed by app@" in str(raised.value)
    with pytest.raises(StoreError, match=r"hdf5.* is needed by app.*zlib|zlib.* is needed by hdf5.*--dependents"):
        in_order_of_removal(store.database.read(), {ZLIB["hash"]})


def test_what_another_run_has_removed_is_no_error(store):
    remove_packages(store, [APP])
    remove_packages(store, [APP, HDF5])
    assert names(r["spec"] for r in store.database.read().by_hash.values()) == ["zlib"]


def test_a_package_around_another_one_is_not_removed(tmp_path):
    store = Store(StoreLayout(str(tmp_path / "sw")))
    store.prepare()
    around = f"{store.root}/app"
    fill(store, {ZLIB["hash"]: f"{around}/zlib", HDF5["hash"]: f"{store.root}/hdf5", APP["hash"]: around})
    with pytest.raises(StoreError, match="zlib@1.3/.* is installed inside of app@1"):
        remove_packages(store, [APP])
    assert (tmp_path / "sw" / "app" / "zlib" / "lib").is_dir()


def test_nothing_outside_of_the_store_is_deleted(tmp_path):
    store = Store(StoreLayout(str(tmp_path / "sw")))
    store.prepare()
    precious = tmp_path / "precious"
    fill(store, {ZLIB["hash"]: f"{store.root}/z", HDF5["hash"]: f"{store.root}/h", APP["hash"]: str(precious)})
    with pytest.raises(StoreError, match="is not in the store"):
        remove_packages(store, [APP])
    assert (precious / "lib").is_dir() and store.database.read().is_installed(APP["hash"])


def test_what_others_wrote_down_for_removal_deletes_nothing_outside_of_the_store(store, tmp_path):
    notes = tmp_path / "sw" / ".spack-oci" / "removing"
    notes.mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    gone = make_node("gone@1")["hash"]
    (notes / gone).write_text(f"{store.root}/../precious")
    (notes / "no-hash").write_text(str(precious))
    (notes / APP["hash"]).write_text(store.layout.prefix_of(APP))
    finish_removals(store)
    assert precious.is_dir() and os.path.isdir(store.layout.prefix_of(APP))
    assert [p.name for p in notes.iterdir()] == ["no-hash"]
