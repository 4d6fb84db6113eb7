# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Statements of provenance: what they say, and an envelope that others verify."""

import base64
import json

from spack_oci.descriptor import sha256_digest
from spack_oci.trust.provenance import BuildFacts, envelope, statement
from spack_oci.trust.sbom import Source
from support.programs.cosign import cosign
from unit.trust.cases import signer, subject

FACTS = BuildFacts(
    [Source("https://zlib.example/z.tar.gz", "1" * 64)],
    [("https://github.com/spack/spack-packages", "a" * 40)],
    "1.1.0",
)
NODE = {"name": "zlib", "version": "1.3", "hash": "a" * 32}
DEPENDENCIES = [("glibc@2.36/abcdefg", "sha256:" + "2" * 64)]


def made(about=None):
    return statement(about or subject(), "zlib-1.3.spack", NODE, FACTS, DEPENDENCIES)


def test_it_says_what_was_built_of_what_by_whom():
    document = json.loads(made())
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    (about,) = document["subject"]
    assert about["digest"] == {"sha256": subject().manifest.partition(":")[2]}
    definition = document["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["spec"] == NODE
    assert {json.dumps(d, sort_keys=True) for d in definition["resolvedDependencies"]} == {
        json.dumps(d, sort_keys=True)
        for d in (
            {"uri": "https://zlib.example/z.tar.gz", "digest": {"sha256": "1" * 64}},
            {"uri": "https://github.com/spack/spack-packages", "digest": {"gitCommit": "a" * 40}},
            {"name": "glibc@2.36/abcdefg", "digest": {"sha256": "2" * 64}},
        )
    }
    assert document["predicate"]["runDetails"]["builder"]["version"]["spack"] == "1.1.0"


def test_the_same_build_has_the_same_statement():
    assert made() == made()


def test_the_envelope_is_signed_as_dsse_says():
    document = json.loads(envelope(made(), signer()))
    payload = base64.b64decode(document["payload"])
    assert payload == made()
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    (signature,) = document["signatures"]
    assert signature["keyid"] == signer().public.id
    assert signer().public.verifies(base64.b64decode(signature["sig"]), encoded)


def test_cosign_verifies_the_envelope(tmp_path):
    (tmp_path / "manifest").write_bytes(b"manifest")
    about = subject()._replace(manifest=sha256_digest(b"manifest"))
    (tmp_path / "envelope").write_bytes(envelope(made(about), signer()))
    (tmp_path / "key.pub").write_bytes(signer().public.pem)
    options = ["--key", str(tmp_path / "key.pub"), "--insecure-ignore-tlog=true", "--type", "slsaprovenance1"]
    cosign("verify-blob-attestation", *options, "--signature", str(tmp_path / "envelope"), str(tmp_path / "manifest"))
