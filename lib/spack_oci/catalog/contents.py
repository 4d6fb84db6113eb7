# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a page shows of a cache: its nodes out of the index, its images out of their tags."""

import operator
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
)

from ..content import BlobReader, ContentReader, ManifestReader
from ..content.interfaces import TagLister
from ..errors import DigestMismatch, InvalidContent, InvalidSpec, NotAPackage, NotFound, SpackOciError
from ..index.entry import PackageEntry
from ..index.nodes import COMPILER_FLAGS, DEPENDENCY_TYPES, target_of
from ..index.publish import read_document_manifest, read_signatures, signature_table
from ..index.read import IndexDocument
from ..index.signature_table import SignatureTable, SignedPackage
from ..operations.images.described import PlatformImage, describe_image, image_tags
from ..package.record import package_tag
from ..specs.versions import Version
from ..util.concurrency.threads import DaemonPool

#: virtual packages that a compiler provides
_LANGUAGES = ("c", "cxx", "fortran")
_UNSIGNED = SignedPackage(())
#: images that are read at the same time
_JOBS = 8

T = TypeVar("T")


class Intern(Protocol):
    """Gives of equal values the one that it was given first: there are tens of thousands."""

    def __call__(self, value: T) -> T: ...


class ImagesStore(ContentReader, TagLister, Protocol):
    """What :func:`read_images` reads."""


class IndexStore(ManifestReader, BlobReader, Protocol):
    """What :func:`read_signers` reads."""


class Edge(NamedTuple):
    #: DAG hash
    to: str
    #: sum of :data:`~spack_oci.index.nodes.DEPENDENCY_TYPES`
    types: int
    virtuals: Tuple[str, ...]


class Stored(NamedTuple):
    """What our index tells of a package, as far as it is shown. Sizes in bytes. Tuples: there are tens of thousands."""

    #: empty: as :func:`~spack_oci.package.record.package_tag` has it, which would be ten million bytes of them
    tag: str
    #: digests of manifest and layer
    manifest: str
    layer: str
    layer_type: str
    #: of the compressed layer
    size: int
    #: 0: not known
    unpacked_size: int
    prefix_length: int
    pusher: str
    #: an SPDX expression; empty: not known
    licenses: str
    signed: bool

    @classmethod
    def of(cls, entry: PackageEntry, node: Mapping[str, Any], intern: Intern) -> "Stored":
        is_usual = entry.tag == package_tag(node["name"], node["version"], node["hash"])
        return cls(
            "" if is_usual else entry.tag,
            entry.manifest.digest,
            entry.layer.digest,
            intern(entry.layer.media_type),
            entry.layer.size,
            entry.relocation.get("unpacked_size", 0),
            entry.prefix_length or 0,
            intern(entry.pusher or ""),
            intern(entry.licenses or ""),
            entry.signed,
        )


class Build(NamedTuple):
    """A node: a package of the cache, or (``is_cached`` is False) what one depends on."""

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
    external: str
    #: DAG hash of the package whose build was spliced into this one
    spliced_from: str
    #: NAME@VERSION of its compiler, where the node itself tells it, as older ones do
    own_compiler: str
    #: None: an index of Spack's alone
    stored: Optional[Stored]
    #: ids of the keys that signed it, as far as the index tells
    keys: Tuple[str, ...]
    #: digest of the SBOM
    sbom: str

    @property
    def tag(self) -> str:
        tag = self.stored.tag if self.stored is not None else ""
        return tag or package_tag(self.name, self.version, self.hash)

    @property
    def size(self) -> Optional[int]:
        """Bytes of the compressed layer; None: not known."""
        return self.stored.size if self.stored is not None else None

    @property
    def license(self) -> str:
        """An SPDX expression; empty: not known."""
        return self.stored.licenses if self.stored is not None else ""

    @property
    def is_signed(self) -> bool:
        return bool(self.keys) or (self.stored is not None and self.stored.signed)


@dataclass(frozen=True)
class Image:
    tag: str
    platforms: Tuple[PlatformImage, ...]
    #: why it could not be read; empty: it could
    failure: str = ""


@dataclass
class Contents:
    """``builds``: by name, then the newest version first, then by hash; a *place* is a number in this list. ``index``:
    digest of what was read."""

    builds: List[Build]
    images: Tuple[Image, ...]
    index: str
    #: DAG hash -> place
    places: Dict[str, int] = field(init=False)
    #: by place: NAME@VERSION of the compilers that it was built with
    compilers: List[str] = field(init=False)
    #: by place: places of what depends on it directly
    dependents: List[List[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {build.hash: place for place, build in enumerate(self.builds)}
        self.dependents = [[] for _ in self.builds]
        for place, build in enumerate(self.builds):
            for edge in build.edges:
                if edge.to in self.places:
                    self.dependents[self.places[edge.to]].append(place)
        self.compilers = [build.own_compiler or self._compiler(build) for build in self.builds]

    def _compiler(self, build: Build) -> str:
        found = {e.to for e in build.edges if any(virtual in _LANGUAGES for virtual in e.virtuals)}
        compilers = (self.builds[self.places[h]] for h in found if h in self.places)
        return " ".join(sorted(f"{c.name}@{c.version}" for c in compilers))

    def closures(self) -> Iterator[Tuple[int, int]]:
        """By place: how many packages of the cache, and how many bytes of their layers, an install brings."""
        runtime = DEPENDENCY_TYPES["link"] | DEPENDENCY_TYPES["run"]
        needs = [
            tuple(self.places[e.to] for e in build.edges if e.types & runtime and e.to in self.places)
            for build in self.builds
        ]
        seen_for = [-1] * len(self.builds)
        for root in range(len(self.builds)):
            packages = size = 0
            pending = [root]
            seen_for[root] = root
            while pending:
                place = pending.pop()
                packages += self.builds[place].is_cached
                size += self.builds[place].size or 0
                for needed in needs[place]:
                    if seen_for[needed] != root:
                        seen_for[needed] = root
                        pending.append(needed)
            yield packages, size


def read_builds(index: IndexDocument, signers: Optional[SignatureTable] = None) -> List[Build]:
    """The nodes of an index, sorted. Raises InvalidContent."""
    seen: Dict[Any, Any] = {}

    def intern(value: T) -> T:
        return seen.setdefault(value, value)

    found = [
        _build(found.node, found.entry, found.is_cached, (signers or {}).get(found.dag_hash, _UNSIGNED), intern)
        for found in index.nodes()
    ]
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


def read_images(store: ImagesStore, failed: Callable[[str, SpackOciError], None]) -> Tuple[Image, ...]:
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
    with DaemonPool(min(_JOBS, len(tags)), "catalog") as pool:
        return tuple(image for image in pool.map(read, tags) if image is not None)


def _build(
    node: Mapping[str, Any],
    entry: Optional[PackageEntry],
    is_cached: bool,
    signed: SignedPackage,
    intern: Intern,
) -> Build:
    arch = node["arch"]
    annotations = node.get("annotations") or {}
    return Build(
        name=intern(node["name"]),
        version=intern(node["version"]),
        hash=intern(node["hash"]),
        namespace=intern(node.get("namespace") or ""),
        arch=(
            intern(arch["platform"]),
            intern(arch["platform_os"]),
            intern(target_of(node)),
        ),
        tokens=intern(tuple(map(intern, _tokens(node.get("parameters") or {})))),
        edges=tuple(_edges(node, intern)),
        is_cached=is_cached,
        external=_external(node.get("external")),
        spliced_from=(node.get("build_spec") or {}).get("hash", ""),
        own_compiler=intern(str(annotations.get("compiler") or "").replace("@=", "@")),
        stored=None if entry is None else Stored.of(entry, node, intern),
        keys=tuple(sorted({intern(signature.key) for signature in signed.signatures})),
        sbom=signed.sbom or "",
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


def _edges(node: Mapping[str, Any], intern: Intern) -> Iterator[Edge]:
    for edge in node.get("dependencies") or ():
        parameters = edge["parameters"]
        types = sum(DEPENDENCY_TYPES[name] for name in set(parameters["deptypes"]))
        # most packages have the same edges to a compiler, a C library, a build tool
        yield intern(Edge(intern(edge["hash"]), types, intern(tuple(map(intern, sorted(parameters["virtuals"]))))))


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
