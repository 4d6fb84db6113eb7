# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Images of a cache: the lock file that an environment's image holds."""

import os
from typing import Any, Callable, List, Mapping, Optional

from ..archive.tar_reader import FILE, TarMember
from ..descriptor import MANIFEST_TYPES, Descriptor, parse_json
from ..errors import NotFound
from ..image.base.tarball import visit_members
from ..image.contents import LOCK_FILE
from ..util.schemas import validate
from .caches import open_cache

_MAX_CONFIG = 64 << 20


def lock_of_image(cache: str, tag: str) -> Mapping[str, Any]:
    """The ``spack.lock`` in the image behind a tag. Raises NotFound when it has none."""
    store = open_cache(cache)
    descriptor, data = store.get_manifest(tag)
    label = f"the manifest of {tag}"
    if descriptor.media_type not in MANIFEST_TYPES:
        data = _of_this_machine(store, parse_json(data, label), tag)
    layers = [Descriptor.from_dict(layer) for layer in validate(parse_json(data, label), "manifest", label)["layers"]]
    # the one with the lock file is small, and among the last
    for layer in sorted(layers, key=lambda layer: layer.size):
        if layer.size > _MAX_CONFIG:
            break
        found = _member(store, layer)
        if found is not None:
            return parse_json(found, f"{LOCK_FILE} of {tag}")
    raise NotFound(
        f"the image {tag} of {store.url} has no {LOCK_FILE}",
        remedy="only images of environments have one: `spack -e ENVIRONMENT oci push --tag NAME`",
    )


def _of_this_machine(store: Any, index: Any, tag: str) -> bytes:
    from ..content.platform import go_architecture
    from ..specs.targets import family
    from ..store.machine import this_machine

    wanted = go_architecture(family(this_machine().target))
    for entry in validate(index, "image-index", f"the index of {tag}")["manifests"]:
        descriptor = Descriptor.from_dict(entry)
        if (descriptor.platform or {}).get("architecture") == wanted:
            return store.get_manifest(descriptor.digest)[1]
    raise NotFound(f"the image {tag} of {store.url} has no manifest for {wanted}")


def _member(store: Any, layer: Descriptor) -> Optional[bytes]:
    found: List[bytes] = []

    def visit(member: TarMember, content: Callable[[], bytes]) -> bool:
        if "/" + os.fsdecode(member.name).lstrip("./") == LOCK_FILE and member.kind == FILE:
            found.append(content())
        return bool(found)

    visit_members(store, layer, visit, remedy="push the image anew")
    return found[0] if found else None
