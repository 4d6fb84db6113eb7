# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The lock file of an environment in its image, whatever a registry holds there."""

import io
import json
import tarfile

import pytest
from spack_oci.cli import images
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from spack_oci.errors import CorruptArchive, InvalidContent
from support.memory_store import MemoryStore


def image_with(store, layer, tag="tools"):
    config, blob = (put_bytes(store, data, kind).to_dict() for data, kind in ((b"{}", "x/config"), (layer, OCI_LAYER)))
    store.put_manifest(json.dumps({"config": config, "layers": [blob]}).encode(), OCI_MANIFEST, tag)


@pytest.fixture()
def store(monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(images, "open_cache", lambda cache: store)
    return store


@pytest.mark.parametrize(
    "kind, document, said",
    [
        (OCI_MANIFEST, {"config": {}, "layers": [5]}, "the manifest of tools is not "),
        (OCI_MANIFEST, [], "the manifest of tools is not "),
        (OCI_INDEX, {"manifests": None}, "the index of tools is not "),
        (OCI_INDEX, {"manifests": [{"platform": {}}]}, "the index of tools is not "),
    ],
)
def test_documents_that_are_none_are_named(store, kind, document, said):
    data = json.dumps(document).encode()
    store.get_manifest = lambda tag: (images.Descriptor.of(data, kind), data)
    with pytest.raises(InvalidContent, match=said):
        images.lock_of_image("cache", "tools")


def test_a_layer_that_is_no_archive_is_named(store):
    image_with(store, b"no archive" * 100)
    with pytest.raises(CorruptArchive, match="layer sha256.*cannot be read.*push the image anew"):
        images.lock_of_image("cache", "tools")


def test_a_lock_file_is_read_up_to_a_limit(store, monkeypatch):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(images.LOCK_FILE.lstrip("/"))
        member.size = 5000
        tar.addfile(member, io.BytesIO(b"{" * 5000))
    image_with(store, out.getvalue())
    monkeypatch.setattr("spack_oci.image.base.tarball.MAX_MEMBER_SIZE", 4999)
    with pytest.raises(InvalidContent, match="spack.lock of tools"):
        images.lock_of_image("cache", "tools")
