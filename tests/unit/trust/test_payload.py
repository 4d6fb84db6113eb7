# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The bytes that are signed: the same for the same facts, and read back strictly."""

import json
from pathlib import Path

import pytest
from spack_oci.errors import InvalidContent
from spack_oci.trust.payload import Subject, parse_payload, repository_of
from unit.trust.cases import subject

GOOD = json.loads(subject().payload("k"))


def changed(change):
    document = json.loads(json.dumps(GOOD))
    change(document)
    return json.dumps(document).encode()


def test_the_payload_depends_on_facts_and_key_alone():
    assert subject().payload("k") == subject().payload("k")
    assert subject().payload("k") != subject().payload("other")
    for name in ("manifest", "layer", "diff_id", "config", "sbom"):
        assert subject(**{name: "sha256:" + "0" * 64}).payload("k") != subject().payload("k")
    assert subject(dag_hash="b" * 32).payload("k") != subject().payload("k")


def test_it_has_the_members_that_cosign_and_podman_read():
    document = json.loads(subject().payload("k"))
    assert document["critical"] == {
        "identity": {"docker-reference": "registry.example/team/cache"},
        "image": {"docker-manifest-digest": subject().manifest},
        "type": "cosign container image signature",
    }
    assert all(isinstance(value, str) for value in document["optional"].values())
    assert set(document) == {"critical", "optional"}


def test_what_is_not_known_is_left_out():
    assert "sbom" not in subject().payload("k").decode()
    image = Subject("h/n", subject().manifest).payload("k")
    assert json.loads(image)["optional"] == {"org.spack-oci.key": "k"}


def test_it_is_read_back():
    payload = parse_payload(subject().payload("k"))
    assert (payload.repository, payload.manifest) == (subject().repository, subject().manifest)
    assert payload.text("org.spack-oci.package.hash") == "a" * 32


def test_the_payload_of_cosign_is_read():
    payload = parse_payload((Path(__file__).parent / "recorded/payload.json").read_bytes())
    assert payload.repository == "localhost:5000/team/cache"
    assert payload.optional == {"build": "7"}
    assert parse_payload(changed(lambda d: d.update(optional=None))).optional == {}
    assert parse_payload(changed(lambda d: d.pop("optional"))).optional == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(Critical={}),
        lambda d: d.pop("critical"),
        lambda d: d.update(critical=[]),
        lambda d: d["critical"].update(type="atomic container signature"),
        lambda d: d["critical"].update(type=None),
        lambda d: d["critical"].update(extra=1),
        lambda d: d["critical"].pop("image"),
        lambda d: d["critical"]["image"].update({"docker-manifest-digest": 7}),
        lambda d: d["critical"]["image"].update({"docker-manifest-digest": "sha256:abc"}),
        lambda d: d["critical"]["image"].update({"Docker-manifest-digest": "x"}),
        lambda d: d["critical"]["identity"].update({"docker-reference": None}),
        lambda d: d["critical"].update(identity="x"),
        lambda d: d.update(optional=[1]),
        lambda d: d.update(optional="text"),
    ],
)
def test_members_that_are_missing_unknown_or_of_another_type_are_refused(change):
    with pytest.raises(InvalidContent):
        parse_payload(changed(change))


@pytest.mark.parametrize("place", ["critical", "optional", "docker-manifest-digest", "org.spack-oci.package.hash"])
def test_a_name_that_appears_twice_is_refused(place):
    text = subject().payload("k").decode()
    value = json.dumps(json.loads(text).get(place, "x"))
    twice = text.replace(f'"{place}":', f'"{place}":{value},"{place}":')
    with pytest.raises(InvalidContent, match="twice"):
        parse_payload(twice.encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"7", b"{", b"\xff\xfe{}", b"[" * 5000, b'{"critical":NaN}', b" " * (65 << 10)],
)
def test_what_is_no_payload_is_refused(data):
    with pytest.raises(InvalidContent):
        parse_payload(data)


@pytest.mark.parametrize(
    "data",
    [
        subject().payload("k").replace(b'"optional":{', b'"optional":{"further":NaN,'),
        subject().payload("k") + b" " * (64 << 10),
    ],
    ids=["not a number", "64 KiB"],
)
def test_a_payload_that_is_good_otherwise_is_refused(data):
    with pytest.raises(InvalidContent):
        parse_payload(data)


def test_a_value_of_ours_that_is_no_text_is_refused():
    payload = parse_payload(changed(lambda d: d["optional"].update({"org.spack-oci.layer.size": 5})))
    with pytest.raises(InvalidContent, match="no text"):
        payload.text("org.spack-oci.layer.size")


def test_the_repository_of_a_store_is_named_as_cosign_does():
    assert repository_of("oci://registry.example/team/cache") == "registry.example/team/cache"
    assert repository_of("oci+http://localhost:5000/cache") == "localhost:5000/cache"
    assert repository_of("oci+file:///srv/cache") == "oci-layout"
