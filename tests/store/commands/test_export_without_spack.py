# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""`spack-oci export`: images of what a cache has, composed of its layers."""

import json
import shutil
import tarfile

import pytest
from spack_oci.content import read_blob
from spack_oci.descriptor import Descriptor
from spack_oci.layout import open_layout
from spack_oci.reference import LayoutDirectory


@pytest.fixture
def own_cache(cache, tmp_path):
    return shutil.copytree(cache, tmp_path / "cache")


def image_of(directory, tag):
    """(manifest, config) behind a tag of a layout."""
    repository = open_layout(LayoutDirectory(str(directory)))
    manifest = json.loads(repository.get_manifest(tag)[1])
    return manifest, json.loads(read_blob(repository, Descriptor.from_dict(manifest["config"])))


def test_an_image_in_the_cache_is_made_of_the_layers_that_are_there(client, own_cache, built):
    layers = {r["name"]: r["layer"] for r in client.packages("--allarch", own_cache)}
    made = client.json("export", own_cache, "tag:tools", "oci-stack", "--entrypoint", "greet")
    manifest, config = image_of(own_cache, "tools")
    assert made["image"].endswith(":tools")
    there = [layer["digest"] for layer in manifest["layers"]]
    assert {layers["oci-app"], layers["oci-script"], layers["oci-stack"], layers["oci-middle"]} <= set(there)
    env = dict(entry.split("=", 1) for entry in config["config"]["Env"])
    assert any("oci-script-1.0" in part and part.endswith("/bin") for part in env["PATH"].split(":"))
    assert env["PATH"].endswith(":/bin:/usr/bin") and config["config"]["Entrypoint"] == ["greet"]
    assert config["config"]["Labels"]["org.opencontainers.image.title"] == "oci-stack"


def test_scripts_with_long_first_lines_find_sbang_in_the_image(client, own_cache, built):
    client.run("export", own_cache, "tag:tools", "oci-script")
    manifest, _ = image_of(own_cache, "tools")
    repository = open_layout(LayoutDirectory(str(own_cache)))
    names = set()
    for layer in manifest["layers"]:
        with repository.open_blob(Descriptor.from_dict(layer)) as blob, tarfile.open(fileobj=blob, mode="r|gz") as tar:
            names |= {"/" + member.name for member in tar}
    assert f"{built}/bin/sbang" in names


def test_archives_for_other_programs_hold_the_image_alone(client, cache, tmp_path):
    client.run("export", cache, tmp_path / "i.tar", "oci-app", "oci-leaf@2.0")
    client.run("export", cache, f"docker-archive:{tmp_path}/d.tar:v1", "oci-app")
    with tarfile.open(tmp_path / "i.tar") as tar:
        index = json.load(tar.extractfile("index.json"))
    assert [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]] == ["latest"]
    with tarfile.open(tmp_path / "d.tar") as tar:
        (image,) = json.load(tar.extractfile("manifest.json"))
    assert image["RepoTags"] == ["oci-app:v1"] and len(image["Layers"]) == 4


def test_a_base_image_is_below_the_packages_and_its_c_library_is_checked(client, own_cache, tmp_path):
    base = tmp_path / "base"
    client.run("export", own_cache, f"oci:{base}:1", "oci-leaf@1.0", "--env", "FROM_BASE=yes")
    client.run("export", own_cache, "tag:on-base", "oci-app", "--base-image", f"oci+file://{base}:1")
    manifest, config = image_of(own_cache, "on-base")
    below, _ = image_of(base, "1")
    assert [x["digest"] for x in manifest["layers"]][: len(below["layers"])] == [x["digest"] for x in below["layers"]]
    assert "FROM_BASE=yes" in config["config"]["Env"]


def test_an_image_whose_roots_are_not_there_is_refused(client, cache, tmp_path):
    done = client.run("export", cache, tmp_path / "i.tar", "nothing", check=False)
    assert done.returncode == 3 and not (tmp_path / "i.tar").exists()
