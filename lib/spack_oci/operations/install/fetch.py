# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Find a package in a store and bring its layer to the disk.

A package is a manifest behind a tag whose config blob is also Spack's spec file and whose last layer is the tarball of
the prefix (docs/format.md).
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from ...content import ContentStore, read_blob
from ...descriptor import MANIFEST_TYPES, Descriptor, parse_json
from ...errors import InvalidContent, NotAPackage
from ...package.relocation_summary import facts_from_annotations

#: the newest ``buildcache_layout_version`` known; Spack 1.0 and 1.1 write 3, all others 2 (Spack's get_valid_spec_file)
MAX_LAYOUT_VERSION = 3

#: configs with the specs of large environments
MAX_CONFIG_SIZE = 64 << 20

_READ = 1 << 20


@dataclass(frozen=True)
class RemotePackage:
    """A package in a store."""

    tag: str
    #: dag hash
    dag_hash: str
    manifest: Descriptor
    #: the tarball of the prefix
    layer: Descriptor
    #: digest of the uncompressed tarball, if the config names it
    diff_id: Optional[str]
    #: ``{"spec": {...}, ...}``: the whole config
    document: Mapping[str, Any] = field(repr=False)
    #: URL of the store that it is in
    url: str = ""
    #: what its pusher told about relocation, see :class:`spack_oci.archive.pack.RelocationSummary`; empty: nothing
    facts: Mapping[str, int] = field(default_factory=dict, repr=False)


def find_package(store: ContentStore, tag: str, *, expected_hash: Optional[str] = None) -> RemotePackage:
    """The package behind ``tag``: two requests, manifest and config.

    Raises NotFound only if the store says so; NotAPackage for something else behind that tag, for another package than
    ``expected_hash``, and for a layout version that is not supported; and every other error of the store as it is.
    """
    what = f"{store.url}:{tag}"
    descriptor, data = store.get_manifest(tag)
    if descriptor.media_type not in MANIFEST_TYPES:
        raise NotAPackage(f"{what} is no image manifest but {descriptor.media_type}")
    manifest = parse_json(data, f"the manifest {what}")
    config, layers = _descriptors(manifest, what)
    document = parse_json(read_blob(store, config, MAX_CONFIG_SIZE), f"the config of {what}")
    dag_hash = check_document(document, what, expected_hash)
    annotations = manifest.get("annotations")
    facts: Dict[str, int] = facts_from_annotations(annotations) if isinstance(annotations, dict) else {}
    return RemotePackage(tag, dag_hash, descriptor, layers[-1], _diff_id(document, layers), document, store.url, facts)


def check_document(document: Mapping[str, Any], what: str, expected_hash: Optional[str] = None) -> str:
    """The dag hash of the package that a config (a spec file) describes. Raises NotAPackage."""
    spec = document.get("spec")
    nodes = spec.get("nodes") if isinstance(spec, dict) else None
    if not isinstance(nodes, list) or not nodes or not isinstance(nodes[0], dict):
        raise NotAPackage(f"{what} is no Spack package: its config holds no spec")
    dag_hash = nodes[0].get("hash")
    if not isinstance(dag_hash, str) or (expected_hash is not None and dag_hash != expected_hash):
        raise NotAPackage(
            f"{what} is another package: {dag_hash}, not {expected_hash}",
            remedy="its tag was overwritten; push the package again with --force",
        )
    version = document.get("buildcache_layout_version", 0)
    if not isinstance(version, int) or version > MAX_LAYOUT_VERSION:
        raise NotAPackage(
            f"{what} has the build cache layout version {version!r}; {MAX_LAYOUT_VERSION} is the newest one known",
            remedy="update spack-oci, or push the package again",
        )
    return dag_hash


def _descriptors(manifest: Mapping[str, Any], what: str) -> tuple:
    try:
        config = Descriptor.from_dict(manifest["config"])
        layers = [Descriptor.from_dict(layer) for layer in manifest["layers"]]
    except (KeyError, TypeError, InvalidContent) as e:
        raise NotAPackage(f"the manifest {what} is not one of a package ({type(e).__name__}: {e})") from e
    if not layers:
        raise NotAPackage(f"the manifest {what} has no layers")
    return config, layers


def _diff_id(document: Mapping[str, Any], layers: List[Descriptor]) -> Optional[str]:
    """The last of ``rootfs.diff_ids``, if there is one for each layer."""
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != len(layers) or not isinstance(diff_ids[-1], str):
        return None
    return diff_ids[-1]
