# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A cache whose packages and index are signed, and a machine that installs from it under a policy."""

import base64
import hashlib
import json

from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json, sha256_digest
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.publish import (
    DOCUMENT_TAG,
    read_document_manifest,
    read_signatures,
    signature_table,
)
from spack_oci.index.read import NotModified
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.operations.install.locate import fetch_package
from spack_oci.operations.trust.generations import Generations
from spack_oci.operations.trust.guard import Guard
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.operations.trust.trusted_index import TrustedIndex
from spack_oci.trust.policy import Policy
from unit.trust.cases import signer

POLICY = Policy("require", (signer("team").public,))
FIRST, SECOND = "a" * 32, "b" * 32


def package(store, name="zlib", dag_hash=FIRST, note=""):
    layer = put_bytes(store, f"layer of {name}{note}".encode(), OCI_LAYER_GZIP)
    node = {
        "name": name,
        "version": "1.3",
        "hash": dag_hash,
        "arch": {"platform": "linux", "platform_os": "debian12", "target": "x86_64"},
        "parameters": {},
    }
    config = {
        "spec": {"_meta": {"version": 5}, "nodes": [node]},
        "rootfs": {"diff_ids": [sha256_digest(name.encode())]},
        "buildcache_layout_version": 3,
    }
    manifest = {"config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(), "layers": [layer.to_dict()]}
    tag = f"{name}-1.3-{dag_hash}.spack"
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
    return tag


def hash_of(number):
    """32 characters as base32 has them."""
    return base64.b32encode(hashlib.sha256(b"%d" % number).digest()[:20]).decode().lower()


def sign(store, tags, by="team", at=1_800_000_000, generations=None, warn=lambda message: None):
    """Sign packages (if there are any) and the index."""
    outcomes = sign_packages(store, tags, signer(by))
    written = [o.written for o in outcomes]
    signing = IndexSigning(store, written, signer(by), generations, warn, now=lambda: at)
    return update_index(store, UpdateSettings(signatures=signing), compare_digests=False)


class Client:
    """A machine that installs."""

    def __init__(self, store, directory, policy=POLICY, now=1_800_000_000):
        self.store = store
        self.said = []
        self.generations = Generations(str(directory / "trust"))
        self.trusted = TrustedIndex(policy, store, self.generations, self.said.append, now=lambda: now)
        self.cache = IndexCache(str(directory / "indexes"), fetch=lambda url, *args: self.trusted.fetch(*args))
        self.policy = policy

    def refresh(self):
        return refresh_index(self.cache, self.store.url, self.store)

    def offered(self):
        """DAG hashes that the concretizer is offered."""
        found = self.refresh()
        if isinstance(found, NotModified):
            found = self.cache.load(self.store.url).index
        installs = json.loads(found.data)["database"]["installs"]
        return {h for h, install in installs.items() if install["in_buildcache"]}

    def fetch(self, tag, dag_hash=FIRST):
        guard = Guard(self.policy, self.store, self.said.append, self.cache)
        return fetch_package(self.store, tag, dag_hash, lambda r: r.layer.digest, self.cache, guard)[1]


def table(store):
    return signature_table(read_signatures(store, read_document_manifest(store)))


def edited(store, change):
    """Somebody who has no key writes the index manifest."""
    manifest = json.loads(store.get_manifest(DOCUMENT_TAG)[1])
    change(manifest)
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, DOCUMENT_TAG)
