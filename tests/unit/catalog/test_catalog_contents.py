# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a page shows of a cache, as values."""

from dataclasses import replace

import pytest
from spack_oci.catalog.contents import Contents, read_builds, read_images, read_signers
from spack_oci.errors import Unreachable
from spack_oci.index.publish import DOCUMENT_TAG
from spack_oci.index.read import fetch_index
from spack_oci.index.signature_table import IndexedSignature, SignedPackage, compress_table
from spack_oci.index.update.loop import update_index
from support.memory_store import MemoryStore
from support.packages.cache_builder import chain, node, push_image, push_package, sign


@pytest.fixture
def store():
    return MemoryStore()


def contents(store, failed=lambda tag, error: None):
    index = fetch_index(store)
    return Contents(read_builds(index, read_signers(store, index)), read_images(store, failed), index.digest)


def test_builds_are_sorted_by_name_then_the_newest_version(store):
    for name, version in (("b", "1.9"), ("b", "1.10"), ("b", "develop"), ("b", "1.10-rc1"), ("a", "2")):
        push_package(store, [node(name, version)])
    update_index(store)
    found = [(b.name, b.version) for b in contents(store).builds]
    # what is being developed is no release, as in Spack's own preference
    assert found == [("a", "2"), ("b", "1.10"), ("b", "1.9"), ("b", "1.10-rc1"), ("b", "develop")]


def test_what_the_index_knows_is_shown(store):
    package = node("p", parameters={"mpi": True, "shared": False, "api": "v18", "langs": ["c", "f"], "cflags": ["-O3"]})
    notes = {"org.opencontainers.image.licenses": "MIT", "org.spack-oci.relocation.unpacked-size": "12"}
    descriptor = push_package(store, [package], layer=b"12345", annotations=notes)
    sign(store, descriptor)
    update_index(store)
    (build,) = contents(store).builds
    assert build.tokens == ("api=v18", "cflags=-O3", "langs=c,f", "+mpi", "~shared")
    assert (build.arch, build.license, build.size) == (("linux", "debian12", "x86_64_v3"), "MIT", 5)
    assert build.is_cached and build.is_signed
    assert (build.stored.manifest, build.stored.unpacked_size) == (descriptor.digest, 12)


def test_signers_and_sboms_are_those_of_the_index(store):
    push_package(store, [node("p")])
    update_index(store)
    key = IndexedSignature("ab12", b"value")
    table = {node("p")["hash"]: SignedPackage((key,), sbom="sha256:" + "1" * 64)}
    index = replace(fetch_index(store), signatures=compress_table(table))
    (build,) = read_builds(index, read_signers(store, index))
    assert (build.keys, build.sbom, build.is_signed) == (("ab12",), "sha256:" + "1" * 64, True)


def test_an_index_without_ours_gives_what_is_in_it(store):
    push_package(store, [node("p")])
    update_index(store)
    del store.tagged[DOCUMENT_TAG]
    (build,) = contents(store).builds
    assert (build.name, build.is_cached, build.size, build.license) == ("p", True, None, "")


def test_compilers_dependents_and_what_an_install_brings(store):
    gcc = node("gcc", "14.3.0", external={"path": "/usr", "module": None, "extra_attributes": {}})
    edge = {"name": "gcc", "hash": gcc["hash"], "parameters": {"deptypes": ["build"], "virtuals": ["c", "cxx"]}}
    zlib = node("zlib")
    app = node("app", dependencies=[zlib])
    app = {**app, "dependencies": [*app["dependencies"], edge]}
    push_package(store, [zlib], layer=b"1" * 10)
    push_package(store, [app, zlib, gcc], layer=b"2" * 100)
    update_index(store)
    found = contents(store)
    assert [build.name for build in found.builds] == ["app", "gcc", "zlib"]
    assert found.compilers == ["gcc@14.3.0", "", ""]
    assert (found.builds[1].is_cached, found.builds[1].external) == (False, "/usr")
    assert found.dependents == [[], [0], [0]]
    assert list(found.closures()) == [(2, 110), (0, 0), (1, 10)]  # the compiler is no part of the first


def test_an_image_that_cannot_be_read_is_named_and_shown_without_content(store):
    push_package(store, chain("p", 1))
    push_image(store, "odd")  # its config has no layers
    update_index(store)
    failures = []
    images = contents(store, lambda tag, error: failures.append(tag)).images
    assert [(image.tag, image.platforms, bool(image.failure)) for image in images] == [("odd", (), True)]
    assert failures == ["odd"]


def test_a_store_that_cannot_be_asked_is_no_cache_without_images(store):
    push_image(store, "tools")

    def refuse():
        raise Unreachable("the registry is down")

    store.tags = refuse
    with pytest.raises(Unreachable):
        read_images(store, lambda tag, error: None)
