# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images of a cache: the lock file that an environment's image holds."""

import tarfile
from typing import Any, BinaryIO, Mapping, cast

from ..archive.codec import open_decompressor
from ..descriptor import MANIFEST_TYPES, Descriptor, parse_json
from ..errors import InvalidContent, NotFound
from ..image.contents import LOCK_FILE
from .caches import open_cache

_MAX_CONFIG = 64 << 20


def lock_of_image(cache: str, tag: str) -> Mapping[str, Any]:
    """The ``spack.lock`` in the image behind a tag. Raises NotFound when it has none."""
    store = open_cache(cache)
    descriptor, data = store.get_manifest(tag)
    manifest = parse_json(data, f"the manifest of {tag}")
    if descriptor.media_type not in MANIFEST_TYPES:
        descriptor, manifest = _of_this_machine(store, manifest, tag)
    layers = [Descriptor.from_dict(layer) for layer in manifest.get("layers", ())]
    # the one with the lock file is small, and among the last
    for layer in sorted(layers, key=lambda layer: layer.size):
        if layer.size > _MAX_CONFIG:
            break
        with store.open_blob(layer) as reader:
            found = _member(cast(BinaryIO, reader), layer.media_type)
        if found is not None:
            return parse_json(found, f"{LOCK_FILE} of {tag}")
    raise NotFound(
        f"the image {tag} of {store.url} has no {LOCK_FILE}",
        remedy="only images of environments have one: `spack -e ENVIRONMENT oci push --tag NAME`",
    )


def _of_this_machine(store: Any, index: Mapping[str, Any], tag: str) -> Any:
    from ..content.platform import go_architecture
    from ..specs.targets import family
    from ..store.machine import this_machine

    wanted = go_architecture(family(this_machine().target))
    for entry in index.get("manifests", ()):
        if (entry.get("platform") or {}).get("architecture") == wanted:
            descriptor, data = store.get_manifest(entry["digest"])
            return descriptor, parse_json(data, f"the manifest of {tag}")
    raise NotFound(f"the image {tag} of {store.url} has no manifest for {wanted}")


def _member(reader: BinaryIO, media_type: str) -> Any:
    try:
        with open_decompressor(media_type, reader) as stream, tarfile.open(fileobj=cast(Any, stream), mode="r|") as tar:
            for member in tar:
                if "/" + member.name.lstrip("./") == LOCK_FILE and member.isfile():
                    file = tar.extractfile(member)
                    return file.read() if file is not None else None
    except tarfile.TarError as e:
        raise InvalidContent(f"a layer is no tar archive: {e}") from e
    return None
