# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What a signature is made over: cosign's simple signing payload (sigstore ``pkg/signature/payload``, containers/image
``docs/containers-signature.5.md``).

Ours depends on the package and the key alone, so that whoever knows both can make it again instead of fetching it, and
two signers never make the same layer (Quay refuses a manifest that has one twice). No clock is in it.
"""

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..descriptor import canonical_json, check_digest
from ..errors import InvalidContent, InvalidReference

TYPE = "cosign container image signature"
#: bytes; ours have some 900
MAX_PAYLOAD = 64 << 10

#: names below ``optional``; ``cosign verify -a NAME=VALUE`` asks for them
DAG_HASH = "org.spack-oci.package.hash"
LAYER = "org.spack-oci.layer.digest"
LAYER_SIZE = "org.spack-oci.layer.size"
DIFF_ID = "org.spack-oci.layer.diff-id"
CONFIG = "org.spack-oci.config.digest"
SBOM = "org.spack-oci.sbom.digest"
KEY_ID = "org.spack-oci.key"

#: what a signature in a layout directory names as its repository: such a directory has no name of its own
NO_REPOSITORY = "oci-layout"


class Subject(NamedTuple):
    """What is signed of a package, or of an image (which has no DAG hash and no layer of its own). Digests."""

    #: HOST/NAME, see :func:`repository_of`
    repository: str
    manifest: str
    dag_hash: Optional[str] = None
    layer: Optional[str] = None
    layer_size: Optional[int] = None
    diff_id: Optional[str] = None
    config: Optional[str] = None
    sbom: Optional[str] = None

    def optional(self, key_id: str) -> Dict[str, str]:
        size = None if self.layer_size is None else str(self.layer_size)
        values = {
            CONFIG: self.config,
            DAG_HASH: self.dag_hash,
            DIFF_ID: self.diff_id,
            KEY_ID: key_id,
            LAYER: self.layer,
            LAYER_SIZE: size,
            SBOM: self.sbom,
        }
        return {name: value for name, value in sorted(values.items()) if value is not None}

    def payload(self, key_id: str) -> bytes:
        """The bytes that the key with ``key_id`` signs."""
        return canonical_json(
            {
                "critical": {
                    "identity": {"docker-reference": self.repository},
                    "image": {"docker-manifest-digest": self.manifest},
                    "type": TYPE,
                },
                "optional": self.optional(key_id),
            }
        )


class Payload(NamedTuple):
    """A payload that was read. ``optional``: as it is; values of ours are strings."""

    repository: str
    manifest: str
    optional: Mapping[str, Any] = {}

    def text(self, name: str) -> Optional[str]:
        """Raises InvalidContent for a value of ours that is no string."""
        value = self.optional.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidContent(f"a signature's payload says {value!r} for {name}, which is no text")
        return value


def repository_of(url: str) -> str:
    """``HOST/NAME`` of a store's URL, which is what cosign and podman call the repository; of a snapshot, that of the
    cache that it is a part of."""
    scheme, _, place = url.partition("://")
    host, slash, name = place.partition("/")
    return NO_REPOSITORY if scheme == "oci+file" else f"{host}{slash}{name.partition(':')[0]}"


def parse_payload(data: bytes) -> Payload:
    """Raises InvalidContent for everything that is not exactly one simple signing payload.

    Parsers differ in what they make of duplicate or unknown members, so what was signed could mean one thing to the
    signer and another here; such payloads are refused.
    """
    document = parse_strict(data, "a signature's payload")
    critical, optional = _members(document, "the payload", ("critical", "optional"), ("optional",))
    identity, image, kind = _members(critical, "critical", ("identity", "image", "type"))
    (repository,) = _members(identity, "identity", ("docker-reference",))
    (manifest,) = _members(image, "image", ("docker-manifest-digest",))
    if kind != TYPE:
        raise _refused(f"its type is {str(kind)[:80]!r}")
    if not isinstance(repository, str):
        raise _refused("its docker-reference is no text")
    try:
        check_digest(manifest)
    except InvalidReference as e:
        raise _refused(e.message) from None
    if optional is not None and not isinstance(optional, dict):
        raise _refused("optional is no object")
    return Payload(repository, manifest, optional or {})


def parse_strict(data: bytes, label: str) -> Any:
    """JSON that means the same to every parser: no duplicate names, no NaN, no half of a surrogate pair. Raises
    InvalidContent."""
    if len(data) > MAX_PAYLOAD:
        raise InvalidContent(f"{label} is refused: it has {len(data)} bytes, more than {MAX_PAYLOAD}")
    try:
        document = _STRICT.decode(data.decode("utf-8"))
        if b"\\u" in data:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as e:
        raise InvalidContent(f"{label} is refused: {e}") from None
    if not isinstance(document, dict):
        raise InvalidContent(f"{label} is refused: it is no object")
    return document


def _members(value: Any, label: str, names: Tuple[str, ...], may_lack: Tuple[str, ...] = ()) -> List[Any]:
    if not isinstance(value, dict) or not set(names) - set(may_lack) <= value.keys() <= set(names):
        raise _refused(f"{label} does not consist of {', '.join(names)}")
    return [value.get(name) for name in names]


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _refused(why: str) -> InvalidContent:
    return InvalidContent(f"a signature's payload is refused: {why}")
