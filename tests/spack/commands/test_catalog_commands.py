# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack oci list` and `spack oci show`."""

import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, canonical_json
from spack_oci.layout import open_layout
from spack_oci.reference import parse_url
from support.registries.docker_registry import free_port

pytestmark = pytest.mark.one_spack


@pytest.fixture(scope="module")
def filled(built, our_python, new_cache, tmp_path_factory):
    """A cache with two versions of one package and what the stack needs."""
    cache = new_cache("http")
    spack = built.sibling(tmp_path_factory.mktemp("pusher"), python=our_python)
    spack.use(cache)
    spack.run("oci", "push", "cache", "oci-app")
    spack.run("oci", "push", "--only", "package", "--update-index", "cache", "oci-leaf@1.0")
    return cache


@pytest.fixture
def spack(filled, destination):
    consumer = destination()
    consumer.use(filled)
    return consumer


def listed(spack, *arguments):
    return json.loads(spack.run("oci", "list", "--json", "cache", *arguments).stdout)["packages"]


def test_records_have_what_the_index_knows(spack, filled):
    (record,) = listed(spack, "oci-leaf@1.0")
    manifest = json.loads(filled.raw_manifest(record["tag"]))
    assert (record["name"], record["version"], record["mirror"]) == ("oci-leaf", "1.0", filled.url)
    assert (record["size"], record["layer"]) == (manifest["layers"][-1]["size"], manifest["layers"][-1]["digest"])
    assert record["prefix_length"] > 100  # it was built in a padded tree
    assert record["spec"].startswith("oci-leaf@=1.0")


def test_constraints_choose(spack):
    assert {r["version"] for r in listed(spack, "oci-leaf")} == {"1.0", "2.0"}
    assert [r["version"] for r in listed(spack, "oci-leaf@2:")] == ["2.0"]
    assert {r["name"] for r in listed(spack, "oci-app", "oci-leaf@1.0")} == {"oci-app", "oci-leaf"}
    by_hash = listed(spack, "/" + listed(spack, "oci-app")[0]["hash"][:7])
    assert [r["name"] for r in by_hash] == ["oci-app"]
    assert "oci-app" in {r["name"] for r in listed(spack, "^oci-leaf")}
    nothing = spack.run("oci", "list", "--json", "cache", "oci-app platform=darwin", check=False)
    assert nothing.returncode == 1 and json.loads(nothing.stdout)["packages"] == []
    assert "No package matches oci-app platform=darwin" in nothing.stderr


def test_shown_like_find(spack):
    plain = spack.run("oci", "list", "cache", "oci-leaf").stdout
    assert "oci-leaf@1.0" in plain and "oci-leaf@2.0" in plain
    first = listed(spack, "oci-leaf@1.0")[0]["hash"][:7]
    assert first in spack.run("oci", "list", "--long", "cache", "oci-leaf").stdout
    assert "build_system=" in spack.run("oci", "list", "--variants", "cache", "oci-leaf").stdout


def test_sizes(spack):
    lines = spack.run("oci", "list", "--sizes", "cache", "oci-leaf").stdout.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["oci-leaf@1.0", "oci-leaf@2.0"]
    assert "in 2 packages" in lines[2]


def test_unchanged_index_is_not_fetched_again(spack, http_registry):
    listed(spack)
    before = len(http_registry.requests())
    listed(spack)
    assert [r.split()[0] for r in http_registry.requests()[before:]] == ["HEAD"]


def test_mirror_that_is_down_is_named_and_the_others_are_listed(spack, filled):
    spack.mirrors(dead=f"oci+http://127.0.0.1:{free_port()}/nothing", cache=filled.mirror)
    done = spack.run("oci", "list")
    assert "oci-app" in done.stdout
    assert "leaving oci+http://127.0.0.1" in done.stderr
    assert spack.run("oci", "list", "dead", check=False).returncode != 0


def test_show(spack, filled):
    (record,) = listed(spack, "oci-app")
    found = json.loads(spack.run("oci", "show", "--json", "cache", "oci-app").stdout)
    assert found["tag"] == record["tag"]
    assert found["layer"] == record["layer"] == found["layers"][-1]["digest"]
    assert found["prefix_length"] == record["prefix_length"]
    text = spack.run("oci", "show", "cache", "/" + record["hash"]).stdout
    for expected in (record["tag"], record["layer"], record["digest"], "none found", "characters"):
        assert expected in text
    assert spack.run("oci", "show", "cache", record["tag"]).stdout == text


def test_show_needs_one_package(spack):
    done = spack.run("oci", "show", "cache", "oci-leaf", check=False)
    assert done.returncode != 0
    assert "oci-leaf@1.0" in done.stderr and "oci-leaf@2.0" in done.stderr
    done = spack.run("oci", "show", "cache", "oci-leaf@7", check=False)
    assert done.returncode != 0
    assert "has nothing that matches" in done.stderr


def test_tag_that_cannot_be_read_is_named(new_cache, source):
    """Without ``--strict`` it is a warning, with it the exit code says so; the index has the others either way."""
    cache = new_cache("layout")
    pusher = source()
    pusher.use(cache)
    pusher.run("oci", "push", "--only", "package", "cache", "oci-leaf@1.0")
    store = open_layout(parse_url(cache.url))
    descriptors = [put_bytes(store, b"{}", kind).to_dict() for kind in (OCI_CONFIG, OCI_LAYER_GZIP)]
    broken = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    store.put_manifest(canonical_json(broken), OCI_MANIFEST, "broken-1.0-abc.spack")
    for options, code in (((), 0), (("--strict",), 1)):
        done = pusher.run("oci", "update-index", *options, "cache", check=False)
        assert done.returncode == code
        assert "broken-1.0-abc.spack" in done.stderr
    found = json.loads(pusher.run("oci", "update-index", "--json", "cache").stdout)
    assert (found["total"], list(found["unreadable"])) == (1, ["broken-1.0-abc.spack"])
    assert [r["name"] for r in listed(pusher)] == ["oci-leaf"]
