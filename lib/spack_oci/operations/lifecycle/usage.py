# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Where the bytes of a cache are: by package, by version, in layers that many share, in builds that nobody needs anew.

A blob is counted once, for what it is first: a package's own layer, then a layer of a package's base image, then one of
an image. So the parts add up to the whole. Sizes are of what is stored, compressed.
"""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ...content import ManifestReader
from ...content.copy import manifests_of
from ...errors import ContentError, SpackOciError
from ...index.model import PackageIndex
from ...index.update.read_tags import of_each_tag
from ...util.progress import Reporter, Silent, Work
from .contents import Contents, closure


@dataclass(frozen=True)
class PackageUsage:
    """Own layers of the builds of a package, or of one version of it, in bytes."""

    name: str
    version: str
    builds: int
    size: int

    def to_dict(self) -> Dict[str, Any]:
        return {"name": self.name, "version": self.version or None, "builds": self.builds, "size": self.size}


@dataclass(frozen=True)
class SharedLayer:
    """A layer of base images. ``packages``: how many have it."""

    digest: str
    size: int
    packages: int

    def to_dict(self) -> Dict[str, Any]:
        return {"digest": self.digest, "size": self.size, "packages": self.packages}


@dataclass(frozen=True)
class Usage:
    """Bytes; by size, the largest first. ``documents``: manifests and configs; ``complete``: manifests were read, so
    that shared layers, images and documents are known."""

    url: str
    by_package: Sequence[PackageUsage]
    by_version: Sequence[PackageUsage]
    shared: Sequence[SharedLayer] = ()
    #: tag of an image -> its layers that nothing else has
    images: Mapping[str, int] = field(default_factory=dict)
    documents: int = 0
    #: tags of packages that are neither of the newest version of their name nor needed to run one
    old: Sequence[str] = ()
    old_size: int = 0
    complete: bool = True
    #: tags of packages and images that could not be read
    unreadable: Sequence[str] = ()

    @property
    def packages_size(self) -> int:
        return sum(package.size for package in self.by_package)

    @property
    def shared_size(self) -> int:
        return sum(layer.size for layer in self.shared)

    @property
    def total(self) -> int:
        return self.packages_size + self.shared_size + sum(self.images.values()) + self.documents

    def to_dict(self) -> Dict[str, Any]:
        """For ``--json``."""
        return {
            "mirror": self.url,
            "total": self.total,
            "complete": self.complete,
            "packages": {"size": self.packages_size, "builds": sum(p.builds for p in self.by_package)},
            "by_package": [package.to_dict() for package in self.by_package],
            "by_version": [package.to_dict() for package in self.by_version],
            "shared_layers": [layer.to_dict() for layer in self.shared],
            "images": dict(self.images),
            "documents": self.documents,
            "old": {"size": self.old_size, "packages": list(self.old)},
            "unreadable": list(self.unreadable),
        }


@dataclass
class _Read:
    """What the manifests say."""

    documents: Dict[str, int] = field(default_factory=dict)
    #: digest of a layer -> (bytes, packages that have it), without those that are a package's own
    others: Dict[str, Tuple[int, int]] = field(default_factory=dict)
    images: Dict[str, Dict[str, int]] = field(default_factory=dict)
    unreadable: List[str] = field(default_factory=list)


def measure(
    store: ManifestReader,
    contents: Contents,
    order: Callable[[str], Any],
    *,
    manifests: bool = True,
    jobs: int = 8,
    reporter: Optional[Reporter] = None,
) -> Usage:
    """``order``: what to sort versions by; ``manifests``: read that of every package and image (one request each), not
    the index alone. Raises ConfigurationError where there is no index."""
    index = contents.need_index()
    read, own = _Read(), {}
    if manifests:
        own = {entry.layer.digest: entry.layer.size for _, entry in index.packages()}
        read = _read_manifests(store, contents, own, jobs, reporter or Silent())
    versions = _versions(index)
    old = _old_builds(index, versions, order)
    return Usage(
        contents.url,
        _by_size(_sums(versions, by_version=False)),
        _by_size(_sums(versions, by_version=True)),
        tuple(
            SharedLayer(digest, size, count)
            for digest, (size, count) in sorted(read.others.items(), key=lambda item: (-item[1][0], item[0]))
        ),
        {tag: size for tag, size in _images(read, own).items() if size},
        sum(read.documents.values()),
        tuple(sorted(old)),
        _freed(index, old),
        manifests,
        tuple(sorted(read.unreadable)),
    )


class _Version:
    """Builds of one version of a package. ``size``: of their own layers; one that two builds have (no file has the
    prefix in it) counts for the first."""

    __slots__ = ("hashes", "size")

    def __init__(self) -> None:
        self.hashes: List[str] = []
        self.size = 0


#: (name, version) -> its builds
_Versions = Mapping[Tuple[str, str], _Version]


def _versions(index: PackageIndex) -> _Versions:
    found: Dict[Tuple[str, str], _Version] = {}
    seen: Set[str] = set()
    for dag_hash, entry in index.packages():
        node = index.node(dag_hash)
        version = found.setdefault((str(node["name"]), str(node["version"])), _Version())
        version.hashes.append(dag_hash)
        if entry.layer.digest not in seen:
            seen.add(entry.layer.digest)
            version.size += entry.layer.size
    return found


def _sums(versions: _Versions, by_version: bool) -> Iterable[PackageUsage]:
    counts: Dict[Tuple[str, str], Tuple[int, int]] = {}
    for (name, version), found in versions.items():
        key = (name, version if by_version else "")
        builds, size = counts.get(key, (0, 0))
        counts[key] = (builds + len(found.hashes), size + found.size)
    return [PackageUsage(name, version, *found) for (name, version), found in counts.items()]


def _by_size(found: Iterable[PackageUsage]) -> Tuple[PackageUsage, ...]:
    return tuple(sorted(found, key=lambda package: (-package.size, package.name, package.version)))


def _old_builds(index: PackageIndex, versions: _Versions, order: Callable[[str], Any]) -> List[str]:
    """Tags of what is neither of the newest version of its name nor needed to run something that is."""
    newest: Dict[str, Tuple[Any, List[str]]] = {}
    for (name, version), found in versions.items():
        rank = order(version)
        if name not in newest or newest[name][0] < rank:
            newest[name] = (rank, found.hashes)
        elif newest[name][0] == rank:
            newest[name] = (rank, newest[name][1] + found.hashes)
    needed = closure(index, [dag_hash for _, hashes in newest.values() for dag_hash in hashes])
    return [entry.tag for dag_hash, entry in index.packages() if dag_hash not in needed]


def _freed(index: PackageIndex, old: Sequence[str]) -> int:
    gone = set(old)
    kept = {entry.layer.digest for _, entry in index.packages() if entry.tag not in gone}
    layers = {e.layer.digest: e.layer.size for _, e in index.packages() if e.layer.digest not in kept}
    return sum(layers.values())


def _read_manifests(
    store: ManifestReader, contents: Contents, own: Mapping[str, int], jobs: int, reporter: Reporter
) -> _Read:
    read = _Read()
    tags = [*sorted(contents.packages), *sorted(contents.images)]
    reporter.begin(Work(len(tags), "manifests"))
    try:
        for tag, found in of_each_tag(lambda tag: _parts(store, tag), tags, max(1, jobs)):
            reporter.finished(tag)
            if isinstance(found, SpackOciError):
                read.unreadable.append(tag)
                continue
            documents, layers = found
            read.documents.update(documents)
            if tag in contents.images:
                read.images[tag] = layers
                continue
            for digest in layers.keys() - own.keys():
                read.others[digest] = (layers[digest], read.others.get(digest, (0, 0))[1] + 1)
    finally:
        reporter.end()
    return read


def _parts(store: ManifestReader, reference: str) -> Tuple[Dict[str, int], Dict[str, int]]:
    """(manifests and configs, layers) of an image: digest -> bytes."""
    documents: Dict[str, int] = {}
    layers: Dict[str, int] = {}
    for descriptor, parts in manifests_of(store, reference):
        if isinstance(parts, ContentError):
            raise parts
        documents[descriptor.digest] = descriptor.size
        documents.update({config.digest: config.size for config in parts.blobs[:1]})
        layers.update({layer.digest: layer.size for layer in parts.blobs[1:]})
    return documents, layers


def _images(read: _Read, own: Mapping[str, int]) -> Dict[str, int]:
    """A layer that several images have counts for the first of them."""
    seen = {*own, *read.others, *read.documents}
    found = {}
    for tag, layers in sorted(read.images.items()):
        found[tag] = sum(size for digest, size in layers.items() if digest not in seen)
        seen |= layers.keys()
    return found
