# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images in files: where they go, what is in them."""

import gzip
import json
import os
import tarfile

import pytest
from spack_oci import descriptor as d
from spack_oci.errors import ConfigurationError, ImageError, InvalidReference
from spack_oci.layout import open_layout
from spack_oci.operations.images import image_files
from spack_oci.operations.images.environment_image import (
    plan_image,
    push_environment_image,
)
from spack_oci.reference import LayoutDirectory
from support.images.environment_images import prepare, pushed, request


@pytest.mark.parametrize(
    "text, expected",
    [
        ("/tmp/x", ("oci", "/tmp/x", None)),
        ("/tmp/x:v1", ("oci", "/tmp/x", "v1")),
        ("oci+file:///tmp/x:v1", ("oci", "/tmp/x", "v1")),
        ("/tmp/x.tar", ("oci-archive", "/tmp/x.tar", None)),
        ("oci-archive:/tmp/x:v1", ("oci-archive", "/tmp/x", "v1")),
        ("docker-archive:/tmp/x.tar:app", ("docker-archive", "/tmp/x.tar", "app")),
    ],
)
def test_destinations(text, expected):
    found = image_files.parse_destination(text)
    assert (found.format, found.path, found.tag) == expected


@pytest.mark.parametrize(
    "text", ["oci://ghcr.io/me/app:v1", "docker://ghcr.io/me/app", "oci+http://host/app", "tag:app"]
)
def test_what_names_a_registry_is_not_taken_for_a_path(text):
    with pytest.raises(InvalidReference, match="spack oci push --tag"):
        image_files.parse_destination(text)


def test_wrong_destinations():
    with pytest.raises(InvalidReference):
        image_files.parse_destination("oci:")
    with pytest.raises(InvalidReference):
        image_files.parse_destination("oci:/tmp/x", "docker-archive")
    with pytest.raises(ConfigurationError):
        image_files.parse_destination("/tmp/x", "squashfs")


def test_a_layout_and_its_archive(tmp_path):
    layout = tmp_path / "layout"
    store, packages, result = prepare(tmp_path, open_layout(LayoutDirectory(str(layout)), create=True))
    push_environment_image(store, plan_image(store, request(packages, "git"), result.layers), "latest")
    archive = str(tmp_path / "sub" / "image.tar")
    image_files.write_layout_archive(str(layout), archive)
    with open(archive, "rb") as f:
        first = f.read()
    with tarfile.open(archive) as tar:
        names = [member.name for member in tar if member.isfile()]
        tar.extractall(tmp_path / "again")
    assert names[0] == "oci-layout" and not [name for name in names if ".spack-oci" in name]
    pushed(open_layout(LayoutDirectory(str(tmp_path / "again"))))
    image_files.write_layout_archive(str(layout), archive)
    with open(archive, "rb") as f:
        assert f.read() == first
    assert os.listdir(tmp_path / "sub") == ["image.tar"]


def test_a_docker_archive(tmp_path):
    store, packages, result = prepare(tmp_path)
    push_environment_image(store, plan_image(store, request(packages, "git"), result.layers), "latest")
    path = str(tmp_path / "image.tar")
    image_files.write_docker_archive(store, "latest", ["my/env:v1"], path)
    with tarfile.open(path) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(entry["Config"]))
        layers = [archive.extractfile(name).read() for name in entry["Layers"]]
    assert entry["RepoTags"] == ["my/env:v1"]
    assert [d.sha256_digest(gzip.decompress(layer)) for layer in layers] == config["rootfs"]["diff_ids"]
    store.put_manifest(
        d.canonical_json({"schemaVersion": 2, "mediaType": d.OCI_INDEX, "manifests": []}), d.OCI_INDEX, "many"
    )
    with pytest.raises(ImageError, match="image index"):
        image_files.write_docker_archive(store, "many", [], path)
