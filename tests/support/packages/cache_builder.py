# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Package images made of generated spec documents, for tests of the index that need no Spack and no prefixes."""

import base64
import hashlib
import json
from typing import Any, Dict, Iterable, List, Optional, Sequence

from spack_oci.content import ContentStore, put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.index.publish import DATABASE_TAG
from spack_oci.index.update.loop import Backoff, UpdateSettings
from spack_oci.package.record import package_tag


def quick(**changes: Any) -> UpdateSettings:
    """Settings of an update that does not wait for others."""
    return UpdateSettings(**{"backoff": Backoff(sleep=lambda seconds: None), **changes})


QUICK = quick()


def dag_hash(text: str) -> str:
    """32 characters as Spack's: base32 of a sha1."""
    return base64.b32encode(hashlib.sha1(text.encode()).digest()).decode().lower()


def node(name: str, version: str = "1.0", dependencies: Iterable[Dict[str, Any]] = (), **extra: Any) -> Dict[str, Any]:
    """A node dictionary; its hash depends on its name, version and dependencies, as in Spack."""
    edges = [
        {"name": d["name"], "hash": d["hash"], "parameters": {"deptypes": ["build", "link"], "virtuals": []}}
        for d in dependencies
    ]
    result: Dict[str, Any] = {
        "name": name,
        "version": version,
        "arch": {"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"},
        "namespace": "builtin",
        "parameters": {"build_system": "generic", "cflags": [], "cxxflags": [], "shared": True},
        "package_hash": dag_hash(f"package {name}"),
        **({"dependencies": edges} if edges else {}),
        "annotations": {"original_specfile_version": 5},
        **extra,
    }
    result.setdefault("hash", dag_hash(json.dumps(result, sort_keys=True)))
    return result


def document(nodes: Sequence[Dict[str, Any]], version: int = 5) -> Dict[str, Any]:
    """The spec document of ``nodes[0]``."""
    return {"spec": {"_meta": {"version": version}, "nodes": list(nodes)}}


def tag_of(package: Dict[str, Any]) -> str:
    return package_tag(package["name"], package["version"], package["hash"])


def push_package(
    store: ContentStore,
    nodes: Sequence[Dict[str, Any]],
    *,
    tag: Optional[str] = None,
    layer: bytes = b"",
    annotations: Optional[Dict[str, str]] = None,
    specfile_version: int = 5,
    layout_version: int = 2,
) -> Descriptor:
    """Store the image of ``nodes[0]`` with one small layer, and tag it."""
    package = nodes[0]
    content = layer or f"layer of {package['hash']}".encode()
    config = {
        **document(nodes, specfile_version),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256_digest(content)]},
        "buildcache_layout_version": layout_version,
    }
    manifest: Dict[str, Any] = {
        "mediaType": OCI_MANIFEST,
        "schemaVersion": 2,
        "config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, content, OCI_LAYER_GZIP).to_dict()],
    }
    if annotations:
        manifest["annotations"] = annotations
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag or tag_of(package))


def chain(prefix: str, length: int) -> List[Dict[str, Any]]:
    """``PREFIX-n`` depends on ``PREFIX-(n-1)`` and so on; the package is the first of the list."""
    nodes: List[Dict[str, Any]] = []
    for number in range(length):
        nodes.insert(0, node(f"{prefix}-{number}", dependencies=nodes[:1]))
    return nodes


def overwrite_as_spack(store: ContentStore, hashes: Iterable[str] = ()) -> None:
    """What a Spack without this extension does: another ``index.spack``, ours left as it is."""
    database = {"database": {"version": "8", "installs": {h: {} for h in hashes}}}
    manifest = {
        "mediaType": OCI_MANIFEST,
        "schemaVersion": 2,
        "config": put_bytes(store, b"{}", OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, json.dumps(database).encode(), OCI_LAYER_GZIP).to_dict()],
    }
    store.put_manifest(json.dumps(manifest).encode(), OCI_MANIFEST, DATABASE_TAG)


def sign(store: ContentStore, descriptor: Descriptor, what: bytes = b"signature") -> str:
    """As cosign does it: a tag made of the digest of what is signed."""
    layer = put_bytes(store, what, "application/vnd.dev.cosign.simplesigning.v1+json")
    config = put_bytes(store, b"{}", OCI_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_dict(),
        "layers": [layer.to_dict()],
    }
    tag = descriptor.digest.replace(":", "-") + ".sig"
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
    return tag


def push_image(store: ContentStore, tag: str, content: bytes = b"layer") -> Descriptor:
    """An image of one layer that is no package."""
    layer = put_bytes(store, content, OCI_LAYER_GZIP)
    config = put_bytes(store, b'{"architecture":"amd64","os":"linux"}', OCI_CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_dict(), "layers": [layer.to_dict()]}
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
