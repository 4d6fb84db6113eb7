# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What `--json` prints is as `config_schema/commands` says, with a version; messages go to standard error."""

import json

import jsonschema
import pytest
from spack_oci.util.resources import read_schema

pytestmark = pytest.mark.one_spack


@pytest.fixture
def spack(source, new_cache):
    instance = source()
    instance.use(new_cache("layout"))
    return instance


def document(spack, schema, *words):
    found = json.loads(spack.run("oci", *words, "--json").stdout)
    jsonschema.Draft202012Validator(read_schema(f"commands/{schema}")).validate(found)
    return found


def test_documents_of_a_mirror(spack, tmp_path):
    planned = document(spack, "push-plan", "push", "--dry-run", "--tag", "tools", "cache", "oci-app")
    assert planned["pack"] == 4 and planned["images"][0]["packages"]
    pushed = document(spack, "push", "push", "--update-index", "--tag", "tools", "cache", "oci-app")
    assert pushed["pushed"] == 4 and pushed["index"]["added"] == 4 and pushed["images"]
    assert document(spack, "push", "push", "cache", "oci-app")["skipped"] == 4
    listed = document(spack, "list", "list", "cache")
    mirrors = {pushed["mirror"], *listed["mirrors"], *(p["mirror"] for p in listed["packages"])}
    assert len(mirrors) == 1 and len(listed["packages"]) == 4
    assert document(spack, "images", "list", "--images", "cache")["images"][0]["tag"] == "tools"
    assert document(spack, "show", "show", "cache", "oci-leaf")["mirror"] in mirrors
    assert document(spack, "show-image", "show", "cache", "tools")["mirror"] in mirrors
    assert document(spack, "update-index", "update-index", "cache")["mirror"] in mirrors
    made = document(spack, "catalog", "catalog", "cache", str(tmp_path / "page"))
    assert (made["packages"], made["images"], made["mirror"] in mirrors) == (4, 1, True)
    assert "oci-leaf" in (next((tmp_path / "page").glob("*/rows-0.js"))).read_text()
    document(spack, "doctor", "doctor", "cache")
    exported = document(spack, "export", "export", str(tmp_path / "image"), "oci-leaf@2.0")
    assert exported["image"] == f"oci:{tmp_path / 'image'}:latest"
    said = spack.run("oci", "export", f"docker-archive:{tmp_path / 'image.tar'}:v1", "oci-leaf@2.0").stdout
    assert "Packed oci-leaf@2.0" in said and "Pushed" not in said and "makes the image oci-leaf:v1" in said
    document(spack, "clean", "clean")


def test_documents_of_installs(spack, destination):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    consumer = destination()
    consumer.write_config("mirrors", json.loads((spack.scope / "mirrors.yaml").read_text())["mirrors"])
    words = ("--reuse", "oci-app")
    planned = document(consumer, "install-plan", "install", "--dry-run", *words)
    assert {p["name"] for p in planned["install"]} == {"oci-app", "oci-middle", "oci-leaf"}
    document(consumer, "install", "fetch", *words)
    done = document(consumer, "install", "install", *words)
    assert {p["status"] for p in done["packages"]} == {"installed"} and all(p["mirror"] for p in done["packages"])


def test_documents_of_the_life_of_a_cache(spack, tmp_path):
    spack.run("oci", "push", "--update-index", "cache", "oci-app")
    copied = ("copy", "cache", f"{tmp_path}/bundle.tar", "oci-app")
    assert document(spack, "copy-plan", *copied, "--dry-run")["packages"] and not list(tmp_path.glob("*bundle*"))
    assert document(spack, "copy", *copied)["index"]["added"] == 3
    planned = document(spack, "copy-plan", "copy", f"{tmp_path}/bundle.tar", f"{tmp_path}/directory/", "--dry-run")
    assert planned["source"] == f"oci+file://{tmp_path}/bundle.tar"
    # there and back: a bundle is read as any other cache
    assert document(spack, "copy-plan", *copied, "--dry-run")["packages"] == []
    assert document(spack, "copy", "copy", f"{tmp_path}/bundle.tar", f"{tmp_path}/directory/")["index"]["added"] == 3
    assert document(spack, "verify", "verify", f"{tmp_path}/directory/")["total"] == 3
    assert document(spack, "repair", "repair", "cache")["remaining"] == []
    assert document(spack, "du", "du", "cache")["packages"]["builds"] == 4
    spack.run("oci", "pin", "cache", "release", "oci-app")
    assert document(spack, "pins", "pins", "cache")["pins"][0]["name"] == "release"
    assert document(spack, "prune-plan", "prune", "--dry-run", "cache")["doomed"]
    assert document(spack, "prune", "prune", "cache")["condemned"]
