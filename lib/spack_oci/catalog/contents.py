# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a page shows of a cache: its nodes out of the index, its images out of their tags."""

import operator
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple

from ..content import BlobReader, ContentReader, ManifestReader
from ..content.interfaces import TagLister
from ..descriptor import parse_json
from ..errors import DigestMismatch, InvalidContent, InvalidSpec, NotAPackage, NotFound, SpackOciError
from ..index.entry import PackageEntry
from ..index.frames import decompress
from ..index.lines import parse_line, read_lines
from ..index.nodes import COMPILER_FLAGS, DEPENDENCY_TYPES
from ..index.publish import DOCUMENT_TAG, read_document_manifest, read_signatures, signature_table
from ..index.read import IndexDocument
from ..index.signature_table import SignatureTable
from ..operations.images.described import PlatformImage, describe_image, image_tags
from ..package.record import package_tag
from ..store.versions import Version
from ..util.threads import DaemonPool

#: virtual packages that a compiler provides
_LANGUAGES = ("c", "cxx", "fortran")


class ImagesStore(ContentReader, TagLister, Protocol):
    """What :func:`read_images` reads."""


class IndexStore(ManifestReader, BlobReader, Protocol):
    """What :func:`read_signers` reads."""


@dataclass(frozen=True)
class Edge:
    #: DAG hash
    to: str
    #: sum of :data:`~spack_oci.index.nodes.DEPENDENCY_TYPES`
    types: int
    virtuals: Tuple[str, ...]


@dataclass
class Build:
    """A node: a package of the cache, or (``entry`` is None and not ``is_cached``) what one depends on."""

    name: str
    version: str
    hash: str
    namespace: str
    #: platform, operating system, target
    arch: Tuple[str, str, str]
    #: variants and compiler flags as a spec has them: ``+mpi``, ``~shared``, ``build_system=cmake``, ``cflags=-O3``
    tokens: Tuple[str, ...]
    edges: Tuple[Edge, ...]
    is_cached: bool
    #: path or module of an external
    external: str = ""
    #: of a package that another package's build was spliced from
    spliced_from: str = ""
    entry: Optional[PackageEntry] = None
    #: NAME@VERSION of its compilers
    compiler: str = ""
    #: ids of the keys that signed it, as far as the index tells
    keys: Tuple[str, ...] = ()
    #: digest of the SBOM
    sbom: str = ""
    #: places in :attr:`Contents.builds` of what depends on it directly
    dependents: List[int] = field(default_factory=list)
    #: packages and compressed bytes of the link and run closure, itself included
    closure: Tuple[int, int] = (0, 0)

    @property
    def tag(self) -> str:
        return self.entry.tag if self.entry is not None else package_tag(self.name, self.version, self.hash)

    @property
    def size(self) -> Optional[int]:
        """Bytes of the compressed layer; None: not known."""
        return self.entry.layer.size if self.entry is not None else None

    @property
    def license(self) -> str:
        """An SPDX expression; empty: not known."""
        return (self.entry.licenses or "") if self.entry is not None else ""

    @property
    def is_signed(self) -> bool:
        return bool(self.keys) or (self.entry is not None and self.entry.signed)


@dataclass(frozen=True)
class Image:
    tag: str
    platforms: Tuple[PlatformImage, ...]
    #: why it could not be read; empty: it could
    failure: str = ""


@dataclass
class Contents:
    """``builds``: by name, then the newest version first, then by hash. ``index``: digest of what was read."""

    builds: List[Build]
    images: Tuple[Image, ...]
    index: str
    places: Dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {build.hash: place for place, build in enumerate(self.builds)}
        for place, build in enumerate(self.builds):
            build.compiler = build.compiler or self._compiler(build)
            for edge in build.edges:
                if edge.to in self.places:
                    self.builds[self.places[edge.to]].dependents.append(place)
        self._measure_closures()

    def _compiler(self, build: Build) -> str:
        found = {e.to for e in build.edges if any(virtual in _LANGUAGES for virtual in e.virtuals)}
        compilers = (self.builds[self.places[h]] for h in found if h in self.places)
        return " ".join(sorted(f"{c.name}@{c.version}" for c in compilers))

    def _measure_closures(self) -> None:
        """What an install of each package brings."""
        runtime = DEPENDENCY_TYPES["link"] | DEPENDENCY_TYPES["run"]
        needs = [
            [self.places[e.to] for e in build.edges if e.types & runtime and e.to in self.places]
            for build in self.builds
        ]
        sizes = [build.size or 0 for build in self.builds]
        counted = [int(build.is_cached) for build in self.builds]
        seen_for = [-1] * len(self.builds)
        for root, build in enumerate(self.builds):
            packages = size = 0
            pending = [root]
            seen_for[root] = root
            while pending:
                place = pending.pop()
                packages += counted[place]
                size += sizes[place]
                for needed in needs[place]:
                    if seen_for[needed] != root:
                        seen_for[needed] = root
                        pending.append(needed)
            build.closure = packages, size


def read_builds(index: IndexDocument, signers: Optional[SignatureTable] = None) -> List[Build]:
    """The nodes of an index, sorted. Raises InvalidContent."""
    strings: Dict[str, str] = {}

    def intern(text: str) -> str:
        return strings.setdefault(text, text)

    found = [_build(node, entry, is_cached, intern) for node, entry, is_cached in _nodes(index)]
    for build in found:
        package = (signers or {}).get(build.hash)
        if package is not None:
            build.keys = tuple(sorted({signature.key for signature in package.signatures}))
            build.sbom = package.sbom or ""
    found.sort(key=operator.attrgetter("hash"))
    found.sort(key=lambda build: _order(build.version), reverse=True)
    found.sort(key=operator.attrgetter("name"))
    return found


def read_signers(store: IndexStore, index: IndexDocument) -> SignatureTable:
    """Who signed the packages, and their SBOMs, as far as the index says: two requests. Nothing is verified here."""
    try:
        if index.signatures:
            return signature_table(index.signatures)
        manifest = read_document_manifest(store)
        return signature_table(read_signatures(store, manifest)) if manifest.signatures else {}
    except (NotFound, InvalidContent, DigestMismatch):
        return {}


def read_images(store: ImagesStore, failed: Callable[[str, SpackOciError], None], jobs: int = 8) -> Tuple[Image, ...]:
    """The images besides packages, by tag. One that cannot be read is told to ``failed``, and is there without content.

    Raises what a store raises that cannot be asked.
    """

    def read(tag: str) -> Optional[Image]:
        try:
            return Image(tag, tuple(describe_image(store, tag)))
        except NotFound:  # removed since it was listed
            return None
        except (InvalidContent, NotAPackage, DigestMismatch) as e:
            failed(tag, e)
            return Image(tag, (), str(e))

    tags = sorted(image_tags(store))
    if not tags:
        return ()
    with DaemonPool(min(jobs, len(tags)), "catalog") as pool:
        return tuple(image for image in pool.map(read, tags) if image is not None)


def _nodes(index: IndexDocument) -> Iterator[Tuple[Mapping[str, Any], Optional[PackageEntry], bool]]:
    """Each node, what is known of its package, and whether the cache has it."""
    if index.document is not None and index.source == DOCUMENT_TAG and not index.left_out and not index.is_filtered:
        _, lines = read_lines(decompress(index.document))
        for line in map(parse_line, lines):
            entry = None if line.package is None else PackageEntry.from_dict(line.package)
            yield line.spec, entry, entry is not None
        return
    entries = index.entries()
    for dag_hash, install in parse_json(index.data, "the index")["database"]["installs"].items():
        is_cached = bool(install.get("in_buildcache"))
        yield {"hash": dag_hash, **install["spec"]}, entries.get(dag_hash) if is_cached else None, is_cached


def _build(
    node: Mapping[str, Any], entry: Optional[PackageEntry], is_cached: bool, intern: Callable[[str], str]
) -> Build:
    arch, target = node["arch"], node["arch"]["target"]
    annotations = node.get("annotations") or {}
    return Build(
        name=intern(node["name"]),
        version=intern(node["version"]),
        hash=node["hash"],
        namespace=intern(node.get("namespace") or ""),
        arch=(
            intern(arch["platform"]),
            intern(arch["platform_os"]),
            intern(target["name"] if isinstance(target, dict) else target),
        ),
        tokens=tuple(map(intern, _tokens(node.get("parameters") or {}))),
        edges=tuple(_edges(node, intern)),
        is_cached=is_cached,
        external=_external(node.get("external")),
        spliced_from=(node.get("build_spec") or {}).get("hash", ""),
        entry=entry,
        compiler=str(annotations.get("compiler") or "").replace("@=", "@"),
    )


def _tokens(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(parameters):
        value = parameters[name]
        if isinstance(value, bool):
            yield f"{'+' if value else '~'}{name}"
        elif name in COMPILER_FLAGS:
            if value:
                yield f"{name}={' '.join(value)}"
        else:
            yield f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"


def _edges(node: Mapping[str, Any], intern: Callable[[str], str]) -> Iterator[Edge]:
    for edge in node.get("dependencies") or ():
        parameters = edge["parameters"]
        types = sum(DEPENDENCY_TYPES[name] for name in set(parameters["deptypes"]))
        yield Edge(intern(edge["hash"]), types, tuple(map(intern, sorted(parameters["virtuals"]))))


def _external(external: Optional[Mapping[str, Any]]) -> str:
    if not external:
        return ""
    modules: Sequence[str] = external.get("module") or ()
    return external.get("path") or ", ".join(modules) or "external"


def _order(version: str) -> Tuple[bool, Any]:
    try:
        return True, Version.parse(version).preference
    except InvalidSpec:
        return False, version
