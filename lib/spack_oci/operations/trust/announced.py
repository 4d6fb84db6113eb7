# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What each key has signed last, where other signers look for it: ``spack-oci.signed.KEYID``, an artifact whose layer
has the form of the index's signatures, by the digests of manifests.

The tag of signatures and the index are each written by several, and who writes last may have read before the others
wrote. This tag is written by the owners of one key alone, before their last look at the tags. So of all who sign a
package with different keys, whoever announces last finds what all others have announced.
"""

from typing import Callable, Collection, Dict, Iterator, Mapping, Tuple

from ...content import BytesSource, ContentReader, Presence, RepositoryWriter, put_bytes, read_blob
from ...descriptor import OCI_EMPTY, OCI_MANIFEST, Descriptor, canonical_json, parse_json
from ...errors import DigestMismatch, InvalidContent, NotFound
from ...index.publish import signature_table
from ...index.signature_table import (
    MAX_SIGNATURES_SIZE,
    SIGNATURES_TYPE,
    SIGNED_PREFIX,
    SignatureTable,
    SignedPackage,
    compress_table,
)
from ...trust.payload import Subject
from ...trust.verify import Signature

ARTIFACT_TYPE = "application/vnd.spack-oci.signed.v1"
#: keys of others whose announcements are read, so that no heap of them holds up a push
MOST_KEYS = 64


def announce(store: RepositoryWriter, key_id: str, signed: Mapping[str, SignedPackage]) -> None:
    """``signed``: by digest of the manifest, what the key has signed just now. Three requests."""
    data = compress_table(signed)
    layer = Descriptor.of(data, SIGNATURES_TYPE)
    store.put_blob(layer, BytesSource(data), presence=Presence.UNLIKELY)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": put_bytes(store, b"{}", OCI_EMPTY).to_dict(),
        "layers": [layer.to_dict()],
    }
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, SIGNED_PREFIX + key_id)


class Announced:
    """What others announce in one repository, each read again only when it has changed."""

    def __init__(self, store: ContentReader, warn: Callable[[str], None]) -> None:
        self._store = store
        self._warn = warn
        #: key id -> digest of the announcement, and what it says
        self._read: Dict[str, Tuple[str, SignatureTable]] = {}

    def look(self, key_ids: Collection[str]) -> None:
        """A request for each key, and one for each that has announced something else since."""
        for key_id in sorted(key_ids)[:MOST_KEYS]:
            try:
                self._read[key_id] = self._announced(key_id)
            except (NotFound, InvalidContent, DigestMismatch) as e:
                self._warn(f"what the key {key_id[:12]} has signed last cannot be read: {e}")

    def signatures_of(self, subject: Subject) -> Iterator[Signature]:
        """Those of others over the same manifest. They are not verified."""
        for key_id, (_, table) in self._read.items():
            found = table.get(subject.manifest, SignedPackage(()))
            payload = subject._replace(sbom=found.sbom).payload(key_id)
            yield from (Signature(payload, signature.value) for signature in found.signatures[:1])

    def _announced(self, key_id: str) -> Tuple[str, SignatureTable]:
        descriptor, data = self._store.get_manifest(SIGNED_PREFIX + key_id)
        known = self._read.get(key_id)
        if known is not None and known[0] == descriptor.digest:
            return known
        label = f"{SIGNED_PREFIX}{key_id} of {self._store.url}"
        try:
            layer = Descriptor.from_dict(parse_json(data, label)["layers"][0])
        except (KeyError, IndexError, TypeError):
            raise InvalidContent(f"{label} has no layer") from None
        return descriptor.digest, signature_table(read_blob(self._store, layer, MAX_SIGNATURES_SIZE))
