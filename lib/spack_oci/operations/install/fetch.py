# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Find a package in a store."""

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from ...content import ContentReader
from ...descriptor import Descriptor
from ...package.documents import read_package_documents
from ...package.relocation_summary import summary_of_annotations


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
    relocation_summary: Mapping[str, int] = field(default_factory=dict, repr=False)
    #: None: the index, which this was found in, does not say
    config: Optional[Descriptor] = None


def find_package(store: ContentReader, tag: str, *, expected_hash: Optional[str] = None) -> RemotePackage:
    """The package behind ``tag``: two requests. Raises what
    :func:`~spack_oci.package.documents.read_package_documents` raises.
    """
    found = read_package_documents(store, tag, expected_hash=expected_hash)
    return RemotePackage(
        tag,
        found.dag_hash,
        found.manifest,
        found.layer.descriptor,
        found.layer.diff_id or None,
        found.document,
        store.url,
        summary_of_annotations(found.annotations),
        found.config,
    )
