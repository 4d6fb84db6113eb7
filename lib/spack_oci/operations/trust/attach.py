# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Documents about a manifest, as its referrers: an SBOM, a statement of provenance.

A referrer is an artifact manifest whose ``subject`` is what it is about (image-spec, manifest.md). On registries
without the referrers API, the client that puts it keeps the list under a fallback tag (distribution-spec).
"""

import contextlib
from typing import Collection, Optional

from ...content import BytesSource, ContentStore, Presence, RepositoryWriter, put_bytes, read_blob
from ...descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor, canonical_json, parse_json
from ...errors import ContentError, InvalidContent, NotFound

_EMPTY = b"{}"
#: bytes; an environment of 1,000 packages has some 3 MB
MAX_ATTACHED = 256 << 20
#: referrers that are looked through for a certain document; somebody may have attached a heap of them
MOST_ATTACHED = 32


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


def attached(store: ContentStore, digest: str, artifact_type: str, preferred: Collection[str] = ()) -> Optional[bytes]:
    """The last document of a type that is attached to a manifest; None: there is none. Raises InvalidContent.

    ``preferred``: digests; a document with one of them goes before others that came later.
    """
    referrers = list(store.referrers(digest, artifact_type))
    if not referrers:
        return None
    last = referrers[-1]
    for other in reversed(referrers[-MOST_ATTACHED:] if preferred else ()):
        with contextlib.suppress(ContentError):  # somebody else's
            if _document_of(store, other).digest in preferred:
                last = other
                break
    try:
        return read_blob(store, _document_of(store, last), MAX_ATTACHED)
    except NotFound as e:
        raise InvalidContent(f"the document of {last.digest} is missing: {e.message}") from e


def _document_of(store: ContentStore, referrer: Descriptor) -> Descriptor:
    label = f"{referrer.digest} of {store.url}"
    manifest = parse_json(store.get_manifest(referrer.digest)[1], label)
    try:
        return Descriptor.from_dict(manifest["layers"][0])
    except (KeyError, IndexError, TypeError):
        raise InvalidContent(f"{label} has no layer") from None
