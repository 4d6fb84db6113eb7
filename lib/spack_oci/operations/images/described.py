# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a repository has of images besides packages: their tags, and what one of them holds and runs."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ...content import ContentReader, read_blob
from ...content.interfaces import TagLister
from ...descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, parse_json
from ...index.condemned import PLAN_TAG
from ...index.publish import DATABASE_TAG, DOCUMENT_TAG
from ...index.signature_table import SIGNED_PREFIX
from ...index.snapshots import SNAPSHOT_PREFIX
from ...package.documents import labelled_layers
from ...package.record import Layer, is_package_tag
from ...util.schemas import validate
from ...util.sizes import format_size
from ...util.text import counted, table
from ..lifecycle.contents import PIN_PREFIX

#: tags that stand for what refers to a manifest: signatures, attestations, and the fallback of the referrers API
_REFERRER = re.compile(r"sha(?:256|512)-[0-9a-f]+")
#: of other tags of ours
_OURS = (PIN_PREFIX, SIGNED_PREFIX, SNAPSHOT_PREFIX)
_LABEL = re.compile(r"[\w.-]+@\S+/[a-z0-9]{7}\Z")


@dataclass(frozen=True)
class PlatformImage:
    """An image for one platform."""

    #: ``linux/amd64``, ``linux/amd64/v3``
    platform: str
    manifest: Descriptor
    config: Descriptor
    #: base image's first; ``label``: what the history says of the layer
    layers: Tuple[Layer, ...]
    #: as in the image specification's ``config``: Env, Entrypoint, Cmd, User, WorkingDir, Labels...
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that a client pulls which has nothing of it."""
        return self.config.size + sum(layer.descriptor.size for layer in self.layers)

    @property
    def packages(self) -> List[str]:
        """Labels ``name@version/hash`` of the packages in its layers."""
        words = [word for layer in self.layers for word in layer.label.split(", ")]
        return [word for word in words if _LABEL.match(word)]

    def to_dict(self) -> Dict[str, Any]:
        return {
            "platform": self.platform,
            "manifest": self.manifest.to_dict(),
            "config": self.config.to_dict(),
            "size": self.size,
            "packages": self.packages,
            "layers": [{**layer.descriptor.to_dict(), "label": layer.label} for layer in self.layers],
            "settings": dict(self.settings),
        }


def image_tags(store: TagLister) -> Iterator[str]:
    """The tags that are neither packages nor of documents of ours, nor what belongs to another manifest."""
    for tag in store.tags():
        if tag in (DATABASE_TAG, DOCUMENT_TAG, PLAN_TAG) or tag.startswith(_OURS):
            continue
        if not is_package_tag(tag) and not _REFERRER.match(tag):
            yield tag


def describe_image(store: ContentReader, tag: str) -> List[PlatformImage]:
    """The image behind a tag, for each platform that it has. Raises NotFound, InvalidContent."""
    descriptor, data = store.get_manifest(tag)
    label = f"the manifest of {tag}"
    document = parse_json(data, label)
    if descriptor.media_type not in INDEX_TYPES:
        return [_platform_image(store, descriptor, document)]
    found, seen = [], set()
    for entry in validate(document, "image-index", label)["manifests"]:
        member = Descriptor.from_dict(entry)
        if member.digest in seen:  # four MiB have room for 15,000 times the same
            continue
        seen.add(member.digest)
        if member.media_type in MANIFEST_TYPES and (entry.get("platform") or {}).get("os") != "unknown":
            described, member_data = store.get_manifest(member.digest)
            found.append(_platform_image(store, described, parse_json(member_data, f"an image of {tag}")))
    return found


def _platform_image(store: ContentReader, descriptor: Descriptor, manifest: Mapping[str, Any]) -> PlatformImage:
    label = f"{descriptor.digest} in {store.url}"
    validate(manifest, "manifest", f"the manifest {label}")
    config_descriptor = Descriptor.from_dict(manifest["config"])
    layers = [Descriptor.from_dict(layer) for layer in manifest["layers"]]
    config = parse_json(read_blob(store, config_descriptor), f"the config of {label}")
    validate(config, "image-config", f"the config of {label}")
    parts = [config.get("os") or "unknown", config.get("architecture") or "unknown", config.get("variant") or ""]
    return PlatformImage(
        platform="/".join(part for part in parts if part),
        manifest=descriptor,
        config=config_descriptor,
        layers=tuple(labelled_layers(layers, config)),
        settings=config.get("config") or {},
    )


def lines_of_image(image: PlatformImage) -> List[str]:
    """For people."""
    settings = image.settings
    rows = [
        ("manifest", image.manifest.digest),
        ("size", f"{format_size(image.size)} in {counted(len(image.layers), 'layer')}"),
        ("entrypoint", _words(settings.get("Entrypoint"))),
        ("cmd", _words(settings.get("Cmd"))),
        ("user", settings.get("User") or ""),
        ("workdir", settings.get("WorkingDir") or ""),
        *(("env", value) for value in settings.get("Env") or ()),
        *(("package", label) for label in image.packages),
    ]
    lines = [f"  {line}" for line in table([row for row in rows if row[1]])]
    layers = [
        (str(number), format_size(layer.descriptor.size), layer.descriptor.digest, layer.label)
        for number, layer in enumerate(image.layers, 1)
    ]
    return [image.platform, *lines, "  layers", *(f"    {line}" for line in table(layers))]


def _words(value: Any) -> str:
    return json.dumps(value) if value else ""
