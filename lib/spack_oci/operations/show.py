# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""All that a cache has of one package, or of one image, as a document and as lines."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Sequence

from ..content import ContentStore
from ..errors import NotFound
from ..package.record import is_package_tag
from ..reference import image_name
from ..trust.keys import PublicKey
from ..trust.policy import Policy
from ..util.text import visible
from . import catalog
from .images.described import describe_image, lines_of_image
from .trust.sbom import read_sbom


@dataclass(frozen=True)
class Shown:
    """``document``: for ``--json``; ``lines``: for people."""

    document: Dict[str, Any]
    lines: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", [visible(line) for line in self.lines])


def show(store: ContentStore, word: str, tag_of: Callable[[str], str]) -> Shown:
    """``word``: a tag, or a spec, whose package's tag ``tag_of`` says."""
    if not is_package_tag(word) and _is_tag(store, word):
        return _image(store, word)
    tag = word if is_package_tag(word) else tag_of(word)
    found = catalog.describe(store, tag)
    document = {**found.to_dict(), "image": image_name(store.url, tag)}
    return Shown(document, catalog.lines_of(found))


def sbom(
    store: ContentStore,
    word: str,
    tag_of: Callable[[str], str],
    policy: Policy,
    keys: Sequence[PublicKey],
    warn: Callable[[str], None],
) -> bytes:
    """The SBOM that is attached to a package or image (see :func:`show` and :func:`.read_sbom`)."""
    tag = word if is_package_tag(word) or _is_tag(store, word) else tag_of(word)
    return read_sbom(store, store.resolve(tag).digest, image_name(store.url, tag), policy, keys, warn)


def _is_tag(store: ContentStore, word: str) -> bool:
    if any(c in word for c in "@+~^%/ ="):  # a spec, which is no tag
        return False
    try:
        store.resolve(word)
    except NotFound:
        return False
    return True


def _image(store: ContentStore, tag: str) -> Shown:
    name, found = image_name(store.url, tag), describe_image(store, tag)
    document = {"mirror": store.url, "tag": tag, "image": name, "platforms": [one.to_dict() for one in found]}
    return Shown(document, [name, *(line for one in found for line in lines_of_image(one))])
