# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One tag for several platforms: an image index that grows with each architecture that is pushed.

Registries have no conditional PUT, so two pushers that read the same index and write one after the other would lose
what the first has added. Therefore every pusher first gives its image a tag of its own, ``TAG-OS-ARCHITECTURE
[-VARIANT]``, and the index is always the sum of these tags and of what the index holds already:

    put the image under its own tag
    repeat:  list the tags of all platforms, read the index; write the index with all of them
    until    the tags, listed again after the write, and the index, read again, agree

*Why nothing is lost.* Take the pusher that writes the index last of all. Every other one has written before, and has
put its own tag before that. The last one lists the tags again after its write, so it sees them all; if its index lacks
one, it writes again, against the assumption that its write was the last. A pusher that dies between its tag and the
index is added by whoever pushes next.

Engines ask for ``linux/amd64`` without a variant, and do not take ``linux/amd64/v3`` for it, whatever the processor is
(podman 4.3, Docker 20.10). So an index of such images has the least demanding of them a second time, without variant,
until somebody pushes one that is for every machine.
"""

import random
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..content import RepositoryWriter, read_blob
from ..content.platform import Platform, variants_of
from ..descriptor import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    Descriptor,
    canonical_json,
    parse_json,
)
from ..errors import ImageError, IndexUpdateError, InvalidReference, NotFound
from ..reference import check_tag
from ..util.schemas import validate

_ATTEMPTS = 12
#: seconds; doubled with every attempt and drawn at random below that
_FIRST_PAUSE = 0.2

Entries = Dict[Platform, Descriptor]


def platform_tag(tag: str, platform: Platform) -> str:
    """``app`` and linux/arm64/v8 -> ``app-linux-arm64-v8``. Raises InvalidReference if that is too long."""
    return check_tag("-".join((tag, *str(platform).split("/"))))


def merge_entries(entries: Mapping[Platform, Descriptor]) -> bytes:
    """The index of ``entries``, sorted by platform: Docker's type if every image has Docker's, else OCI's."""
    docker = all(descriptor.media_type == DOCKER_MANIFEST for descriptor in entries.values())
    document: Dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_INDEX if docker else OCI_INDEX,
        "manifests": [
            {**d.bare.to_dict(), "platform": dict(platform.to_document())}
            for platform, d in sorted(_with_defaults(entries).items(), key=lambda item: str(item[0]))
        ],
    }
    return canonical_json(document)


def push_platform(
    store: RepositoryWriter,
    tag: str,
    manifest: bytes,
    media_type: str,
    platform: Platform,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Descriptor:
    """Store ``manifest`` (its blobs are there) as the image of ``platform`` and merge it into the index ``tag``.

    What ``tag`` was before is kept: an index's other platforms, or a single image of another architecture. Returns the
    index. Raises :class:`IndexUpdateError` if other pushers are in the way for too long; the image has its tag then.
    """
    own_tag = platform_tag(tag, platform)
    store.put_manifest(manifest, media_type, own_tag)
    for attempt in range(_ATTEMPTS):
        wanted = {**_entries_of_tag(store, tag, platform), **_entries_of_platform_tags(store, tag)}
        data = merge_entries(wanted)
        written = store.put_manifest(data, parse_json(data, "index")["mediaType"], tag)
        if _agrees(store, tag, platform, wanted):
            return written
        pause(random.uniform(0, _FIRST_PAUSE * 2 ** min(attempt, 6)))
    raise IndexUpdateError(
        f"merging {platform} into {store.url}:{tag}: other pushers changed it {_ATTEMPTS} times meanwhile",
        remedy=f"the image itself is there as {own_tag}; push again with --multi-arch when the others are done",
    )


def _with_defaults(entries: Mapping[Platform, Descriptor]) -> Entries:
    """And for amd64 without variant, if there is none, the image of the lowest level."""
    result = dict(entries)
    for os in {platform.os for platform in entries}:
        levels = [Platform(os, "amd64", variant) for variant in variants_of("amd64")]
        there = [platform for platform in levels if platform in entries]
        if there and there[0] != levels[0]:
            result.setdefault(Platform(os, "amd64"), entries[there[0]])
    return result


def _without_defaults(entries: Mapping[Platform, Descriptor]) -> Entries:
    """What :func:`_with_defaults` was given: an image without variant that is another one's, too, is of that."""
    digests = {descriptor.digest for platform, descriptor in entries.items() if platform.variant}
    return {p: d for p, d in entries.items() if p.variant or p.architecture != "amd64" or d.digest not in digests}


def _agrees(store: RepositoryWriter, tag: str, platform: Platform, wanted: Entries) -> bool:
    """Whether the index and the platforms' tags, both read now, are what was written."""
    there = _entries_of_tag(store, tag, platform)
    return there == wanted and _entries_of_platform_tags(store, tag).items() <= wanted.items()


def _entries_of_platform_tags(store: RepositoryWriter, tag: str) -> Entries:
    entries: Entries = {}
    for name in store.tags():
        platform = _platform_in_tag(tag, name)
        if platform is None:
            continue
        try:
            descriptor = store.resolve(name)
        except NotFound:
            continue  # deleted since it was listed
        if descriptor.media_type in MANIFEST_TYPES:
            entries[platform] = descriptor.bare
    return entries


def _platform_in_tag(tag: str, name: str) -> Optional[Platform]:
    """``app-linux-arm64-v8`` is a platform of ``app``; ``app-server-2`` and ``app-linux`` are tags of somebody else."""
    if not name.startswith(tag + "-"):
        return None
    try:
        platform = Platform.parse(name[len(tag) + 1 :].replace("-", "/"))
    except InvalidReference:
        return None
    return platform if platform.is_known else None


def _entries_of_tag(store: RepositoryWriter, tag: str, mine: Platform) -> Entries:
    """``mine``: what is pushed; a single image of its architecture is what it replaces."""
    try:
        descriptor, data = store.get_manifest(tag)
    except NotFound:
        return {}
    label = f"{store.url}:{tag}"
    document = parse_json(data, label)
    if descriptor.media_type in INDEX_TYPES:
        return _without_defaults(dict(_entries_of_index(validate(document, "image-index", label), label)))
    platform = _platform_of_image(store, validate(document, "manifest", label))
    if platform is None or platform.pair == mine.pair:
        return {}
    return {platform: descriptor.bare}


def _entries_of_index(document: Mapping[str, Any], label: str) -> List[Tuple[Platform, Descriptor]]:
    found = []
    for entry in document["manifests"]:
        descriptor = Descriptor.from_dict(entry)
        platform = Platform.from_document(descriptor.platform or {})
        if platform is None:
            # a builder's attestation, for example: it belongs to an image by digest, which stays as it is
            raise ImageError(
                f"{label} is an index with an entry that is no platform's image ({descriptor.digest})",
                remedy="choose another tag: this one was made by another tool, and merging would lose a part of it",
            )
        found.append((platform, descriptor.bare))
    return found


def _platform_of_image(store: RepositoryWriter, manifest: Mapping[str, Any]) -> Optional[Platform]:
    config = Descriptor.from_dict(manifest["config"])
    return Platform.from_document(parse_json(read_blob(store, config), config.digest))
