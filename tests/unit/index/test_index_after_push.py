# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The index that a push writes out of what it knows is the one that reading the cache gives."""

from dataclasses import replace

from spack_oci.index.publish import DATABASE_TAG, DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import merge_pushed, update_index
from spack_oci.operations.push.execute import PushSettings, execute_push, plan_push
from spack_oci.operations.push.index_entries import packages_of_push
from support.memory_store import MemoryStore
from support.packages.cache_builder import document, node
from support.packages.prefixes import make_chain


def test_merging_a_push_equals_reading_the_cache(tmp_path):
    packages = [
        replace(
            p,
            spec_document=document([node(p.name, p.version, hash=p.dag_hash)]),
            provenance=lambda license=f"LicenseRef-{p.name}": {"licenses": license, "source": ""},
        )
        for p in make_chain(tmp_path / "store", "alpha", "beta", "gamma")
    ]
    store, settings = MemoryStore(), PushSettings(stage=str(tmp_path / "stage"))
    for part in (packages[:2], packages):
        result = execute_push(plan_push(store, part, settings=settings), store, settings=settings)
        assert not result.failed
        store.reset()
        merge_pushed(store, packages_of_push(result))
        assert not [tag for verb, tag in store.log if verb == "get_manifest" and tag in {p.tag for p in packages}]
    merged = [store.resolve(tag).digest for tag in (DATABASE_TAG, DOCUMENT_TAG)]
    update_index(store, full=True)
    assert [store.resolve(tag).digest for tag in (DATABASE_TAG, DOCUMENT_TAG)] == merged
    entries = fetch_index(store).entries()
    assert {entry.tag for entry in entries.values()} == {p.tag for p in packages}
    for package in packages:
        entry = entries[package.dag_hash]
        assert entry.prefix_length == len(package.prefix)
        assert {"binaries", "strings", "unknown_files"} <= entry.relocation.keys()
        assert entry.pusher.startswith("spack-oci ")
        assert entry.licenses == f"LicenseRef-{package.name}"
