# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The run environments that an install asks the cache for: of each package that was named."""

import collections

import pytest
from spack_oci.cli.caches import read_source
from spack_oci.content.blob_cache import BlobCache
from spack_oci.store.database import Database
from spack_oci.store.install import install_roots, kept_environment
from spack_oci.store.store import Store


@pytest.mark.parametrize("names", [["oci-leaf"], ["oci-leaf", "oci-app", "oci-script", "oci-private"]])
def test_several_packages_are_asked_for_with_one_look_at_the_database(cache, store, tmp_path, monkeypatch, names):
    """It may have thousands of records, and is parsed as a whole."""
    monkeypatch.setenv("SPACK_OCI_CACHE", str(tmp_path / "home"))
    reads = collections.Counter()
    read = Database.read
    monkeypatch.setattr(Database, "read", lambda self: reads.update(n=1) or read(self))
    source = read_source(str(cache))
    roots = [next(n for n in source.graph.values() if n["name"] == name) for name in names]
    tree = Store.open_or_create(str(store))
    install_roots(tree, roots, source, BlobCache(str(tmp_path / "blobs")))
    assert all(kept_environment(tree, root["hash"]) is not None for root in roots)
    assert reads["n"] == 3, "the plan, the plan under locks, and the environments"
