# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the index has to know of a package: from its manifest and config, or from the push that made them."""

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ... import __version__
from ...content import ContentReader
from ...descriptor import Descriptor
from ...errors import NotAPackage
from ...package.documents import PackageDocuments, read_package_documents
from ...package.record import Layer, package_tag
from ...package.relocation_summary import PUSHER, summary_of_annotations
from ..entry import PackageEntry
from ..model import PackageIndex
from ..nodes import Node, nodes_of_document

#: image-spec, annotations.md: an SPDX expression
LICENSES = "org.opencontainers.image.licenses"


class IndexedPackage(NamedTuple):
    #: the package's own node first, then its dependencies, as far as the index needs them
    nodes: List[Node]
    entry: PackageEntry

    @property
    def dag_hash(self) -> str:
        return self.nodes[0].dag_hash

    @property
    def tag_of_spack(self) -> str:
        """The tag that readers look for."""
        spec = self.nodes[0].spec
        return package_tag(spec["name"], spec["version"], self.dag_hash)


def read_package(store: ContentReader, tag: str, index: Optional[PackageIndex] = None) -> IndexedPackage:
    """Read a tag: two requests. Raises NotFound, DigestMismatch and NotAPackage, all ContentErrors.

    ``index``: where the package will be added; nodes of dependencies that it has are left out.
    """
    return package_from_documents(read_package_documents(store, tag), signed=False, index=index)


def package_from_documents(
    documents: PackageDocuments, signed: bool, index: Optional[PackageIndex] = None
) -> IndexedPackage:
    """Raises NotAPackage."""
    tag, document = documents.tag, documents.document
    nodes = nodes_of_document(document, tag) if index is None else nodes_of_document(document, tag, index.has_node)
    check_tag_of_package(tag, nodes[0])
    summary = summary_of_annotations(documents.annotations)
    entry = PackageEntry(
        tag=tag,
        manifest=documents.manifest,
        layer=documents.layer.descriptor,
        diff_id=documents.layer.diff_id or None,
        prefix_length=summary.pop("prefix_length", None),
        relocation=summary,
        pusher=documents.annotations.get(PUSHER),
        licenses=documents.annotations.get(LICENSES) or None,
        signed=signed,
    )
    return IndexedPackage(nodes, entry)


class PushedNodes:
    """The nodes in the documents of one push: most are in many of them, and each is converted once."""

    def __init__(self) -> None:
        #: DAG hash -> node
        self.converted: Dict[str, Node] = {}
        #: identity of an object -> the object, and the same as JSON has it
        self._plain: Dict[int, Tuple[Any, Any]] = {}

    def plain(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """As it is read back from JSON: Spack's dictionaries hold tuples and ordered types of its own."""
        try:
            spec = document["spec"]
            return {**document, "spec": {**spec, "nodes": [self._plain_node(node) for node in spec["nodes"]]}}
        except (KeyError, TypeError):
            return document  # which is none

    def _plain_node(self, node: Any) -> Any:
        known = self._plain.get(id(node))
        if known is None:
            known = self._plain[id(node)] = (node, json.loads(json.dumps(node)))
        return known[1]


def package_from_push(
    tag: str,
    descriptor: Descriptor,
    spec_document: Mapping[str, Any],
    layer: Layer,
    relocation_summary: Mapping[str, Any],
    licenses: str = "",
    signed: bool = False,
    shared: Optional[PushedNodes] = None,
) -> IndexedPackage:
    """Of a package that this process has pushed: no request. ``shared``: with other packages of the push. Raises
    NotAPackage."""
    shared = shared or PushedNodes()
    nodes = nodes_of_document(shared.plain(spec_document), tag, shared=shared.converted)
    others = {name: int(value) for name, value in relocation_summary.items() if name != "prefix_length"}
    entry = PackageEntry(
        tag=tag,
        manifest=descriptor,
        layer=Descriptor(layer.descriptor.media_type, layer.descriptor.digest, layer.descriptor.size),
        diff_id=layer.diff_id,
        prefix_length=relocation_summary.get("prefix_length"),
        relocation=others,
        pusher=f"spack-oci {__version__}",
        licenses=licenses or None,
        signed=signed,
    )
    return IndexedPackage(nodes, entry)


def check_tag_of_package(tag: str, node: Node) -> None:
    """A tag that holds another package than it says would hide the right one from readers, who compose tags.

    Only the hash is compared: however long name and version are and whatever became of their characters, it is whole
    (:func:`~spack_oci.reference.valid_tag` keeps the last 64 characters).
    """
    if not tag.endswith(f"-{node.dag_hash}.spack"):
        raise NotAPackage(f"{tag} holds another package: {node.spec['name']}@{node.spec['version']}/{node.dag_hash}")
