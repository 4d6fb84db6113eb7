# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an index takes in memory, in bytes a package: a hundred thousand packages must fit."""

import tracemalloc
from functools import partial

import pytest
from spack_oci.descriptor import Descriptor, sha256_digest
from spack_oci.index.database import checked_database_of_lines
from spack_oci.index.entry import PackageEntry
from spack_oci.index.frames import compress, decompress
from spack_oci.index.model import PackageIndex
from spack_oci.index.nodes import nodes_of_document
from spack_oci.layout import LayoutStore
from spack_oci.reference import LayoutDirectory
from support.packages.cache_builder import document, tag_of
from support.specs.spec_universe import Universe


@pytest.fixture(scope="module")
def index():
    found = PackageIndex()
    for nodes in Universe(600, largest=30).documents():
        content = Descriptor("application/vnd.oci.image.manifest.v1+json", sha256_digest(nodes[0]["hash"].encode()), 5)
        entry = PackageEntry(tag_of(nodes[0]), content, content)
        found.add(nodes_of_document(document(nodes), "the test", found.has_node), entry)
    return found


def allocated(function):
    """(result, bytes that it holds, bytes that were allocated at most meanwhile)."""
    tracemalloc.start()
    try:
        result = function()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, held, peak


def test_a_package_in_memory_is_smaller_than_its_node_as_json(index):
    data = b"".join(compress(index.lines()))
    again, held, _ = allocated(lambda: PackageIndex.from_lines(decompress(data)))
    assert held / len(again) < 1400 < sum(map(len, index.lines())) / len(again)


def test_spacks_database_is_not_in_memory_when_it_is_fetched(index):
    data, digest = b"".join(compress(index.lines())), index.database_digest()
    checked, held, peak = allocated(lambda: checked_database_of_lines(partial(decompress, data), digest[0], "the test"))
    assert not checked.left_out
    assert held < digest[1] / 3 and peak < digest[1]
    assert sha256_digest(checked.data.read()) == digest[0]
    _, _, peak = allocated(lambda: [None for _ in checked.data.pieces()])
    assert peak < digest[1] / 2


def test_a_copy_of_an_index_shares_what_it_holds(index):
    _, held, _ = allocated(index.copy)
    assert held / len(index) < 250


def test_a_tag_of_a_layout_takes_less_than_half_a_kilobyte(tmp_path):
    store = LayoutStore(LayoutDirectory(str(tmp_path / "cache")), durable=False)
    store.create()
    digests = [sha256_digest(b"%d" % number) for number in range(1000)]
    entries = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": 1000,
            "annotations": {"org.opencontainers.image.ref.name": f"package-1.0-{digest[7:39]}.spack"},
        }
        for digest in digests
    ]
    store.table.replace(entries)
    again = LayoutStore(LayoutDirectory(str(tmp_path / "cache")), durable=False)
    tagged, held, _ = allocated(again.table.tagged)
    assert len(tagged) == 1000 and held / len(tagged) < 500
    assert sorted(again.table.entries(), key=lambda e: e["digest"]) == sorted(entries, key=lambda e: e["digest"])
