# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages of generated specs whose layers are real tarballs, for what reads them."""

import json

from spack_oci.descriptor import Descriptor
from spack_oci.index.update.loop import update_index
from support.packages.cache_builder import QUICK, document, push_package
from support.packages.layers import OLD_ROOT, SPEC_FILE, Layer


def prefix_of(node):
    return f"{OLD_ROOT}/linux-x86_64/{node['name']}-{node['version']}-{node['hash']}"


def layer_of(nodes) -> Layer:
    """Of ``nodes[0]``, which needs the others; to be filled and pushed."""
    layer = Layer(prefix_of(nodes[0]))
    layer.info["hash_to_prefix"] = {n["hash"]: prefix_of(n) for n in nodes}
    layer.info["relative_prefix"] = layer.old_prefix[len(OLD_ROOT) + 1 :]
    return layer.file(SPEC_FILE, json.dumps(document(nodes)))


def push_readable(store, nodes, layer=None, **more) -> Descriptor:
    """Its tag names a manifest whose layer an install would take."""
    return push_package(store, nodes, layer=(layer or layer_of(nodes)).gzip(), **more)


def filled(store, nodes):
    """``store`` with a package for each of ``nodes``, which needs those behind it, and their index."""
    for number in range(len(nodes)):
        push_readable(store, nodes[number:])
    update_index(store, QUICK)
    return store
