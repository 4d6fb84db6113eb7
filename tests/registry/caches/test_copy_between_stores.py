# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The graph copy between a real registry and a layout, in both directions, and within one registry."""

import json
import os

import pytest
from spack_oci.content import put_bytes
from spack_oci.content.copy import GraphCopy
from spack_oci.content.platform import Platform
from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.reference import LayoutDirectory, parse_url
from spack_oci.registry import open_repository
from support.packages.cache_builder import QUICK, node, push_package
from support.packages.copies import copy_image
from support.registries.docker_registry import docker_registry


@pytest.fixture(scope="module")
def registry():
    with docker_registry() as running:
        yield running


@pytest.fixture
def new_repository(registry):
    return lambda name: open_repository(parse_url(registry.mirror_url(f"copy/{name}-{os.urandom(4).hex()}")))


@pytest.fixture
def layout(tmp_path):
    return open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)


def image(store, tag, *layers, subject=None):
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put_bytes(store, b'{"os":"linux","architecture":"amd64"}', OCI_CONFIG).to_dict(),
        "layers": [put_bytes(store, data, OCI_LAYER_GZIP).to_dict() for data in layers],
    }
    if subject:
        manifest.update(subject=subject.to_dict(), artifactType="application/vnd.example.signature")
    return store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)


def test_to_a_layout_and_back(layout, new_repository):
    source, back = new_repository("source"), new_repository("back")
    big = os.urandom(3 << 20)
    parts = [image(source, None, b"base", big), image(source, None, b"base", b"arm")]
    manifests = [
        {**d.to_dict(), "platform": {"os": "linux", "architecture": a}} for d, a in zip(parts, ("amd64", "arm64"))
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    root = source.put_manifest(canonical_json(index), OCI_INDEX, "v1")
    image(source, None, b"sig", subject=parts[0])

    moved = []
    there = copy_image(source, layout, "v1", referrers=True, progress=moved.append)
    assert there.sent_bytes == sum(moved) > len(big)
    assert layout.resolve("v1") == root
    (signature,) = layout.referrers(parts[0].digest)
    assert signature.artifact_type == "application/vnd.example.signature"

    copied = copy_image(layout, back, "v1", referrers=True)
    assert copied.descriptor == root == back.resolve("v1")
    assert back.get_manifest(parts[1].digest) == source.get_manifest(parts[1].digest)
    assert [d.digest for d in back.referrers(parts[0].digest)] == [signature.digest]
    again = copy_image(layout, back, "v1", referrers=True)
    assert (again.sent, again.manifests) == (0, 0)


def test_within_a_registry_blobs_are_mounted(registry, new_repository):
    source, destination = new_repository("base"), new_repository("cache")
    descriptor = image(source, "12", os.urandom(1 << 20))
    before = len(registry.requests())
    copied = copy_image(source, destination, "12", tag="base")
    assert (copied.mounted, copied.sent) == (2, 0)
    assert destination.resolve("base") == descriptor
    requests = registry.requests()[before:]
    assert not [r for r in requests if r.startswith(("PATCH", "PUT")) and "/blobs/" in r]
    assert not [r for r in requests if r.startswith("GET") and "/blobs/" in r]


def requests_of_a_copy(packages):
    with docker_registry() as one, docker_registry() as other:
        source, destination = (open_repository(parse_url(r.mirror_url("cache"))) for r in (one, other))
        for number in range(packages):
            push_package(source, [node(f"p{number}")], layer=b"%d" % number)
        update_index(source, QUICK)
        before = len(one.requests())
        both = compare(source, destination)
        plan = plan_copy(both, Selection())
        assert not execute_copy(source, destination, both.found, plan, jobs=1).failed
        assert {t: source.resolve(t).digest for t in plan.packages} == {
            t: destination.resolve(t).digest for t in plan.packages
        }
        return len(one.requests()) - before + len(other.requests())


def test_a_package_that_is_copied_between_registries_costs_eight_requests():
    """Manifest, config and layer from the one; to the other an upload in two requests for each blob, and the manifest.
    What its tags and the index tell is not asked again, nor for referrers where a registry has no such API. (Two more
    each are those of this test.)"""
    assert requests_of_a_copy(20) - requests_of_a_copy(10) == 10 * (8 + 2)


def test_many_images_share_what_they_have_in_common(layout, new_repository):
    source = new_repository("many")
    for number in range(20):
        image(source, f"v{number}", b"base", b"%d" % number)
    with GraphCopy(source, layout, jobs=4) as copier:
        outcomes = dict(copier.copy_all(source.tags(), platform=Platform("linux", "amd64")))
    assert sum(copied.sent for copied in outcomes.values()) == 22
    assert set(layout.tags()) == {f"v{number}" for number in range(20)}
    with open(os.path.join(layout.path, "index.json")) as f:
        assert len(json.load(f)["manifests"]) == 20
