# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""An environment of five small packages, pushed to a store in memory, and what is in an image of it."""

import io
import json
import tarfile

from spack_oci import descriptor as d
from spack_oci.archive.codec import open_decompressor
from spack_oci.operations.images.environment_image import (
    ImageRequest,
)
from support.images import image_spec
from support.memory_store import MemoryStore
from support.packages.image_packages import make_packages, push_all, together

GRAPH = {"zlib": [], "ssl": ["zlib"], "curl": ["ssl", "zlib"], "git": ["curl", "zlib"], "htop": []}


def prepare(tmp_path, store=None, graph=GRAPH, compression="gzip", **kwargs):
    store = store or MemoryStore()
    packages = make_packages(str(tmp_path / "store"), graph, **kwargs)
    result = push_all(store, packages, str(tmp_path / "stage"), compression)
    return store, packages, result


def request(packages, *roots: str, **kwargs) -> ImageRequest:
    chosen = [packages[name] for name in roots]
    values = {"roots": chosen, "environment": together(chosen), "title": "my-env", **kwargs}
    return ImageRequest(**values)


def pushed(store, tag="latest"):
    descriptor, data = store.get_manifest(tag)
    manifest = json.loads(data)
    with store.open_blob(d.Descriptor.from_dict(manifest["config"])) as reader:
        config = json.loads(reader.read())
    image_spec.check_config(config)
    image_spec.check_history(config)
    image_spec.check_one_vocabulary(manifest)
    if descriptor.media_type == d.OCI_MANIFEST:
        image_spec.check_manifest(manifest)
    # what an engine checks
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
        with store.open_blob(d.Descriptor.from_dict(layer)) as blob:
            assert d.sha256_digest(open_decompressor(layer["mediaType"], blob).read()) == diff_id
    return manifest, config


def file_system(store, manifest):
    """path -> content (None: not a file), as an engine would stack the layers."""
    tree = {}
    for layer in manifest["layers"]:
        with store.open_blob(d.Descriptor.from_dict(layer)) as blob:
            data = open_decompressor(layer["mediaType"], blob).read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                tree["/" + member.name] = file.read() if file else member.linkname or None
    return tree
