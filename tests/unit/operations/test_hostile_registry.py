# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What somebody who may write to a cache and has no key can put there, under a policy that requires a signature."""

import base64
import hashlib
import json

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, canonical_json, sha256_digest
from spack_oci.errors import BadSignature, NotSigned, TrustError
from spack_oci.index.publish import STATEMENT, read_document_manifest
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.trust.attach import attach
from spack_oci.operations.trust.guard import subject_of
from spack_oci.trust.policy import Policy
from spack_oci.trust.provenance import envelope
from spack_oci.trust.signatures import ANNOTATION, PAYLOAD_TYPE, signature_tag
from spack_oci.trust.verify import Signature
from support.memory_store import MemoryStore
from unit.operations.signed_caches import Client, edited, package
from unit.operations.signed_caches import sign as sign_all
from unit.operations.test_signing import fetched, put_signatures, sign
from unit.trust.cases import signature_over, signer

TWO = Policy("require", (signer("team").public, signer("other").public), threshold=2)


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


def put_layers(store, digest, layers):
    manifest = {"schemaVersion": 2, "config": put_bytes(store, b"{}", OCI_CONFIG).to_dict(), "layers": layers}
    store.put_manifest(canonical_json(manifest), OCI_MANIFEST, signature_tag(digest))


def layer(store, signature, **changes):
    text = base64.b64encode(signature.value).decode()
    payload = put_bytes(store, signature.payload, PAYLOAD_TYPE)
    return {**payload.to_dict(), "annotations": {ANNOTATION: text}, **changes}


def test_one_key_is_not_two_however_often_it_has_signed(store):
    tag = package(store)
    written = sign(store, tag)
    again = signature_over(written.signature.payload)  # another value: ECDSA signatures are random
    assert again.value != written.signature.value
    put_layers(store, written.subject.manifest, [layer(store, one) for one in (written.signature, again, again)])
    with pytest.raises(NotSigned, match="is signed by team only"):
        fetched(store, tag, policy=TWO)


def test_a_stranger_who_names_the_id_of_a_key_or_its_beginning_is_none(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    for key_id in (signer("team").public.id, signer("team").public.short_id, signer("team").public.id.upper()):
        put_signatures(store, subject.manifest, [signature_over(subject.payload(key_id), "stranger")])
        with pytest.raises(TrustError, match="is not signed as it has to be"):
            fetched(store, tag)


def test_a_digest_in_capitals_or_of_another_algorithm_leads_to_no_signature(store):
    tag = package(store)
    written = sign(store, tag)
    good = layer(store, written.signature)
    digest = written.subject.manifest
    there = store.get_manifest(signature_tag(digest))[1]
    capitals = there.replace(good["digest"].encode(), good["digest"].upper().encode())
    assert capitals != there
    store.manifests[sha256_digest(capitals)] = (OCI_MANIFEST, capitals)
    store.tagged[signature_tag(digest)] = sha256_digest(capitals)
    with pytest.raises(NotSigned):
        fetched(store, tag)
    longer = f"sha512:{hashlib.sha512(store.get_manifest(tag)[1]).hexdigest()}"
    store.delete_manifest(signature_tag(digest))
    put_layers(store, longer, [good])
    with pytest.raises(NotSigned):
        fetched(store, tag)


@pytest.mark.parametrize("place", ["package", "signatures"])
def test_an_index_of_manifests_stands_for_none_of_them(store, place):
    tag = package(store)
    written = sign(store, tag)
    where = tag if place == "package" else signature_tag(written.subject.manifest)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [store.resolve(where).to_dict()]}
    store.put_manifest(canonical_json(index), OCI_INDEX, where)
    with pytest.raises(BadSignature):
        fetched(store, tag)


def test_a_signed_image_or_a_referrer_is_no_package(store):
    tag = package(store)
    config = put_bytes(store, b'{"rootfs":{"diff_ids":[]}}', OCI_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "config": config.to_dict(),
        "layers": json.loads(store.get_manifest(tag)[1])["layers"],
    }
    image = store.put_manifest(canonical_json(manifest), OCI_MANIFEST, "app")
    subject = subject_of(find_package(store, tag))._replace(manifest=image.digest, dag_hash=None, layer=None)
    put_signatures(store, image.digest, [signature_over(subject.payload(signer("team").public.id))])
    attach(store, store.resolve(tag), b"{}", "application/spdx+json")
    (referrer,) = store.referrers(store.resolve(tag).digest)
    for digest in (image.digest, referrer.digest):
        store.tagged[tag] = digest
        with pytest.raises(BadSignature, match="is not a package|no Spack package"):
            fetched(store, tag)


def test_heaps_of_annotations_hide_no_signature_and_make_none(store):
    tag = package(store)
    written = sign(store, tag)
    noise = [layer(store, Signature(b"%d" % n, b"x"), annotations={f"a{n}": "x" * 1000}) for n in range(500)]
    noise += [layer(store, Signature(b"long", b"x" * 50_000))]
    put_layers(store, written.subject.manifest, [*noise, layer(store, written.signature)])
    assert fetched(store, tag)
    put_layers(store, written.subject.manifest, noise)
    with pytest.raises(NotSigned):
        fetched(store, tag)


def test_what_the_key_has_signed_of_another_kind_is_no_signature_of_a_package(store):
    """The statement of an index, and one of provenance, which the same key signs."""
    tag = package(store)
    sign_all(store, [])
    said = read_document_manifest(store)
    provenance = json.loads(envelope(b"{}", signer("team")))
    made = base64.b64decode(provenance["signatures"][0]["sig"])
    encoded = b"DSSEv1 %d %s 2 {}" % (len(provenance["payloadType"]), provenance["payloadType"].encode())
    assert signer("team").public.verifies(made, encoded)
    texts = [Signature(said.statement.encode(), base64.b64decode(said.statement_signature)), Signature(encoded, made)]
    put_signatures(store, store.resolve(tag).digest, texts)
    with pytest.raises(TrustError, match="is not signed as it has to be"):
        fetched(store, tag)


def test_a_signature_of_a_package_is_no_statement_about_an_index(store, tmp_path):
    tag = package(store)
    sign_all(store, [tag])
    made = sign(store, tag).signature
    text, value = made.payload.decode(), base64.b64encode(made.value).decode()
    edited(store, lambda m: m["annotations"].update({STATEMENT: text, f"{STATEMENT}.signature": value}))
    with pytest.raises(BadSignature, match="does not have the members"):
        Client(store, tmp_path).refresh()


def test_what_a_stranger_announces_for_a_key_becomes_no_signature(store):
    """A signer puts what others have announced beside its own: unverified, as it has not their keys."""
    tag = package(store)
    other = package(store, "other", "b" * 32)
    put_signatures(store, store.resolve(other).digest, [sign(store, tag).signature])
    sign_all(store, [other], by="other")
    with pytest.raises(TrustError):
        fetched(store, other, "b" * 32)
    assert fetched(store, other, "b" * 32, policy=Policy("require", (signer("other").public,)))


def test_an_index_that_is_frozen_is_taken_for_as_long_as_max_age_and_by_nobody_who_has_seen_a_newer_one(
    store, tmp_path
):
    first = package(store)
    sign_all(store, [first])
    frozen = dict(store.tagged)
    sign_all(store, [package(store, "new", "b" * 32)], at=1_800_000_100)
    policy = Policy("require", TWO.keys[:1], max_age=3600)
    knows, is_new, is_late = (
        Client(store, tmp_path / name, policy, now)
        for name, now in (("knows", 1_800_000_100), ("new", 1_800_000_200), ("late", 1_800_003_601))
    )
    assert len(knows.offered()) == 2
    store.tagged = frozen
    for client in (knows, is_late):
        with pytest.raises(
            TrustError, match="older than one|signed 60 minutes ago, and max_age of the policy is 60 minutes"
        ):
            client.refresh()
    assert len(is_new.offered()) == 1
