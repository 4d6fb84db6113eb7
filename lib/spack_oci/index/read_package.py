# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What the index has to know of a package: from its manifest and config, or from the push that made them."""

import json
from typing import Any, List, Mapping, NamedTuple, Optional

from .. import __version__
from ..content import ContentStore, read_blob
from ..descriptor import MANIFEST_TYPES, Descriptor, parse_json
from ..errors import NotAPackage
from ..image.manifest import Layer
from ..package.record import package_tag
from ..package.relocation_summary import PUSHER, facts_from_annotations
from .model import PackageEntry, PackageIndex
from .nodes import Node, nodes_of_document

#: a spec of 120 nodes has some 300 kB
MAX_CONFIG_SIZE = 64 << 20


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


def read_package(store: ContentStore, tag: str, index: Optional[PackageIndex] = None) -> IndexedPackage:
    """Read a tag: two requests. Raises NotFound, InvalidContent, DigestMismatch and NotAPackage, all ContentErrors.

    ``index``: where the package will be added; nodes of dependencies that it has are left out.
    """
    descriptor, data = store.get_manifest(tag)
    if descriptor.media_type not in MANIFEST_TYPES:
        raise NotAPackage(f"{tag} of {store.url} is a {descriptor.media_type}, not the manifest of a package")
    manifest = parse_json(data, f"the manifest of {tag}")
    try:
        config_descriptor = Descriptor.from_dict(manifest["config"])
        layer = Descriptor.from_dict(manifest["layers"][-1])
    except (KeyError, IndexError, TypeError) as e:
        raise NotAPackage(f"{tag} of {store.url} has a manifest without config or layers") from e
    config = parse_json(read_blob(store, config_descriptor, MAX_CONFIG_SIZE), f"the config of {tag}")
    return package_from_documents(tag, descriptor, manifest, config, layer, signed=False, index=index)


def package_from_documents(
    tag: str,
    descriptor: Descriptor,
    manifest: Mapping[str, Any],
    config: Mapping[str, Any],
    layer: Descriptor,
    signed: bool,
    index: Optional[PackageIndex] = None,
) -> IndexedPackage:
    """``descriptor``: of ``manifest``; ``layer``: its last. Raises NotAPackage."""
    nodes = nodes_of_document(config, tag) if index is None else nodes_of_document(config, tag, index.has_node)
    check_tag_of_package(tag, nodes[0])
    annotations = manifest.get("annotations") or {}
    facts = facts_from_annotations(annotations)
    entry = PackageEntry(
        tag=tag,
        manifest=descriptor,
        layer=Descriptor(layer.media_type, layer.digest, layer.size),
        diff_id=_last_diff_id(config),
        prefix_length=facts.pop("prefix_length", None),
        relocation=facts,
        pusher=annotations.get(PUSHER),
        signed=signed,
    )
    return IndexedPackage(nodes, entry)


def package_from_push(
    tag: str,
    descriptor: Descriptor,
    spec_document: Mapping[str, Any],
    layer: Layer,
    facts: Mapping[str, Any],
    signed: bool = False,
) -> IndexedPackage:
    """Of a package that this process has pushed: no request. Raises NotAPackage."""
    # Spack's dictionaries hold tuples and ordered types of its own; what is read back from JSON does not
    nodes = nodes_of_document(json.loads(json.dumps(spec_document)), tag)
    others = {name: int(value) for name, value in facts.items() if name != "prefix_length"}
    entry = PackageEntry(
        tag=tag,
        manifest=descriptor,
        layer=Descriptor(layer.descriptor.media_type, layer.descriptor.digest, layer.descriptor.size),
        diff_id=layer.diff_id,
        prefix_length=facts.get("prefix_length"),
        relocation=others,
        pusher=f"spack-oci {__version__}",
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


def _last_diff_id(config: Mapping[str, Any]) -> Optional[str]:
    try:
        return str(config["rootfs"]["diff_ids"][-1])
    except (KeyError, IndexError, TypeError):
        return None
