# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signatures in a store: nothing is lost when signers meet, and what others put there harms nobody."""

import json
import os

import pytest
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_CONFIG, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.errors import (
    BadSignature,
    NotFound,
    NotSigned,
    ServerFailure,
    SigningError,
    TrustError,
)
from spack_oci.layout import open_layout
from spack_oci.operations.check.findings import Kind
from spack_oci.operations.check.package_level import Rules
from spack_oci.operations.check.verify import verify_cache
from spack_oci.operations.install.closure import refused, untrusted_error
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.install.locate import check_package, fetch_package
from spack_oci.operations.install.outcome import FAILED, SKIPPED, InstallItem
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.trust.attach import attach, attached
from spack_oci.operations.trust.guard import Guard, subject_of
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.operations.trust.stored import MOST_OF_OURS, MOST_PAYLOADS, stored_signatures
from spack_oci.operations.trust.write import Pace, SignatureWriter
from spack_oci.reference import LayoutDirectory
from spack_oci.trust.keys import PublicKey
from spack_oci.trust.policy import Policy
from spack_oci.trust.signatures import (
    ANNOTATION,
    PAYLOAD_TYPE,
    add_signatures,
    payload_descriptor,
    read_signatures,
    signature_tag,
)
from support.memory_store import MemoryStore
from support.packages.cache_builder import node, push_package, tag_of
from unit.operations.signed_caches import package
from unit.trust.cases import signature_over, signed, signer, subject

POLICY = Policy("require", (signer("team").public,))
QUICK = Pace(settle=0.0, shortest=0.0)


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


def sign(store, tag, by="team"):
    (outcome,) = sign_packages(store, [tag], signer(by))
    assert outcome.error is None, outcome.error
    return outcome.written


def fetched(store, tag, dag_hash="a" * 32, policy=POLICY):
    """What an install would fetch."""
    return fetch_package(store, tag, dag_hash, lambda remote: remote.layer.digest, guard=Guard(policy, store))[1]


def layers_of(store, written):
    _, data = store.get_manifest(signature_tag(written.subject.manifest))
    return read_signatures(data, "x")


def put_signatures(store, manifest, signatures):
    """What somebody else may put there."""
    for signature in signatures:
        put_bytes(store, signature.payload, PAYLOAD_TYPE)
    put_bytes(store, b"{}", OCI_CONFIG)
    store.put_manifest(add_signatures(None, signatures, "x"), OCI_MANIFEST, signature_tag(manifest))


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_signed_package_is_fetched_and_an_unsigned_one_is_not(store):
    tag = package(store)
    with pytest.raises(NotSigned, match=r"zlib-1.3/aaaaaaa in registry.example/team/cache is not signed by team"):
        fetched(store, tag)
    assert not [v for v, digest in store.log if v == "open_blob" and store.blobs[digest].startswith(b"layer")]
    sign(store, tag)
    assert fetched(store, tag)


def test_the_same_key_signs_once(store):
    tag = package(store)
    assert sign(store, tag).is_new
    before = store.calls["put_manifest"]
    assert not sign(store, tag).is_new
    assert store.calls["put_manifest"] == before


def test_another_key_adds(store):
    tag = package(store)
    sign(store, tag)
    written = sign(store, tag, "second")
    assert len(layers_of(store, written)) == 2


def test_a_wrong_signature_in_our_place_is_replaced(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    wrong = signature_over(b"other")
    fake = type(wrong)(subject.payload(signer("team").public.id), wrong.value)
    put_signatures(store, subject.manifest, [fake])
    with pytest.raises(BadSignature):
        fetched(store, tag)
    assert sign(store, tag).is_new
    assert fetched(store, tag)


def test_a_signer_that_was_overwritten_signs_again(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    ours, theirs = (SignatureWriter(store, signer(name), QUICK) for name in ("team", "second"))
    first = ours.sign(subject, tag)
    second = theirs.sign(subject, tag, fresh=True)  # had read before the first wrote
    assert len(layers_of(store, first)) == 1
    (first,) = ours.settle([first])
    (second,) = theirs.settle([second])
    assert len(layers_of(store, second)) == 2
    assert fetched(store, tag)


def test_a_signature_that_is_always_overwritten_is_an_error(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    writer = SignatureWriter(store, signer("team"), Pace(settle=0.0, shortest=0.0, attempts=3))
    written = writer.sign(subject, tag)

    def overwrite(reference):
        if reference == signature_tag(subject.manifest):
            store.before.pop("resolve")
            put_signatures(store, subject.manifest, [signed("second")])
            store.before["resolve"] = overwrite

    store.before["resolve"] = overwrite
    (left,) = writer.settle([written])
    assert isinstance(left, SigningError) and "overwritten by others 3 times" in str(left)


@pytest.mark.parametrize("verb", ["get_manifest", "put_blob", "put_manifest"])
def test_a_signer_that_dies_at_any_step_leaves_a_package_that_can_be_signed(store, verb):
    tag = package(store)
    sign(store, tag, "second")
    store.fail(verb, ServerFailure("down"), times=1, when=lambda ref: tag not in ref)
    (outcome,) = sign_packages(store, [tag], signer("team"))
    assert isinstance(outcome.error, ServerFailure)
    assert fetched(store, tag, policy=Policy("require", (signer("second").public,)))
    written = sign(store, tag)
    assert len(layers_of(store, written)) == 2


def test_one_package_that_fails_does_not_stop_the_others(store):
    tags = [package(store), package(store, "other", "b" * 32)]
    outcomes = sign_packages(store, ["absent-1-" + "c" * 32 + ".spack", *tags], signer("team"))
    assert [o.error is None for o in outcomes] == [False, True, True]
    assert outcomes[0].to_dict()["status"] == "failed"
    assert outcomes[1].to_dict()["status"] == "signed"


# -- what a registry may do ------------------------------------------------------------------------------------------


def test_two_packages_that_were_swapped(store):
    first, second = package(store), package(store, "other", "b" * 32)
    for tag in (first, second):
        sign(store, tag)
    store.tagged[first], store.tagged[second] = store.tagged[second], store.tagged[first]
    with pytest.raises(BadSignature, match="another package"):
        fetched(store, first)


def test_a_package_under_the_name_of_another_with_a_config_that_lies(store):
    """The registry makes a manifest of its own, with the asked hash in its config and the layer of another package."""
    good, other = package(store), package(store, "other", "b" * 32)
    sign(store, good)
    sign(store, other)
    lie = json.loads(store.get_manifest(good)[1])
    lie["layers"] = json.loads(store.get_manifest(other)[1])["layers"]
    descriptor = store.put_manifest(canonical_json(lie), OCI_MANIFEST, good)
    with pytest.raises(NotSigned):
        fetched(store, good)
    signatures = stored_signatures(store, subject_of(find_package(store, other)).manifest)
    put_signatures(store, descriptor.digest, signatures)
    with pytest.raises(BadSignature, match="of another manifest"):
        fetched(store, good)


def test_an_old_signature_of_a_package_that_was_pushed_again(store):
    tag = package(store)
    old = sign(store, tag)
    manifest = json.loads(store.get_manifest(tag)[1])
    manifest["annotations"] = {"new": "yes"}
    new = store.put_manifest(canonical_json(manifest), OCI_MANIFEST, tag)
    put_signatures(store, new.digest, [old.signature])
    with pytest.raises(BadSignature, match="of another manifest"):
        fetched(store, tag)


def test_a_signature_of_another_repository(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    elsewhere = subject._replace(repository="registry.example/team/dev")
    put_signatures(store, subject.manifest, [signature_over(elsewhere.payload(signer("team").public.id))])
    with pytest.raises(BadSignature, match=r"of another repository, registry.example/team/dev.*`repositories`"):
        fetched(store, tag)
    copy = Policy("require", POLICY.keys, repositories=("registry.example/team/dev",))
    assert fetched(store, tag, policy=copy)


def test_garbage_beside_a_good_signature(store):
    tag = package(store)
    written = sign(store, tag)
    garbage = [signed("stranger", dag_hash=f"{n:032}") for n in range(MOST_PAYLOADS * 2)]
    put_signatures(store, written.subject.manifest, [*garbage, written.signature])
    store.reset()
    assert fetched(store, tag)
    assert store.calls["open_blob"] <= MOST_PAYLOADS + 1  # and the config


def test_ten_thousand_layers(store):
    tag = package(store)
    written = sign(store, tag)
    layer = {"mediaType": PAYLOAD_TYPE, "size": 10, "annotations": {ANNOTATION: "AAAA"}}
    layers = [{**layer, "digest": sha256_digest(b"%d" % n)} for n in range(10_000)]
    _, data = store.get_manifest(signature_tag(written.subject.manifest))
    manifest = json.loads(data)
    manifest["layers"] = [*layers, *manifest["layers"]]
    digest = sha256_digest(canonical_json(manifest))
    store.manifests[digest] = (OCI_MANIFEST, canonical_json(manifest))
    store.tagged[signature_tag(written.subject.manifest)] = digest
    assert fetched(store, tag)
    (outcome,) = sign_packages(store, [tag], signer("second"))
    assert isinstance(outcome.error, SigningError) and "more than 1000" in str(outcome.error)


def test_thousands_of_wrong_signatures_in_our_name_cost_a_bounded_time(store, monkeypatch):
    """Each is over the payload that our key signs, so each would have to be verified."""
    tag = package(store)
    written = sign(store, tag)
    name = signature_tag(written.subject.manifest)
    manifest = json.loads(store.get_manifest(name)[1])
    (layer,) = manifest["layers"]
    manifest["layers"] = [{**layer, "annotations": {ANNOTATION: "QUJD"}}] * 4000
    data = canonical_json(manifest)
    store.manifests[sha256_digest(data)] = (OCI_MANIFEST, data)
    store.tagged[name] = sha256_digest(data)
    asked = []
    verifies = PublicKey.verifies
    monkeypatch.setattr(PublicKey, "verifies", lambda self, *args: asked.append(1) or verifies(self, *args))
    with pytest.raises(BadSignature, match="names the key team is not by it"):
        fetched(store, tag)
    assert 0 < len(asked) <= MOST_OF_OURS
    assert sign(store, tag).is_new  # and its owner mends it
    assert fetched(store, tag)


def test_of_many_documents_about_a_package_only_the_last_is_fetched(store):
    about = store.resolve(package(store))
    for number in range(20):
        attach(store, about, b'{"number":%d}' % number, "application/spdx+json")
    store.reset()
    assert attached(store, about.digest, "application/spdx+json") == b'{"number":19}'
    assert store.calls["open_blob"] == 1
    assert attached(store, about.digest, "application/other") is None


def test_a_signature_manifest_of_100_mb_is_refused_and_not_read(tmp_path, monkeypatch):
    layout = open_layout(LayoutDirectory(str(tmp_path)), create=True)
    tag = package(layout)
    written = sign(layout, tag)
    digest, size = "sha256:" + "0" * 64, 100 << 20
    (tmp_path / "blobs" / "sha256" / ("0" * 64)).touch()
    os.truncate(tmp_path / "blobs" / "sha256" / ("0" * 64), size)
    text = (tmp_path / "index.json").read_text()
    (entry,) = (e for e in json.loads(text)["manifests"] if e["digest"] == written.digest)
    text = text.replace(written.digest, digest).replace(f'"size":{entry["size"]}', f'"size":{size}')
    (tmp_path / "index.json").write_text(text)
    again = open_layout(LayoutDirectory(str(tmp_path)))
    opened = []
    monkeypatch.setattr(again, "open_blob", lambda blob: opened.append(blob.size) or layout.open_blob(blob))
    with pytest.raises(BadSignature, match="cannot be read.*104857600"):
        fetched(again, tag)
    assert size not in opened


def test_a_payload_that_is_missing_or_another(store):
    tag = package(store)
    subject = subject_of(find_package(store, tag))
    other = signature_over(json.dumps({**json.loads(subject.payload("k")), "optional": None}).encode())
    put_signatures(store, subject.manifest, [other])
    assert fetched(store, tag)
    store.blobs[payload_descriptor(other).digest] = b"something else"
    with pytest.raises(NotSigned):
        fetched(store, tag)
    del store.blobs[payload_descriptor(other).digest]
    with pytest.raises(NotSigned):
        fetched(store, tag)


def test_a_registry_that_fails_is_no_answer(store):
    tag = package(store)
    sign(store, tag)
    store.fail("get_manifest", ServerFailure("down"), when=lambda ref: ref.endswith(".sig"))
    with pytest.raises(ServerFailure):
        fetched(store, tag)
    with pytest.raises(ServerFailure):
        fetched(store, tag, policy=Policy("warn", POLICY.keys))


def test_warn_lets_pass_and_says_it(store):
    tag = package(store)
    said = []
    guard = Guard(Policy("warn", POLICY.keys), store, said.append)
    fetch_package(store, tag, "a" * 32, lambda remote: None, guard=guard)
    assert "zlib-1.3/aaaaaaa" in said[0] and "not signed by team" in said[0]


def test_a_closure_of_which_one_package_is_refused_is_not_begun(store):
    good, bad = package(store), package(store, "other", "b" * 32)
    sign(store, good)
    items = [InstallItem(h, tag, f"/{tag}") for tag, h in ((good, "a" * 32), (bad, "b" * 32), ("absent", "c" * 32))]
    guard = Guard(POLICY, store)

    def check(item):
        check_package(store, item.label, item.dag_hash, None, guard)

    outcomes = refused(items, lambda item: False, check, 2)
    assert [outcome.status for outcome in outcomes] == [SKIPPED, FAILED, SKIPPED]
    assert "not signed by team" in str(outcomes[1].error)
    assert "1 package cannot be trusted: " in str(untrusted_error(outcomes)) and bad.partition("-")[0] in str(
        untrusted_error(outcomes)
    )
    assert not [v for v, digest in store.log if v == "open_blob" and store.blobs[digest].startswith(b"layer")]
    # what is not there, or fails, is for the fetch to tell
    assert refused([items[0], items[2]], lambda item: False, check, 2) == []
    assert refused([items[1]], lambda item: True, check, 2) == []  # proven, nobody is asked


def test_what_was_checked_before_an_install_is_not_asked_for_again(store):
    tag = package(store)
    sign(store, tag)
    store.reset()
    fetched(store, tag)
    alone = len(store.log)
    store.reset()
    guard = Guard(POLICY, store)
    check_package(store, tag, "a" * 32, None, guard)
    fetch_package(store, tag, "a" * 32, lambda remote: remote.layer.digest, guard=guard)
    assert len(store.log) == alone


def test_what_was_accepted_and_is_gone_is_judged_anew(store):
    """A package that was pushed again between the check and the fetch, unsigned."""
    tag = package(store)
    sign(store, tag)
    guard = Guard(POLICY, store)
    check_package(store, tag, "a" * 32, None, guard)
    accepted = guard.accepted(tag)

    def fetch(remote):
        if remote is accepted:
            package(store, "zlib", "a" * 32)
            manifest = json.loads(store.get_manifest(tag)[1])
            store.put_manifest(canonical_json({**manifest, "annotations": {"new": "yes"}}), OCI_MANIFEST, tag)
            raise NotFound("the layer is gone")
        return remote

    with pytest.raises(NotSigned):
        fetch_package(store, tag, "a" * 32, fetch, guard=guard)


def test_off_asks_for_nothing(store):
    tag = package(store)
    fetched(store, tag, policy=Policy())
    assert not [ref for _, ref in store.log if ref.endswith(".sig")]


def test_what_is_no_signature_manifest(store):
    tag = package(store)
    digest = subject_of(find_package(store, tag)).manifest
    store.put_manifest(canonical_json({"layers": [], "config": None}), OCI_MANIFEST, signature_tag(digest))
    with pytest.raises(TrustError):
        fetched(store, tag)


def test_signatures_of_a_layout_name_no_repository():
    assert subject_of_url("oci+file:///srv/cache") == "oci-layout"


def subject_of_url(url):
    other = MemoryStore(url)
    tag = package(other)
    return subject_of(find_package(other, tag)).repository


def test_descriptors_of_payloads_are_those_of_cosign():
    payload = subject().payload("k")
    assert payload_descriptor(signature_over(payload)) == Descriptor.of(payload, PAYLOAD_TYPE)


# -- looking at a cache ----------------------------------------------------------------------------------------------


def test_verify_says_by_whom_packages_are_signed_and_what_is_wrong(store):
    nodes = [node(name) for name in ("a", "b", "c")]
    for each in nodes:
        push_package(store, [each])
    good, unsigned, gone = map(tag_of, nodes)
    sign(store, good)
    sign(store, good, "stranger")
    sign(store, gone)
    del store.blobs[find_package(store, gone).layer.digest]
    broken = "d-1.3-" + "d" * 32 + ".spack"
    store.put_manifest(canonical_json({"layers": [], "config": None}), OCI_MANIFEST, broken)
    contents = read_contents(store)
    tags = [good, unsigned, gone, broken]
    verification = verify_cache(store, contents, rules=Rules(POLICY), tags=tags)
    wrong = {f.tag: (f.kind, f.message) for f in verification.findings}
    assert good not in wrong and len(verification.findings) == 3
    assert verification.packages[0].signed_by == ("team", f"unknown key {signer('stranger').public.id[:12]}")
    assert wrong[unsigned][0] == Kind.SIGNATURE and "not signed by team" in wrong[unsigned][1]
    assert wrong[gone][0] == Kind.LAYER_MISSING and "is missing" in wrong[gone][1]
    assert wrong[broken][0] == Kind.UNREADABLE
    rules = Rules(Policy(), [signer("stranger").public])
    without = verify_cache(store, contents, rules=rules, tags=[good, unsigned])
    assert not without.findings
    assert "stranger" in without.packages[0].signed_by
