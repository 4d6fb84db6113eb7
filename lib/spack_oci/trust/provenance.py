# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""How a package was made: an in-toto statement with a SLSA v1 predicate, in a signed DSSE envelope.

https://slsa.dev/spec/v1.0/provenance, https://github.com/in-toto/attestation (spec/v1), and for the envelope
https://github.com/secure-systems-lab/dsse (protocol.md). It is attached as an envelope, not as a Sigstore bundle:
cosign 3 takes any bundle of a key that verifies for a signature of the image.
"""

import base64
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from .. import __version__
from ..descriptor import canonical_json
from .payload import Subject
from .sbom import Source
from .signers import Signer

#: of the envelope, and of what is in it
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://spack.io/spack-oci/buildtypes/spec/v1"
BUILDER = "https://spack.io/spack"


class BuildFacts(NamedTuple):
    """What the pusher knows. ``repositories``: (URL or directory name, commit) of repositories of packages;
    ``spack``: its version."""

    sources: Sequence[Source] = ()
    repositories: Sequence[Tuple[str, str]] = ()
    spack: str = ""


def statement(
    subject: Subject,
    name: str,
    spec: Mapping[str, Any],
    facts: BuildFacts,
    dependencies: Sequence[Tuple[str, str]],
) -> bytes:
    """``name``: of the package, for people; ``spec``: its node; ``dependencies``: (label, digest of the layer) of what
    is in its image besides. A pure function of these."""
    resolved: List[Dict[str, Any]] = []
    for source in facts.sources:
        entry: Dict[str, Any] = {"uri": source.url}
        if source.sha256:
            entry["digest"] = {"sha256": source.sha256}
        resolved.append(entry)
    resolved += [{"uri": url, "digest": {"gitCommit": commit}} for url, commit in facts.repositories]
    resolved += [{"name": label, "digest": _digest(digest)} for label, digest in dependencies]
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": f"{subject.repository}:{name}", "digest": _digest(subject.manifest)}],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"spec": spec},
                    "resolvedDependencies": resolved,
                },
                "runDetails": {
                    "builder": {"id": BUILDER, "version": {"spack": facts.spack, "spack-oci": __version__}},
                    "metadata": {"invocationId": subject.dag_hash or ""},
                },
            },
        }
    )


def _digest(digest: str) -> Dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def envelope(payload: bytes, signer: Signer) -> bytes:
    """The DSSE envelope of a statement. Raises SigningError."""
    signature = signer.sign(_encoded(payload))
    return canonical_json(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": signer.public.id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's PAE."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
