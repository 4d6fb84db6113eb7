# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is in the index of a cache in memory, as Spack reads it."""

import json

from spack_oci.index.publish import read_database
from spack_oci.index.update.read_package import read_package
from support.packages.cache_builder import push_package, tag_of


def installs(store):
    """The records of ``index.spack``, as Spack reads them."""
    _, _, data = read_database(store)
    database = json.loads(data)["database"]
    assert database["version"] == "8"
    return database["installs"]


def cached(store):
    return {h for h, record in installs(store).items() if record["in_buildcache"]}


def pushed(store, nodes):
    push_package(store, nodes)
    return read_package(store, tag_of(nodes[0]))
