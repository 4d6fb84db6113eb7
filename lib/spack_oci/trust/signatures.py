# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""cosign's classic signature manifest as a document: tag ``sha256-HEX.sig``, one layer for each signature.

The blob of a layer is the payload, its annotation the signature (cosign ``specs/SIGNATURE_SPEC.md``). What others have
put there (certificates, bundles, whole layers of other kinds) is carried along as it is.
"""

import base64
import binascii
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor, canonical_json, check_digest, parse_json
from ..errors import InvalidContent, SigningError
from .payload import MAX_PAYLOAD
from .verify import Signature

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"

#: layers that a manifest may have for us to add one
MAX_LAYERS = 1000
#: characters of a signature; RSA with 16384 bits has 2732
_MAX_VALUE = 8192
_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]+)\.sig\Z")

#: the config of the manifests that we begin. cosign's own lists the layers once more; nobody reads that
CONFIG = b"{}"


def signature_tag(digest: str) -> str:
    """The tag of the signatures of the manifest with ``digest``."""
    return check_digest(digest).replace(":", "-") + ".sig"


def signed_digest(tag: str) -> Optional[str]:
    """The digest of the manifest whose signatures ``tag`` holds; None for any other tag."""
    match = _TAG.match(tag)
    return f"{match.group(1)}:{match.group(2)}" if match else None


class SignatureLayer(NamedTuple):
    """``payload``: descriptor of what was signed; ``value``: the signature."""

    payload: Descriptor
    value: bytes


def read_signatures(data: bytes, label: str) -> List[SignatureLayer]:
    """The signatures that a manifest holds, in its order; what is none is left out. Raises InvalidContent if nothing
    of it is a signature manifest. ``label``: for messages."""
    found = []
    for layer in _layers(parse_json(data, label), label):
        signature = _signature(layer)
        if signature is not None:
            found.append(signature)
    return found


def _layers(manifest: Mapping[str, Any], label: str) -> List[Any]:
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise InvalidContent(f"{label} is no signature manifest: it has no layers")
    return layers


def _signature(layer: Any) -> Optional[SignatureLayer]:
    try:
        descriptor = Descriptor.from_dict(layer)
        text = descriptor.annotations[ANNOTATION]
        if descriptor.media_type != PAYLOAD_TYPE or descriptor.size > MAX_PAYLOAD or len(text) > _MAX_VALUE:
            return None
        return SignatureLayer(descriptor, base64.b64decode(text, validate=True))
    except (InvalidContent, KeyError, TypeError, AttributeError, binascii.Error, ValueError):
        return None


def add_signatures(existing: Optional[bytes], new: Sequence[Signature], label: str) -> Optional[bytes]:
    """The manifest with ``new`` in it; None if it has all of them already. ``existing``: as it is stored, if it is.

    A layer with the same payload is replaced, as no manifest may have one twice: by construction it is the same key's.
    Raises SigningError for a manifest that is full or none.
    """
    try:
        manifest: Dict[str, Any] = parse_json(existing, label) if existing is not None else _empty()
        layers = list(_layers(manifest, label))
    except InvalidContent as e:
        raise SigningError(f"cannot add a signature to {label}: {e.message}", remedy="delete that tag") from e
    before = list(layers)
    for signature in new:
        layer = _layer(signature)
        same = [n for n, other in enumerate(layers) if _same_payload(other, layer)]
        if same:
            layers[same[0]] = layer
            further = set(same[1:])
            layers = [other for n, other in enumerate(layers) if n not in further]
        else:
            layers.append(layer)
    if layers == before and existing is not None:
        return None
    if len(layers) > MAX_LAYERS:
        raise SigningError(
            f"{label} holds {len(layers)} signatures, more than {MAX_LAYERS}",
            remedy="somebody has filled it; delete that tag and sign again",
        )
    return canonical_json({**manifest, "layers": layers})


def holds(data: bytes, signatures: Sequence[Signature], label: str) -> bool:
    """Whether the manifest ``data`` has a signature over each of these payloads, of whatever value."""
    digests = {layer.payload.digest for layer in read_signatures(data, label)}
    return all(payload_descriptor(s).digest in digests for s in signatures)


def payload_descriptor(signature: Signature) -> Descriptor:
    return Descriptor.of(signature.payload, PAYLOAD_TYPE)


def _layer(signature: Signature) -> Dict[str, Any]:
    text = base64.b64encode(signature.value).decode()
    return Descriptor.of(signature.payload, PAYLOAD_TYPE, annotations={ANNOTATION: text}).to_dict()


def _same_payload(layer: Any, other: Mapping[str, Any]) -> bool:
    return isinstance(layer, dict) and layer.get("digest") == other["digest"]


def _empty() -> Dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor.of(CONFIG, OCI_CONFIG).to_dict(),
        "layers": [],
    }
