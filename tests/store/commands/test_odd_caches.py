# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches that are not like ours, from the command line: not there, of an unknown layout, with large zeros."""

import os

import pytest
from spack_oci.cli.caches import open_cache
from spack_oci.content import BytesSource
from spack_oci.content.artifacts import write_json_artifact
from spack_oci.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor, canonical_json
from spack_oci.operations.lifecycle.contents import PIN_PREFIX
from spack_oci.store.source import is_plain_node
from support.packages.cache_builder import node, push_package
from support.registries.fault_registry import Fault, fault_registry
from support.spacks.client import build_store


@pytest.fixture
def mixed(tmp_path):
    """A cache with one package that can be had, and one of a layout that this program does not know."""
    layout = str(tmp_path / "mixed")
    store = open_cache(layout, create=True, writes=True)
    push_package(store, [node("known")])
    push_package(store, [node("unknown")], layout_version=9)
    return layout


def test_a_package_of_a_layout_that_is_not_known_is_not_indexed_and_named(client, mixed):
    said = client.run("update-index", mixed).stderr
    assert "1 tag could not be read: unknown-1.0" in said and "newer Spack wrote it" in said
    assert {package["name"] for package in client.packages("--allarch", mixed)} == {"known"}


def test_a_package_of_a_layout_that_is_not_known_is_not_installed(client, mixed, store):
    client.run("update-index", mixed)
    done = client.run("install", mixed, "unknown", "--store", store, check=False)
    assert done.returncode != 0 and "unknown" in done.stderr
    assert not list(store.glob("*/unknown-*"))


@pytest.mark.parametrize("words", [["list"], ["install", "oci-leaf"], ["show", "oci-leaf"], ["update-index"]])
def test_a_repository_that_is_not_there_is_not_said_to_need_an_index(client, store, words):
    """As ECR says it, which makes none by itself."""
    unknown = b'{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist"}]}'
    with fault_registry(Fault("*", "/v2/", status=404, body=unknown, times=99)) as registry:
        command, *rest = words
        more = ["--store", store] if command == "install" else []
        done = client.run(command, f"oci+http://{registry.host}/team/cache", *rest, *more, check=False)
    assert done.returncode != 0
    assert "neither packages nor an index" in done.stderr and "has no index" not in done.stderr


#: what a terminal would obey: writes its clipboard; in one byte; and draws what follows from right to left
OBEYED = "\x1b]52;c;eA==\x07 \x9b31m \u202e"


def test_nothing_that_a_cache_says_reaches_the_terminal_as_it_is(client, tmp_path):
    layout = str(tmp_path / "hostile")
    store = open_cache(layout, create=True, writes=True)
    push_package(store, [node("hostile", parameters={"said": OBEYED, OBEYED: True})])
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    blob = canonical_json({**config, "config": {"Env": [f"X={OBEYED}"], "User": OBEYED, "Labels": {OBEYED: OBEYED}}})
    described = Descriptor.of(blob, OCI_CONFIG)
    store.put_blob(described, BytesSource(blob))
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described.to_dict(), "layers": []}
    store.put_manifest(canonical_json({**manifest, "annotations": {OBEYED: OBEYED}}), OCI_MANIFEST, "image")
    client.run("update-index", layout)
    for words in (["list", "--variants", "--allarch", layout], ["show", layout, "image"], ["show", layout, "hostile"]):
        said = client.run(*words).stdout
        assert said and all(line.isprintable() for line in said.split("\n")), words


def pinned(layout, **changes):
    store = open_cache(layout, create=True, writes=True)
    push_package(store, [node("kept")])
    document = {"version": 1, "name": "x", "hashes": [node("kept")["hash"]], "by": "x", "at": 1, "until": None}
    write_json_artifact(store, PIN_PREFIX + "x", "application/vnd.spack-oci.pin.v1+json", {**document, **changes})


@pytest.mark.parametrize("times", [{"at": 10**20}, {"until": 10**300}])
def test_a_pin_of_a_time_that_is_none_is_named(client, tmp_path, times):
    pinned(str(tmp_path / "cache"), **times)
    done = client.run("pins", tmp_path / "cache", check=False)
    assert done.returncode != 0 and "does not fit (maximum" in done.stderr and "Traceback" not in done.stderr


def test_who_has_pinned_is_said_without_what_a_terminal_obeys(client, tmp_path):
    pinned(str(tmp_path / "cache"), by=OBEYED)
    said = client.run("pins", tmp_path / "cache").stdout
    assert "x: 1 package, by ?]52;c;eA==?" in said and all(line.isprintable() for line in said.split("\n"))


def test_an_entry_whose_version_python_makes_no_number_of_is_no_plain_one():
    plain = node("x")
    assert is_plain_node(plain["hash"], plain)
    assert not is_plain_node(plain["hash"], {**plain, "version": "1." + "9" * 5000})


@pytest.mark.slow
def test_a_package_with_a_file_of_zeros_larger_than_a_bomb_may_be_is_installed_with_holes(client, store, tmp_path):
    built = build_store(tmp_path / ("long-" * 20) / "store", "oci-leaf@2.0")
    (prefix,) = built.glob("*/oci-leaf-2.0-*")
    size = 1200 << 20
    with open(prefix / "share" / "sized-for-later", "wb") as file:
        file.truncate(size)
    client.run("push", "--update-index", built, tmp_path / "cache", "oci-leaf@2.0")
    client.run("install", tmp_path / "cache", "oci-leaf@2.0", "--store", store)
    (found,) = store.glob("*/oci-leaf-2.0-*/share/sized-for-later")
    assert os.stat(found).st_size == size and os.stat(found).st_blocks * 512 < 1 << 20
