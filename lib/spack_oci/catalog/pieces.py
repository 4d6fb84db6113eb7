# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The data of a page, in pieces that a browser loads when it needs them, also from a directory (``file://``).

A browser does not let a page that was opened from a directory fetch files, but it does load scripts. So each piece is a
script of one call, ``spackOciCatalog.receive("NAME", "JSON")``. Its two arguments are strings: what a spec holds is
never JavaScript, not even a key of an object (``__proto__``); the page parses it as JSON.

``summary``
    an object: see :func:`summary_piece`
``rows-N``
    :data:`ROWS` nodes each, for the search: columns, with what repeats as a number in a list
``builds-N``
    :data:`BUILDS` nodes each: what is shown of one
``images-0``
    the images besides packages
"""

import json
import shlex
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ..operations.images.described import PlatformImage
from ..package.record import Layer
from ..reference import image_name
from .contents import Build, Contents, Image

FORMAT = 1
ROWS = 2000
BUILDS = 100
#: of the packages that depend on one directly, those that are named; of all, the number
MOST_DEPENDENTS = 300
#: characters of a foreign text that no page needs in full, such as an image's environment
MOST_TEXT = 4000

CACHED, SIGNED, SBOM, EXTERNAL = 1, 2, 4, 8


class Numbers:
    """Values in the order in which they came, each once."""

    def __init__(self) -> None:
        self.values: List[Any] = []
        self._numbers: Dict[Any, int] = {}

    def of(self, value: Any) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class Heading(NamedTuple):
    """What the page is called, and how its commands name the cache."""

    title: str
    #: mirror URL for those who read the page
    url: str


def script(name: str, data: Any) -> bytes:
    """A piece as a script: ASCII, whatever the data holds."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    # < and & mean something to a parser of HTML, should a piece ever stand in one
    text = text.replace("<", "\\u003c").replace("&", "\\u0026").replace("\\", "\\\\").replace("'", "\\'")
    return f"spackOciCatalog.receive('{name}','{text}');\n".encode("ascii")


def pieces(contents: Contents, heading: Heading) -> Iterator[Tuple[str, bytes]]:
    """(name, script) of every piece; the summary, which names what is common to the rows, is the last."""
    compilers, arches, licenses = Numbers(), Numbers(), Numbers()
    for number, start in enumerate(range(0, len(contents.builds), ROWS)):
        rows = contents.builds[start : start + ROWS]
        used = [compilers.of(compiler) for compiler in contents.compilers[start : start + ROWS]]
        yield f"rows-{number}", script(f"rows-{number}", _rows(start, rows, used, arches, licenses))
    closures = contents.closures()
    for number, start in enumerate(range(0, len(contents.builds), BUILDS)):
        places = range(start, min(start + BUILDS, len(contents.builds)))
        details = [_details(place, contents, closure) for place, closure in zip(places, closures)]
        yield f"builds-{number}", script(f"builds-{number}", details)
    yield "images-0", script("images-0", _images(contents))
    common = {"compilers": compilers.values, "arches": arches.values, "licenses": licenses.values}
    yield "summary", script("summary", {**summary_piece(contents, heading), **common})


def summary_piece(contents: Contents, heading: Heading) -> Dict[str, Any]:
    """Numbers, and what commands begin with. A layer that several packages have counts once in ``bytes``."""
    cached = [build for build in contents.builds if build.is_cached]
    layers = {build.stored.layer: build.stored.size for build in cached if build.stored is not None}
    others = {
        layer.descriptor.digest: layer.descriptor.size
        for image in contents.images
        for platform in image.platforms
        for layer in platform.layers
        if layer.descriptor.digest not in layers
    }
    return {
        "format": FORMAT,
        "title": heading.title,
        "url": heading.url,
        "quotedUrl": shlex.quote(heading.url),
        # a tag needs no quotes
        "imagePrefix": shlex.quote(image_name(heading.url, "")),
        "index": contents.index,
        "nodes": len(contents.builds),
        "rows": ROWS,
        "builds": BUILDS,
        "packages": len(cached),
        "names": len({build.name for build in cached}),
        "bytes": sum(layers.values()),
        "imageBytes": sum(others.values()),
        "signed": sum(build.is_signed for build in cached),
        "sboms": sum(bool(build.sbom) for build in cached),
        "images": len(contents.images),
    }


def _rows(start: int, builds: Sequence[Build], compilers: List[int], arches: Numbers, licenses: Numbers) -> Any:
    names, versions, tokens, sets = Numbers(), Numbers(), Numbers(), Numbers()
    return {
        "start": start,
        "name": [names.of(b.name) for b in builds],
        "version": [versions.of(b.version) for b in builds],
        "variants": [sets.of(tuple(map(tokens.of, b.tokens))) for b in builds],
        "compiler": compilers,
        "arch": [arches.of(b.arch) for b in builds],
        "license": [licenses.of(b.license) for b in builds],
        "hash": "".join(b.hash for b in builds),
        "size": [-1 if b.size is None else b.size for b in builds],
        "flags": [_flags(b) for b in builds],
        "names": names.values,
        "versions": versions.values,
        "tokens": tokens.values,
        "sets": sets.values,
    }


def _flags(build: Build) -> int:
    return (
        CACHED * build.is_cached | SIGNED * build.is_signed | SBOM * bool(build.sbom) | EXTERNAL * bool(build.external)
    )


def _details(place: int, contents: Contents, closure: Tuple[int, int]) -> Mapping[str, Any]:
    """Members that are empty are left out."""
    build, places, dependents = contents.builds[place], contents.places, contents.dependents[place]
    stored = build.stored
    found: Dict[str, Any] = {
        "namespace": build.namespace,
        "tag": build.tag if build.is_cached else "",
        "external": build.external,
        "splicedFrom": build.spliced_from,
        "needs": [[places[e.to], e.types, ",".join(e.virtuals)] for e in build.edges if e.to in places],
        "dependents": dependents[:MOST_DEPENDENTS],
        "dependentsCount": len(dependents),
        "closure": closure if build.is_cached else [],
        "keys": list(build.keys),
        "sbom": build.sbom,
    }
    if stored is not None:
        found.update(
            manifest=stored.manifest,
            layer=stored.layer,
            layerType=stored.layer_type,
            unpacked=stored.unpacked_size,
            prefixLength=stored.prefix_length,
            pusher=_short(stored.pusher),
        )
    return {name: value for name, value in found.items() if value}


def _images(contents: Contents) -> Any:
    layers = {b.stored.layer: place for place, b in enumerate(contents.builds) if b.stored is not None}
    return [_image(image, layers) for image in contents.images]


def _image(image: Image, places: Mapping[str, int]) -> Mapping[str, Any]:
    return {
        "tag": image.tag,
        "failure": _short(image.failure),
        "platforms": [_platform(platform, places) for platform in image.platforms],
    }


def _platform(platform: PlatformImage, places: Mapping[str, int]) -> Mapping[str, Any]:
    settings = platform.settings
    return {
        "platform": platform.platform,
        "manifest": platform.manifest.digest,
        "size": platform.size,
        "layers": [_layer(layer, places) for layer in platform.layers],
        "packages": platform.packages,
        "runs": [
            [name, _short(text)]
            for name, key in (("Entrypoint", "Entrypoint"), ("Command", "Cmd"), ("User", "User"))
            for text in [_words(settings.get(key))]
            if text
        ],
    }


def _layer(layer: Layer, places: Mapping[str, int]) -> Any:
    return [
        layer.descriptor.digest,
        layer.descriptor.size,
        _short(layer.label),
        places.get(layer.descriptor.digest, -1),
    ]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return "" if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "\u2026"
