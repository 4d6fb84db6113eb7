# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""cosign's signature manifest: read without trust in it, added to without loss."""

import json
from pathlib import Path

import pytest
from spack_oci.errors import InvalidContent, SigningError
from spack_oci.trust.signatures import (
    ANNOTATION,
    MAX_LAYERS,
    add_signatures,
    holds,
    read_signatures,
    signature_tag,
    signed_digest,
)
from unit.trust.cases import signed, subject

COSIGN = (Path(__file__).parent / "recorded/manifest.json").read_bytes()


def test_the_tag_is_that_of_cosign():
    digest = subject().manifest
    assert signature_tag(digest) == f"sha256-{digest[7:]}.sig"
    assert signed_digest(signature_tag(digest)) == digest
    assert signed_digest("zlib-1.3-abc.spack") is None


def test_a_manifest_is_begun_and_read_back():
    data = add_signatures(None, [signed()], "x")
    (found,) = read_signatures(data, "x")
    assert found.value == signed().value or found.payload.size == len(signed().payload)
    assert holds(data, [signed()], "x")
    assert not holds(data, [signed("other")], "x")


def test_what_cosign_wrote_is_kept():
    data = add_signatures(COSIGN, [signed()], "x")
    before, after = json.loads(COSIGN), json.loads(data)
    assert after["layers"][0] == before["layers"][0]
    assert after["config"] == before["config"]
    assert len(read_signatures(data, "x")) == 2


def test_layers_of_other_kinds_and_further_members_are_carried_along():
    strange = {"mediaType": "text/plain", "digest": subject().layer, "size": 3, "annotations": {"a": "b"}}
    manifest = {**json.loads(COSIGN), "layers": [strange], "annotations": {"who": "else"}}
    after = json.loads(add_signatures(json.dumps(manifest).encode(), [signed()], "x"))
    assert after["layers"][0] == strange
    assert after["annotations"] == {"who": "else"}


def test_the_same_signature_again_changes_nothing():
    one = signed()
    data = add_signatures(None, [one], "x")
    assert add_signatures(data, [one], "x") is None


def test_one_payload_stands_there_once():
    data = add_signatures(None, [signed()], "x")
    again = add_signatures(data, [signed()], "x")  # ECDSA: another value each time
    assert len(read_signatures(again, "x")) == 1


def test_a_full_manifest_is_left_alone():
    layers = [json.loads(COSIGN)["layers"][0]] * MAX_LAYERS
    full = json.dumps({**json.loads(COSIGN), "layers": layers}).encode()
    with pytest.raises(SigningError, match="more than 1000"):
        add_signatures(full, [signed()], "x")


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.update(mediaType="text/plain"),
        lambda layer: layer.update(size=70000),
        lambda layer: layer.update(size=-1),
        lambda layer: layer.update(digest="sha256:abc"),
        lambda layer: layer.pop("annotations"),
        lambda layer: layer.update(annotations=[ANNOTATION]),
        lambda layer: layer.update(annotations={ANNOTATION: "not base64!"}),
        lambda layer: layer.update(annotations={ANNOTATION: 7}),
        lambda layer: layer.update(annotations={ANNOTATION: "A" * 9000}),
    ],
)
def test_a_layer_that_is_no_signature_is_left_out(change):
    manifest = json.loads(COSIGN)
    odd = json.loads(json.dumps(manifest["layers"][0]))
    change(odd)
    manifest["layers"].insert(0, odd)
    assert len(read_signatures(json.dumps(manifest).encode(), "x")) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"layers":7}', b"not json"])
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(InvalidContent):
        read_signatures(data, "x")
    with pytest.raises(SigningError):
        add_signatures(data, [signed()], "x")


def test_layers_that_are_no_objects_are_left_out():
    assert read_signatures(b'{"layers":[7,null,"x",[]]}', "x") == []
