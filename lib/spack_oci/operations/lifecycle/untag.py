# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Taking a tag away from a manifest in a registry that deletes no tags, as regclient does it (``regctl tag delete``).

The tag is moved to a manifest of its own that says that nothing is there, and that manifest is deleted by its digest,
which takes the tag with it. Where not even that is allowed, the tag stays on it: the package is gone for readers, and
what it was is untagged, so that the registry's own clean-up of untagged manifests frees it.
https://github.com/regclient/regclient/blob/main/scheme/reg/tag.go
"""

from typing import Optional

from ...content import ContentStore, put_bytes
from ...descriptor import OCI_EMPTY, OCI_MANIFEST, canonical_json
from ...errors import NotFound, ResponseError

REMOVED_TYPE = "application/vnd.spack-oci.removed.v1"


def untag(store: ContentStore, tag: str, was: str) -> Optional[str]:
    """``was``: the digest of the manifest that loses the tag. The digest of the one that has it now; None: it is gone.

    The manifest that takes the tag is one of this tag and this package, so that to delete it takes nobody else's.
    """
    config = put_bytes(store, b"{}", OCI_EMPTY).to_dict()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": REMOVED_TYPE,
        "config": config,
        "layers": [config],
        "annotations": {"org.spack-oci.removed": f"{tag} {was}"},
    }
    placed = store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
    try:
        store.delete_manifest(placed.digest)
    except NotFound:
        return None
    except ResponseError:
        return placed.digest
    return None
