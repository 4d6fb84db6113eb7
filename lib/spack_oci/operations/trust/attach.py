# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Documents about a manifest, as its referrers: an SBOM, a statement of provenance.

A referrer is an artifact manifest whose ``subject`` is what it is about (image-spec, manifest.md). On registries
without the referrers API, the client that puts it keeps the list under a fallback tag (distribution-spec).
"""

from typing import Optional

from ...content import BytesSource, ContentStore, Presence, RepositoryWriter, put_bytes, read_blob
from ...descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor, canonical_json, parse_json
from ...errors import InvalidContent, NotFound

_EMPTY = b"{}"
#: bytes; an environment of 1,000 packages has some 3 MB
MAX_ATTACHED = 256 << 20


def attach(store: RepositoryWriter, subject: Descriptor, data: bytes, artifact_type: str) -> Descriptor:
    """Attach ``data`` to the manifest ``subject``, which need not be there yet; the descriptor of the blob."""
    blob = Descriptor.of(data, artifact_type)
    store.put_blob(blob, BytesSource(data), presence=Presence.UNLIKELY)
    config = put_bytes(store, _EMPTY, OCI_EMPTY)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.to_dict(),
        "layers": [blob.to_dict()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).to_dict(),
    }
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST)
    return blob


def attached(store: ContentStore, digest: str, artifact_type: str) -> Optional[bytes]:
    """The last document of a type that is attached to a manifest; None: there is none. Raises InvalidContent."""
    referrers = list(store.referrers(digest, artifact_type))
    if not referrers:
        return None
    last = referrers[-1]
    _, data = store.get_manifest(last.digest)
    manifest = parse_json(data, f"{last.digest} of {store.url}")
    try:
        blob = Descriptor.from_dict(manifest["layers"][0])
    except (KeyError, IndexError, TypeError):
        raise InvalidContent(f"{last.digest} of {store.url} has no layer") from None
    try:
        return read_blob(store, blob, MAX_ATTACHED)
    except NotFound as e:
        raise InvalidContent(f"the document of {last.digest} is missing: {e.message}") from e
