# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a cache has, as records: from the index, and from one tag."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_EMPTY, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json
from spack_oci.errors import NotAPackage, NotFound
from spack_oci.index.publish import DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.update.loop import update_index
from spack_oci.operations.catalog import describe, records, subset
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, node, push_package, tag_of

NOTES = {
    "org.opencontainers.image.description": "p-1@1.0 +shared",
    "org.opencontainers.image.base.name": "docker.io/library/debian:12",
    "org.opencontainers.image.base.digest": "sha256:" + "1" * 64,
    "org.spack-oci.pusher": "spack-oci 1.0",
    "org.spack-oci.relocation.prefix-length": "63",
    "org.spack-oci.relocation.strings": "4",
}


@pytest.fixture
def store():
    return MemoryStore()


def test_records_of_an_index(store):
    nodes = chain("p", 2)
    push_package(store, nodes, annotations=NOTES)
    push_package(store, [node("a", "2.0")])
    update_index(store)
    found = list(records(fetch_index(store)).values())
    assert [(r.name, r.version) for r in found] == [("a", "2.0"), ("p-1", "1.0")]
    record = found[1]
    layer = json.loads(store.get_manifest(tag_of(nodes[0]))[1])["layers"][-1]
    assert (record.hash, record.tag) == (nodes[0]["hash"], tag_of(nodes[0]))
    assert record.arch == "linux-debian12-x86_64_v3"
    assert record.variants == {"build_system": "generic", "shared": True}
    assert (record.size, record.layer) == (layer["size"], layer["digest"])
    assert record.digest == store.resolve(tag_of(nodes[0])).digest
    assert (record.prefix_length, record.relocation) == (63, {"strings": 4})
    assert record.pusher == "spack-oci 1.0"
    json.dumps([r.to_dict() for r in found])
    assert list(records(fetch_index(store), lambda node: node["hash"] == record.hash)) == [record.hash]


def test_records_of_an_index_without_ours(store):
    """Of a Spack without this extension: everything but what is not in it."""
    push_package(store, [node("p")])
    update_index(store)
    del store.tagged[DOCUMENT_TAG]
    (record,) = records(fetch_index(store)).values()
    assert (record.name, record.tag) == ("p", tag_of(node("p")))
    assert record.size is record.signed is record.prefix_length is None


def test_subset_has_what_is_wanted_and_what_that_needs(store):
    p, q = chain("p", 3), chain("q", 2)
    for nodes in (p, p[1:], q):
        push_package(store, nodes)
    update_index(store)
    data = subset(fetch_index(store), lambda n: n["name"] == p[0]["name"])
    database = json.loads(b"".join(data))["database"]
    assert database["version"] == "8"
    found = {h: record["in_buildcache"] for h, record in database["installs"].items()}
    assert found == {p[0]["hash"]: True, p[1]["hash"]: False, p[2]["hash"]: False}


def test_target_with_features_is_named(store):
    target = {"name": "zen4", "vendor": "AuthenticAMD", "features": [], "parents": ["zen3"], "generation": 0}
    push_package(store, [node("p", arch={"platform": "linux", "platform_os": "rhel9", "target": target})])
    update_index(store)
    assert next(iter(records(fetch_index(store)).values())).arch == "linux-rhel9-zen4"


def sign(store, subject):
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
        "config": put_bytes(store, b"{}", OCI_EMPTY).to_dict(),
        "layers": [put_bytes(store, b"signature", OCI_LAYER_GZIP).to_dict()],
        "subject": subject.to_dict(),
    }
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST)


def test_description_of_a_tag(store):
    nodes = chain("p", 2)
    descriptor = push_package(store, nodes, annotations=NOTES)
    found = describe(store, tag_of(nodes[0]))
    assert found.manifest == descriptor
    assert (found.base, found.base_digest) == ("docker.io/library/debian:12", "sha256:" + "1" * 64)
    assert found.description == "p-1@1.0 +shared"
    assert [layer.descriptor.digest for layer in found.layers] == [found.record.layer]
    assert found.total_size == found.config.size + found.record.size
    assert found.record.relocation == {"strings": 4}
    assert (found.record.signed, found.referrers) == (False, ())
    signature = sign(store, descriptor)
    signed = describe(store, tag_of(nodes[0]))
    assert signed.record.signed is True
    assert signed.referrers == (("application/vnd.dev.cosign.artifact.sig.v1+json", signature.digest),)
    assert json.loads(json.dumps(signed.to_dict()))["dependencies"] == [nodes[1]["hash"]]


def test_layers_are_named_by_the_history(store):
    package = node("p")
    config = {
        "spec": {"_meta": {"version": 5}, "nodes": [package]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "2" * 64, "sha256:" + "3" * 64]},
        "history": [
            {"created_by": "debootstrap"},
            {"created_by": "ENV", "empty_layer": True},
            {"created_by": "spack oci push", "comment": "p@1.0/abcdefg"},
        ],
    }
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put_bytes(store, canonical_json(config), OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, data, OCI_LAYER_GZIP).to_dict() for data in (b"base", b"own")],
    }
    store.put_manifest(canonical_json(document), OCI_MANIFEST, tag_of(package))
    found = describe(store, tag_of(package))
    assert [layer.label for layer in found.layers] == ["debootstrap", "p@1.0/abcdefg"]
    assert found.layers[1].diff_id == "sha256:" + "3" * 64


def test_what_is_no_package_is_refused(store):
    with pytest.raises(NotFound):
        describe(store, "nothing")
    push_package(store, [node("p")])
    update_index(store)
    with pytest.raises(NotAPackage):
        describe(store, DOCUMENT_TAG)


def test_signature_of_cosign_is_found(store):
    descriptor = push_package(store, [node("p")])
    store.put_manifest(b'{"schemaVersion":2}', OCI_MANIFEST, descriptor.digest.replace(":", "-") + ".sig")
    found = describe(store, tag_of(node("p")))
    assert found.record.signed is True
    assert [kind for kind, _ in found.referrers] == ["cosign signature"]
