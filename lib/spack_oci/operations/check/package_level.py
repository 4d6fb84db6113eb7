# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One package: its documents, what it needs, its signatures, and whether its layers are there."""

import threading
from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...content import ContentStore, ReadsRanges
from ...content.platform import go_architecture
from ...descriptor import Descriptor
from ...errors import ContentError, NotFound, SpackOciError, UnexpectedResponse
from ...index.model import PackageIndex
from ...index.nodes import Node, nodes_of_document
from ...index.update.read_package import check_tag_of_package
from ...package.documents import PackageDocuments, read_package_documents
from ...package.relocation_summary import summary_of_annotations
from ...trust.keys import PublicKey
from ...trust.policy import Policy
from ..install.fetch import RemotePackage
from ..lifecycle.contents import LINK_RUN
from ..trust.verify import signed_by
from .findings import CheckedPackage, Finding, Kind, Level, finding_of
from .index_level import UPDATE_INDEX

PUSH_AGAIN = "`spack oci repair` brings it back if this machine has it; else push the package again with --force"

#: what of a spec's target is known without archspec; others (zen3) name these among their parents
_FAMILIES = ("x86_64", "aarch64", "ppc64le", "ppc64", "riscv64")


@dataclass(frozen=True)
class Rules:
    """``keys``: further ones that are known by name."""

    policy: Policy = field(default_factory=Policy)
    keys: Sequence[PublicKey] = ()


class BlobLookups:
    """Asks once for each blob, however many packages have it. For several threads."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._known: Dict[str, bool] = {}
        self._lock = threading.Lock()

    def has(self, blob: Descriptor) -> bool:
        with self._lock:
            known = self._known.get(blob.digest)
        if known is None:
            known = self._store.has_blob(blob.digest) or self._can_be_read(blob)
            with self._lock:
                self._known[blob.digest] = known
        return known

    def _can_be_read(self, blob: Descriptor) -> bool:
        """A cache in front of another registry says of what it has not kept that it is not there, until somebody reads
        it (goharbor/harbor #22609): to call that missing would have it repaired."""
        if not isinstance(self._store, ReadsRanges):
            return False
        try:
            self._store.read_range(blob, 0, min(1, blob.size))
        except NotFound:
            return False
        except UnexpectedResponse:  # the whole was sent for the part, for example
            pass
        return True


@dataclass(frozen=True)
class Looked:
    """``documents``: None if they cannot be read."""

    package: CheckedPackage
    findings: List[Finding]
    documents: Optional[PackageDocuments] = None


@dataclass(frozen=True)
class PackageChecker:
    """``hashes``: DAG hashes of the packages that the cache has; ``index``: None if there is no current one."""

    store: ContentStore
    level: Level
    rules: Rules
    hashes: AbstractSet[str]
    index: Optional[PackageIndex]
    blobs: BlobLookups

    def look(self, tag: str) -> Looked:
        try:
            documents = read_package_documents(self.store, tag)
            node = nodes_of_document(documents.document, tag)[0]
            check_tag_of_package(tag, node)
            _ = documents.layers  # are those of its image described, too?
        except ContentError as e:
            return Looked(CheckedPackage(tag), [finding_of(Kind.UNREADABLE, tag, e, PUSH_AGAIN)])
        except SpackOciError as e:
            return Looked(CheckedPackage(tag), [finding_of(Kind.NOT_CHECKED, tag, e, "verify again")])
        findings = [
            *_of_index(documents, node, self.index),
            *_of_platform(documents, node.spec),
            *_of_closure(documents, self.hashes),
        ]
        signers, problem = signed_by(self.store, _remote(documents), self.rules.policy, self.rules.keys)
        if problem is not None:
            findings.append(finding_of(Kind.SIGNATURE, tag, problem, "sign it with `spack oci sign`"))
        if self.level >= Level.BLOBS:
            findings += self._missing_blobs(documents)
        return Looked(CheckedPackage(tag, documents.manifest.digest, tuple(signers)), findings, documents)

    def _missing_blobs(self, documents: PackageDocuments) -> List[Finding]:
        found = []
        for layer in documents.layers:
            digest, is_own = layer.descriptor.digest, layer is documents.layer
            kind = Kind.LAYER_MISSING if is_own else Kind.IMAGE_LAYER_MISSING
            label = "its layer" if is_own else f"the layer of {layer.label or 'its base'}"
            try:
                if not self.blobs.has(layer.descriptor):
                    found.append(Finding(kind, documents.tag, f"{label} {digest} is missing", PUSH_AGAIN, digest))
            except SpackOciError as e:
                found.append(finding_of(Kind.NOT_CHECKED, documents.tag, e, "verify again", digest))
        return found


def _remote(documents: PackageDocuments) -> RemotePackage:
    layer: Descriptor = documents.layer.descriptor
    return RemotePackage(
        documents.tag,
        documents.dag_hash,
        documents.manifest,
        layer,
        documents.layer.diff_id or None,
        documents.document,
        documents.url,
        summary_of_annotations(documents.annotations),
        documents.config,
    )


def _of_index(documents: PackageDocuments, node: Node, index: Optional[PackageIndex]) -> List[Finding]:
    """An index that lacks the package is told of elsewhere."""
    if index is None or documents.tag not in index.tags:
        return []
    entry = index.entry(node.dag_hash)
    pushed_again = ""
    if entry is None:
        label = "names another package behind this tag"
    elif entry.manifest.digest != documents.manifest.digest:
        pushed_again = documents.manifest.digest
        label = f"names the manifest {entry.manifest.digest}, the tag {documents.manifest.digest}"
    elif entry.layer.digest != documents.layer.descriptor.digest:
        label = "names another layer than the manifest"
    elif not index.has_same_node(node):
        label = "has another spec than the config"
    else:
        return []
    return [Finding(Kind.INDEX_DIFFERS, documents.tag, f"the index {label}", UPDATE_INDEX, pushed_again)]


def _of_platform(documents: PackageDocuments, spec: Mapping[str, Any]) -> List[Finding]:
    """What the config says to container engines is what the spec says to Spack, as far as both say something."""
    arch = spec.get("arch") or {}
    wanted = (arch.get("platform"), _architecture(arch.get("target")))
    said = (documents.document.get("os"), documents.document.get("architecture"))
    if all(not w or not s or w == s for w, s in zip(wanted, said)):
        return []
    message = f"its image says {said[0]}/{said[1]}, its spec {wanted[0]}/{wanted[1]}"
    return [Finding(Kind.PLATFORM_DIFFERS, documents.tag, message, "push it again with --force")]


def _architecture(target: Any) -> Optional[str]:
    """As Go names it; None: not known."""
    names = [target.get("name"), *(target.get("parents") or ())] if isinstance(target, dict) else [target]
    for name in names:
        family = next((f for f in _FAMILIES if isinstance(name, str) and name.startswith(f)), None)
        if family is not None:
            return go_architecture(family)
    return None


def _of_closure(documents: PackageDocuments, hashes: AbstractSet[str]) -> List[Finding]:
    missing = [label for dag_hash, label in runtime_dependencies(documents) if dag_hash not in hashes]
    return [
        Finding(
            Kind.DEPENDENCY_MISSING,
            documents.tag,
            f"it needs {label}, which is not there",
            "push it with its dependencies (without --only package)",
        )
        for label in missing
    ]


def runtime_dependencies(documents: PackageDocuments, externals: bool = False) -> List[Tuple[str, str]]:
    """(DAG hash, ``name@version/hash``) of the link and run closure without the package itself, in order of their
    names. Raises nothing: nodes of another shape are left out. ``externals``: those too."""
    nodes = {n["hash"]: n for n in documents.document["spec"]["nodes"] if isinstance(n, dict) and "hash" in n}
    found: Dict[str, str] = {}
    pending = [documents.dag_hash]
    while pending:
        node = nodes.get(pending.pop()) or {}
        for edge in node.get("dependencies") or ():
            dag_hash = edge.get("hash")
            types = (edge.get("parameters") or {}).get("deptypes") or edge.get("type") or ()
            child = nodes.get(dag_hash)
            if child is None or dag_hash in found or not LINK_RUN & set(types):
                continue
            pending.append(dag_hash)
            if externals or not child.get("external"):
                found[dag_hash] = f"{child.get('name')}@{child.get('version')}/{dag_hash[:7]}"
    return sorted(found.items(), key=lambda item: item[1])


def external_names(documents: PackageDocuments) -> List[str]:
    """Names of the external packages that it links or runs."""
    own = dict(runtime_dependencies(documents))
    return [label.partition("@")[0] for h, label in runtime_dependencies(documents, externals=True) if h not in own]
