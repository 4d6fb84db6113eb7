# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Damaged manifests, configs and nodes of packages: an index is made without them, an install refuses them by name."""

import copy
import json
import random
from pathlib import Path
from typing import Any, List, Optional

from spack_oci.descriptor import OCI_MANIFEST, Descriptor
from spack_oci.errors import SpackOciError
from spack_oci.index.update.loop import update_index
from spack_oci.operations.catalog import describe, lines_of
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, push_package, tag_of
from support.specs.node_mutations import base_nodes, mutate

TOKENS = ()
_OTHER = chain("other", 1)


def material(directory: Path) -> List[bytes]:
    """``{"manifest": ..., "config": ...}`` of packages."""
    found = []
    for package in [*base_nodes(), chain("p", 2)[0]]:
        store = MemoryStore()
        push_package(store, [package])
        manifest = json.loads(store.get_manifest(tag_of(package))[1])
        config = json.loads(store.blobs[manifest["config"]["digest"]])
        found.append(json.dumps({"tag": tag_of(package), "manifest": manifest, "config": config}).encode())
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """Of the documents; now and then of their bytes, which are then no JSON or another."""
    document = json.loads(data)
    tag = document["tag"]
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        mutate(document, rng)
    document.setdefault("tag", tag)
    return json.dumps(document).encode()


def attempt(data: bytes, directory: Path) -> Optional[str]:
    document = json.loads(data)
    tag = document["tag"] if isinstance(document.get("tag"), str) else "x.spack"
    store = MemoryStore()
    push_package(store, _OTHER)
    config = _bytes(document.get("config"))
    descriptor = Descriptor.of(config, "application/vnd.oci.image.config.v1+json")
    store.blobs[descriptor.digest] = config
    manifest: Any = copy.deepcopy(document.get("manifest"))
    if isinstance(manifest, dict) and isinstance(manifest.get("config"), dict):
        manifest["config"].update(digest=descriptor.digest, size=len(config))
    text = _bytes(manifest)
    stored = Descriptor.of(text, OCI_MANIFEST)
    store.manifests[stored.digest] = (OCI_MANIFEST, text)
    store.tagged[tag] = stored.digest
    for read in (
        lambda: find_package(store, tag),
        lambda: lines_of(describe(store, tag)),
        lambda: read_contents(store),
    ):
        try:
            read()
        except SpackOciError as e:
            str(e).encode("utf-8", "surrogatepass")
    done = update_index(store, QUICK)
    if tag_of(_OTHER[0]) not in read_contents(store).need_index().tags:
        return f"the other package is not in the index: {done}"
    return None


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()
