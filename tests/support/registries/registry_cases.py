# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Content, settings and stores for tests of the registry client against the fault-injecting registry."""

import os

from spack_oci.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, RetryPolicy, StaticCredentials, open_repository

NAME = "test/faults"
SMALL = b"a small blob"
LARGE = bytes(os.urandom(1 << 16)) * 48  # 3 MiB
MANIFEST = canonical_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []})


def layer(data):
    return Descriptor.of(data, OCI_LAYER)


class Sleeps(list):
    def __call__(self, seconds):
        self.append(seconds)


def settings_for(*registries, sleeps=None, **kwargs):
    sources = [StaticCredentials(r.host, Credentials("alice", "correct-horse-battery"), "the test") for r in registries]
    retry = RetryPolicy(attempts=4, base=0.01, sleep=sleeps if sleeps is not None else Sleeps())
    defaults = {"retry": retry, "read_timeout": 5.0, "ca_bundle": registries[0].ca}
    return RegistrySettings(credentials=sources, **{**defaults, **kwargs})


def store_at(registry, **kwargs):
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings_for(registry, **kwargs))


def keep(registry, *blobs, manifest=None, tag="1"):
    """Put content into the registry without a request."""
    repository = registry.repository(NAME)
    repository.blobs.update({sha256_digest(b): b for b in blobs})
    if manifest is not None:
        repository.manifests[sha256_digest(manifest)] = (OCI_MANIFEST, manifest)
        repository.tags[tag] = sha256_digest(manifest)


def fetch(store, data):
    with store.open_blob(layer(data)) as reader:
        return reader.read()
