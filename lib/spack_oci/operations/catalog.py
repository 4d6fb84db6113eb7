# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a cache has, for people and for scripts: all packages out of its index, or one of them in full out of its tag.

No Spec objects and no Spack: the index holds the node of every package as JSON.
"""

from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

from ..content import ContentReader, ReferrerLister
from ..descriptor import Descriptor, canonical_json
from ..errors import NotFound
from ..index.entry import PackageEntry
from ..index.lines import DATABASE_END, database_records, database_start, edges_of
from ..index.nodes import COMPILER_FLAGS, target_of
from ..index.packed_nodes import IndexedNode, PackedDocuments
from ..package.record import Layer, package_tag
from ..package.relocation_summary import PUSHER, summary_of_annotations
from ..reference import image_name
from ..util.sizes import format_size
from ..util.text import counted, elided, similar, table

if TYPE_CHECKING:
    from ..index.update.read_package import IndexedPackage

#: members of a node that a record is made of
_RECORDED = ("name", "version", "arch", "namespace", "parameters")
_BASE_NAME = "org.opencontainers.image.base.name"
_BASE_DIGEST = "org.opencontainers.image.base.digest"


class DescribedStore(ContentReader, ReferrerLister, Protocol):
    """What :func:`describe` reads."""


@dataclass(frozen=True)
class CatalogRecord:
    """One package of a cache. What the index of a Spack without this extension does not tell is None."""

    name: str
    version: str
    hash: str
    #: ``linux-debian12-x86_64_v3``
    arch: str
    namespace: str
    tag: str
    #: name -> True, False, a string, or a list of strings
    variants: Mapping[str, Any] = field(default_factory=dict)
    #: bytes of the package's compressed layer, and its digest
    size: Optional[int] = None
    layer: Optional[str] = None
    #: digest of the manifest
    digest: Optional[str] = None
    #: characters of the prefix that it was built for
    prefix_length: Optional[int] = None
    relocation: Mapping[str, int] = field(default_factory=dict)
    pusher: Optional[str] = None
    #: None: not known
    signed: Optional[bool] = None

    def to_dict(self) -> Dict[str, Any]:
        return {**vars(self), "variants": dict(self.variants), "relocation": dict(self.relocation)}


class NodeSource(Protocol):
    """An index that gives its nodes one at a time, as often as it is asked."""

    def nodes(self) -> Iterator[IndexedNode]: ...

    @property
    def database_version(self) -> str: ...


def near(name: str, nodes: Iterable[IndexedNode]) -> Tuple[List[str], str]:
    """``NAME@VERSION`` of the packages of that name, and else which names are like it, as a question says them."""
    names, there = set(), set()
    for _, spec, _, is_cached in nodes:
        if is_cached:
            names.add(spec["name"])
            if spec["name"] == name:
                there.add(f"{name}@{spec['version']}")
    return sorted(there), "" if there else similar(name, names)


def no_package_matches(url: str, constraint: str, name: str, index: NodeSource, see: str) -> NotFound:
    """Of a cache. ``name``: of the package that is wanted, or empty; ``see``: the command that shows all there are."""
    there, meant = near(name, index.nodes())
    has = f": it has {elided(there)}" if there else ""
    remedy = f"did you mean {meant}?" if meant else f"`{see}` shows what it has"
    return NotFound(f"{url} has no package that matches {constraint}{has}", remedy=remedy)


class CatalogRecords(Mapping[str, CatalogRecord]):
    """DAG hash -> record of packages, by name, version, hash. Each is made when it is asked for: all of a large cache
    at once would take half a gigabyte."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
        self._documents = documents
        self._order = order

    def node(self, dag_hash: str) -> Mapping[str, Any]:
        return self._documents[dag_hash]["spec"]

    def __getitem__(self, dag_hash: str) -> CatalogRecord:
        document = self._documents[dag_hash]
        package = document["package"]
        return record_of(dag_hash, document["spec"], None if package is None else PackageEntry.from_dict(package))

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


def records(
    index: NodeSource, wanted: Callable[[Mapping[str, Any]], bool] = lambda node: True, *, bare: bool = False
) -> CatalogRecords:
    """The packages that an index names, as far as their node (with its hash) is ``wanted``. ``bare``: what the nodes
    tell alone; :meth:`CatalogRecords.node` has no more than that then."""
    documents = PackedDocuments()
    keys: List[Tuple[str, str, str]] = []
    for found in index.nodes():
        if found.is_cached and wanted(found.node):
            spec = {name: found.spec[name] for name in _RECORDED if name in found.spec} if bare else found.node
            documents.add(found.dag_hash, {"spec": spec, "package": None if bare else found.package})
            keys.append((found.spec["name"], found.spec["version"], found.dag_hash))
    return CatalogRecords(documents, [dag_hash for _, _, dag_hash in sorted(keys)])


def subset(index: NodeSource, wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[bytes]:
    """The database with the packages whose node (with its hash) is ``wanted``, and what they depend on, as Spack's code
    reads it; its bytes in pieces.

    To make Spec objects of 20,000 packages takes Spack many seconds; a user who asks for one name wants a few.
    """
    needs: Dict[str, Tuple[str, ...]] = {}
    intern: Dict[str, str] = {}
    chosen = set()
    for found in index.nodes():
        dag_hash = intern.setdefault(found.dag_hash, found.dag_hash)
        needs[dag_hash] = tuple([intern.setdefault(h, h) for h in _needs_of(found.spec)])
        if found.is_cached and wanted(found.node):
            chosen.add(dag_hash)
    kept, pending = set(), list(chosen)
    counts: Dict[str, int] = {}
    while pending:
        dag_hash = pending.pop()
        if dag_hash not in kept and dag_hash in needs:
            kept.add(dag_hash)
            pending.extend(needs[dag_hash])
            for needed in needs[dag_hash]:
                counts[needed] = counts.get(needed, 0) + 1
    yield database_start(index.database_version)
    nodes = (
        (found.dag_hash, canonical_json(found.spec), found.dag_hash in chosen)
        for found in index.nodes()
        if found.dag_hash in kept
    )
    yield from database_records(nodes, counts)
    yield DATABASE_END


def _needs_of(node: Mapping[str, Any]) -> Iterator[str]:
    yield from edges_of(node)
    if node.get("build_spec"):
        yield node["build_spec"]["hash"]


def record_of(dag_hash: str, node: Mapping[str, Any], entry: Optional[PackageEntry] = None) -> CatalogRecord:
    """``entry``: what the index has of the package besides its node."""
    known: Dict[str, Any] = {"tag": package_tag(node["name"], node["version"], dag_hash)}
    if entry is not None:
        known = {
            "tag": entry.tag,
            "size": entry.layer.size,
            "layer": entry.layer.digest,
            "digest": entry.manifest.digest,
            "prefix_length": entry.prefix_length,
            "relocation": entry.relocation,
            "pusher": entry.pusher,
            "signed": entry.signed or None,
        }
    return CatalogRecord(
        name=node["name"],
        version=node["version"],
        hash=dag_hash,
        arch=architecture(node),
        namespace=node.get("namespace") or "",
        variants=variants(node),
        **known,
    )


def architecture(node: Mapping[str, Any]) -> str:
    arch = node["arch"]
    return f"{arch['platform']}-{arch['platform_os']}-{target_of(node)}"


def variants(node: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in node.get("parameters", {}).items() if name not in COMPILER_FLAGS}


@dataclass(frozen=True)
class PackageDescription:
    """Everything that a tag tells about its package."""

    url: str
    record: CatalogRecord
    manifest: Descriptor
    config: Descriptor
    #: base image's first, the package's own last
    layers: Tuple[Layer, ...]
    #: name and digest of the base image; empty: none, or not recorded
    base: str
    base_digest: str
    #: Spack's one-line description
    description: str
    #: media type or artifact type, and digest, of what refers to the manifest: signatures, SBOMs
    referrers: Tuple[Tuple[str, str], ...]
    #: nodes of the spec document, the package's own first
    nodes: Tuple[Mapping[str, Any], ...] = field(repr=False, default=())
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_size(self) -> int:
        """Bytes that an engine pulls: all layers and the config."""
        return self.config.size + sum(layer.descriptor.size for layer in self.layers)

    def to_dict(self) -> Dict[str, Any]:
        return {
            **self.record.to_dict(),
            "mirror": self.url,
            "manifest": self.manifest.to_dict(),
            "config": self.config.to_dict(),
            "layers": [
                {**layer.descriptor.to_dict(), "diff_id": layer.diff_id or None, "label": layer.label}
                for layer in self.layers
            ],
            "total_size": self.total_size,
            "base": self.base,
            "base_digest": self.base_digest,
            "description": self.description,
            "referrers": [{"type": kind, "digest": digest} for kind, digest in self.referrers],
            "dependencies": [node["hash"] for node in self.nodes[1:]],
            "annotations": dict(self.annotations),
        }


def describe(store: DescribedStore, tag: str) -> PackageDescription:
    """Read a package's tag: manifest, config, referrers, and cosign's signature tag. Raises NotFound, NotAPackage."""
    from ..index.update.read_package import package_from_documents
    from ..package.documents import read_package_documents

    documents = read_package_documents(store, tag)
    referrers = tuple(_referrers(store, documents.manifest))
    package = package_from_documents(documents, signed=bool(referrers))
    annotations = documents.annotations
    return PackageDescription(
        url=store.url,
        record=_described_record(package, annotations, any(map(_is_signature, referrers))),
        manifest=documents.manifest,
        config=documents.config,
        layers=documents.layers,
        base=annotations.get(_BASE_NAME, ""),
        base_digest=annotations.get(_BASE_DIGEST, ""),
        description=annotations.get("org.opencontainers.image.description", ""),
        referrers=referrers,
        nodes=tuple(node.spec for node in package.nodes),
        annotations=annotations,
    )


def _described_record(package: "IndexedPackage", annotations: Mapping[str, str], signed: bool) -> CatalogRecord:
    record = record_of(package.dag_hash, package.nodes[0].spec, package.entry)
    summary = summary_of_annotations(annotations)
    summary.pop("prefix_length", None)
    return CatalogRecord(**{**vars(record), "signed": signed, "pusher": annotations.get(PUSHER), "relocation": summary})


def _referrers(store: DescribedStore, descriptor: Descriptor) -> Iterator[Tuple[str, str]]:
    """(type, digest) of what refers to a manifest."""
    from ..trust.signatures import signature_tag

    for referrer in store.referrers(descriptor.digest):
        yield referrer.artifact_type or referrer.media_type, referrer.digest
    try:
        signature = store.resolve(signature_tag(descriptor.digest))
    except NotFound:
        return
    yield "cosign signature", signature.digest


def _is_signature(referrer: Tuple[str, str]) -> bool:
    return "signature" in referrer[0] or "sigstore" in referrer[0] or "cosign" in referrer[0]


def lines_of(found: PackageDescription) -> List[str]:
    """For people."""
    record = found.record
    lines = [f"{record.name}@{record.version} /{record.hash}", *table(_properties(found))]
    rows = [
        (str(number), format_size(layer.descriptor.size), layer.descriptor.digest, layer.label)
        for number, layer in enumerate(found.layers, 1)
    ]
    return [*lines, "layers", *(f"  {line}" for line in table(rows))]


def _properties(found: PackageDescription) -> List[Sequence[str]]:
    record = found.record
    base = found.base + (f"@{found.base_digest}" if found.base_digest else "")
    rows = [
        ("spec", found.description or _spec_line(record)),
        ("architecture", record.arch),
        ("mirror", found.url),
        ("name", image_name(found.url, record.tag)),
        ("manifest", f"{found.manifest.digest} ({found.manifest.media_type})"),
        ("config", f"{found.config.digest} ({format_size(found.config.size)})"),
        ("package", f"{record.layer} ({known_size(record.size)}, {found.layers[-1].descriptor.media_type})"),
        ("image", f"{format_size(found.total_size)} in {counted(len(found.layers), 'layer')}"),
        ("base image", base or "none recorded"),
        ("pushed by", record.pusher or "not recorded"),
        ("signature", "yes" if record.signed else "none found"),
        ("built for", _relocation(record)),
    ]
    others = [f"{kind} {digest}" for kind, digest in found.referrers]
    return [(f"  {name}", value) for name, value in [*rows, *(("referrer", other) for other in others)]]


def _spec_line(record: CatalogRecord) -> str:
    return f"{record.name}@{record.version}"


def _relocation(record: CatalogRecord) -> str:
    if record.prefix_length is None:
        return "a prefix of unknown length"
    summary = record.relocation
    text = f"a prefix of {record.prefix_length} characters"
    if "strings" in summary:
        text += f"; {counted(summary['strings'], 'string')} in {counted(summary.get('binaries', 0), 'binary file')}"
    if "fixed_strings" in summary:
        text += f", {summary['fixed_strings'] or 'none'} of which cannot grow"
    if summary.get("unknown_files"):
        text += f"; {counted(summary['unknown_files'], 'other file')} with it"
    return text


def known_size(count: Optional[int]) -> str:
    """Bytes for people, as far as they are known."""
    return "?" if count is None else format_size(count)
