# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Damaged pins, plans of a prune, snapshots and signatures in a cache: whoever reads them says so by name, and what can
be done without them is done.
"""

import json
import random
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from spack_oci.descriptor import Descriptor
from spack_oci.errors import SpackOciError
from spack_oci.index.condemned import PLAN_TAG, Condemned, PrunePlan, left_out_of_index, read_plan, reprieve, write_plan
from spack_oci.index.snapshots import SNAPSHOT_PREFIX, SnapshotStore
from spack_oci.index.update.loop import update_index
from spack_oci.operations.check.findings import Level
from spack_oci.operations.check.package_level import Rules
from spack_oci.operations.check.repair import plan_repair
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.lifecycle.contents import PIN_PREFIX, read_contents
from spack_oci.operations.lifecycle.pins import read_pins, write_pin
from spack_oci.operations.lifecycle.prune import Keep, condemn, delete_condemned, plan_prune, read_snapshots
from spack_oci.operations.lifecycle.snapshots import list_snapshots, make_snapshot
from spack_oci.trust.signatures import add_signatures, read_signatures, signature_tag
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, push_package, sign, tag_of
from support.specs.node_mutations import mutate

TOKENS = ()
_NODES = chain("p", 2)
_KEPT, _GONE = _NODES[0], node("gone")


class _NoBlobs:
    def get(self, digest: str) -> Optional[str]:
        return None


def _store() -> MemoryStore:
    store = MemoryStore()
    push_package(store, _NODES)
    push_package(store, _NODES[1:])
    push_package(store, [_GONE])
    update_index(store, QUICK)
    write_pin(store, "mine", [_KEPT["hash"]])
    make_snapshot(store, read_contents(store), "paper")
    gone = store.resolve(tag_of(_GONE)).digest
    now = int(time.time())
    write_plan(store, PrunePlan({tag_of(_GONE): Condemned(gone, now)}, {gone: now}, {"x-1.0-abc.spack": gone}))
    sign(store, store.resolve(tag_of(_KEPT)))
    return store


_STORE = _store()
_TAGS = (f"{PIN_PREFIX}mine", f"{SNAPSHOT_PREFIX}paper", PLAN_TAG, signature_tag(_STORE.resolve(tag_of(_KEPT)).digest))


def material(directory: Path) -> List[bytes]:
    """``{"tag": ..., "manifest": ..., "document": ...}``; ``document``: of the first layer, if it is JSON."""
    found = []
    for tag in _TAGS:
        manifest = json.loads(_STORE.get_manifest(tag)[1])
        try:
            document = json.loads(_STORE.blobs[manifest["layers"][0]["digest"]])
        except ValueError:
            document = None
        found.append(json.dumps({"tag": tag, "manifest": manifest, "document": document}).encode())
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    parts = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(["manifest", "document"] if isinstance(parts["document"], dict) else ["manifest"])
        if isinstance(parts[name], dict):
            mutate(parts[name], rng)
    return json.dumps(parts).encode()


def attempt(data: bytes, directory: Path) -> Optional[str]:
    parts: Dict[str, Any] = json.loads(data)
    store = MemoryStore()
    store.blobs, store.manifests, store.tagged = dict(_STORE.blobs), dict(_STORE.manifests), dict(_STORE.tagged)
    manifest = parts["manifest"]
    if parts["document"] is not None:
        text = json.dumps(parts["document"]).encode()
        try:
            layer = manifest["layers"][0]
            described = Descriptor.of(text, layer["mediaType"])
            layer.update(digest=described.digest, size=described.size)
            store.blobs[described.digest] = text
        except (KeyError, TypeError, IndexError, AttributeError, SpackOciError):
            pass
    body = json.dumps(manifest).encode()
    kind = store.manifests[store.tagged[parts["tag"]]][0]
    stored = Descriptor.of(body, kind)
    store.manifests[stored.digest] = (kind, body)
    store.tagged[parts["tag"]] = stored.digest
    kept = {tag_of(package) for package in _NODES}
    for ask in _QUESTIONS:
        try:
            ask(store)
        except SpackOciError as e:
            if len(str(e)) > 5000 or not str(e).replace("\n", "").isprintable():
                return f"the error {str(e)[:300]!r}"
    if parts["tag"] != PLAN_TAG:  # without the plan, nobody knows what is to be left out
        update_index(store, QUICK)
    missing = kept - set(store.tagged) if parts["tag"] != f"{PIN_PREFIX}mine" else set()
    return f"a prune took {missing}, which a pin keeps" if missing else None


def _prune(store: MemoryStore) -> None:
    contents = read_contents(store)
    pins, snapshots = read_pins(store, contents.pins), read_snapshots(store, contents)
    plan = plan_prune(store, contents, Keep(), pins, snapshots=snapshots)
    result = condemn(store, plan, QUICK)
    delete_condemned(store, lambda: read_contents(store), result, QUICK, grace=0)


def _sign_again(store: MemoryStore) -> None:
    data = store.get_manifest(_TAGS[3])[1]
    read_signatures(data, "it")
    add_signatures(data, [], "it")


def _repair(store: MemoryStore) -> None:
    contents = read_contents(store)
    plan_repair(store, contents, verify_cache(store, contents, Level.BLOBS, Rules()), _NoBlobs())


_QUESTIONS: Sequence[Callable[[MemoryStore], object]] = (
    read_plan,
    left_out_of_index,
    list_snapshots,
    lambda store: list(SnapshotStore(store, "paper").tags()),
    lambda store: read_contents(SnapshotStore(store, "paper")),
    _sign_again,
    _repair,
    lambda store: reprieve(store, ["other"]),
    _prune,
)
