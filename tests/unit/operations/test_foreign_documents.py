# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Manifests and configs that anybody may have written: every reader names what is wrong, none falls over."""

import json
import random

import pytest
from spack_oci.content import MissingStore, put_bytes, read_blob
from spack_oci.content.copy import GraphCopy
from spack_oci.content.platform import Platform
from spack_oci.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from spack_oci.errors import NotFound, SpackOciError
from spack_oci.image.base.resolve import resolve_base
from spack_oci.image.index import push_platform
from spack_oci.index.update.read_package import read_package
from spack_oci.layout import open_layout
from spack_oci.layout.gc import collect_garbage
from spack_oci.operations.catalog import describe
from spack_oci.operations.images.described import describe_image
from spack_oci.operations.images.image_files import write_docker_archive
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.push.plan import plan_push
from spack_oci.reference import LayoutDirectory, parse_image_reference
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package
from support.packages.push_cases import push

AMD64 = Platform("linux", "amd64")
WRONG = [None, 5, -1, True, 1.5, "", "²", "x", [], [5], ["x"], {}, {"x": 5}, [[]], [{}], 10**30, "sha256:" + "a" * 64]


def paths(document, here=()):
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*here, key)
        if isinstance(value, (dict, list)):
            yield from paths(value, (*here, key))


def mutated(chance, document):
    """One or two values replaced or removed."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.choice((1, 1, 2))):
        path = chance.choice(list(paths(document)))
        there = document
        for key in path[:-1]:
            there = there[key]
        if chance.random() < 0.2:
            del there[path[-1]]
        else:
            there[path[-1]] = chance.choice(WRONG)
    return document


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    root = tmp_path_factory.mktemp("foreign")
    return make_package(root, "app", [make_package(root, "lib")])


def put_unchecked(store, tag, data, media_type):
    """As a registry that looks at nothing takes it."""
    descriptor = Descriptor.of(data, media_type)
    store.manifests[descriptor.digest] = (media_type, data)
    store.tagged[tag] = descriptor.digest
    return descriptor


def odd_store(chance, package, settings):
    """A store with one package, image and index whose documents are mutated."""
    store = MemoryStore("oci://registry.example/cache")
    push(store, [package], settings)
    manifest = json.loads(store.get_manifest(package.tag)[1])
    config = json.loads(read_blob(store, Descriptor.from_dict(manifest["config"])))
    if chance.random() < 0.6:
        config = mutated(chance, config)
        blob = put_bytes(store, json.dumps(config).encode(), manifest["config"]["mediaType"])
        manifest["config"] = blob.to_dict()
    else:
        manifest = mutated(chance, manifest)
    data = json.dumps(manifest).encode()
    image = put_unchecked(store, package.tag, data, OCI_MANIFEST)
    put_unchecked(store, "image", data, OCI_MANIFEST)
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{**image.to_dict(), "platform": {"os": "linux", "architecture": "amd64"}}],
        "annotations": {"a": "b"},
    }
    put_unchecked(store, "index", json.dumps(mutated(chance, index)).encode(), OCI_INDEX)
    return store


def readers(store, package, tmp_path):
    reference = parse_image_reference("oci://registry.example/cache:image")
    through_index = parse_image_reference("oci://registry.example/cache:index")
    yield lambda: find_package(store, package.tag, expected_hash=package.dag_hash)
    yield lambda: read_package(store, package.tag)
    yield lambda: describe(store, package.tag)
    yield lambda: describe_image(store, "image")
    yield lambda: describe_image(store, "index")
    yield lambda: resolve_base(store, reference, AMD64)
    yield lambda: resolve_base(store, through_index, AMD64)
    yield lambda: write_docker_archive(store, "image", ["a:b"], str(tmp_path / "archive.tar"))
    yield lambda: push_platform(store, "index", b'{"layers":[]}', OCI_MANIFEST, AMD64, pause=lambda _: None)

    def copied():
        layout = open_layout(LayoutDirectory(str(tmp_path / "layout")), create=True)
        with GraphCopy(store, layout, jobs=1) as copier:
            outcomes = dict(copier.copy_all(["image", "index", package.tag], referrers=True))
        assert not [e for e in outcomes.values() if isinstance(e, Exception) and "defect" in str(e)], outcomes
        collect_garbage(layout, grace=-1)

    yield copied


@pytest.mark.parametrize("seed", range(60))
def test_a_document_of_any_shape_is_read_or_refused_by_name(seed, package, settings, tmp_path):
    chance = random.Random(seed)
    store = odd_store(chance, package, settings)
    for read in readers(store, package, tmp_path):
        try:
            read()
        except SpackOciError as e:
            assert str(e).isprintable() and len(str(e)) < 1000, str(e)


@pytest.mark.parametrize("seed", range(20))
def test_one_odd_package_does_not_stop_the_push_of_another(seed, package, settings, tmp_path):
    """It gives a warning, and its layer is left out."""
    chance = random.Random(1000 + seed)
    store = odd_store(chance, package, settings)
    user = make_package(tmp_path, "user", [package])
    plan = plan_push(store, [package, user], settings=settings)
    assert len(plan.warnings) + len(plan.layers) == 1


def test_the_plan_of_a_first_push_reads_a_store_that_is_not_there(package, settings):
    store = MissingStore("oci+file:///nowhere")
    plan = plan_push(store, [package], settings=settings)
    assert len(plan.to_push) == 1
    with pytest.raises(NotFound):
        store.open_blob(Descriptor.of(b"", "x"))


def test_an_image_that_a_list_names_many_times_is_read_once(package, settings):
    store = MemoryStore("oci://registry.example/cache")
    push(store, [package], settings)
    entry = {**store.resolve(package.tag).to_dict(), "platform": {"os": "linux", "architecture": "amd64"}}
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] * 1000}).encode()
    put_unchecked(store, "many", data, OCI_INDEX)
    store.reset()
    assert len(describe_image(store, "many")) == 1 and store.requests == 3
