# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signatures in the index, and a signed index: what they cost, and what is offered under a policy."""

import json

import pytest
from spack_oci.descriptor import canonical_json, sha256_digest
from spack_oci.errors import BadSignature, NotSigned
from spack_oci.index.index_cache import IndexCache, refresh_index
from spack_oci.index.publish import (
    DOCUMENT_TAG,
    read_document_manifest,
)
from spack_oci.index.read import NotModified
from spack_oci.index.update.loop import UpdateSettings, update_index
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.install.locate import fetch_package, is_proven
from spack_oci.operations.trust.guard import Guard, subject_of
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.sign import sign_packages
from spack_oci.operations.trust.stored import stored_signatures
from spack_oci.operations.trust.write import SignatureWriter
from spack_oci.trust.policy import Policy
from support.memory_store import MemoryStore
from unit.operations.signed_caches import FIRST, POLICY, SECOND, Client, hash_of, package, sign, table
from unit.operations.test_signing import put_signatures
from unit.trust.cases import signature_over, signer


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


@pytest.fixture
def client(store, tmp_path):
    return Client(store, tmp_path / "client")


# -- what it costs ---------------------------------------------------------------------------------------------------


def test_an_install_under_a_policy_makes_the_requests_that_one_without_makes(store, tmp_path):
    tags = [package(store), package(store, "other", SECOND)]
    sign(store, tags)
    requests = {}
    for name, policy in (("with", POLICY), ("without", Policy())):
        client = Client(store, tmp_path / name, policy)
        if not policy.active:
            client.cache = IndexCache(str(tmp_path / name / "plain"))
        store.reset()
        client.refresh()
        for tag, dag_hash in zip(tags, (FIRST, SECOND)):
            client.fetch(tag, dag_hash)
        first = store.requests
        client.refresh()
        requests[name] = (first, store.requests - first)
    assert requests["with"] == requests["without"] == (4, 1)  # and the layers, which nobody fetches here


def test_what_the_index_proves_is_accepted_without_a_request_and_without_another_look(store, client, monkeypatch):
    tags = [package(store), package(store, "other", SECOND)]
    sign(store, tags[:1])
    client.refresh()
    guard = Guard(POLICY, store, index=client.cache)
    store.reset()
    proven = [is_proven(store, tag, h, client.cache, guard) for tag, h in zip(tags, (FIRST, SECOND))]
    assert proven == [True, False] and store.requests == 0
    monkeypatch.setattr(client.cache, "lookup_signatures", None)
    assert fetch_package(store, tags[0], FIRST, lambda r: r.tag, client.cache, guard)[1] == tags[0]
    assert store.requests == 0


def test_an_index_that_one_key_has_signed_does_not_prove_what_two_have_to_sign(store, tmp_path):
    tag = package(store)
    sign(store, [tag])
    keys = tuple(signer(name).public for name in ("team", "second"))
    client = Client(store, tmp_path, Policy("require", keys, threshold=2))
    client.refresh()
    assert not is_proven(store, tag, FIRST, client.cache, Guard(client.policy, store, index=client.cache))
    with pytest.raises(NotSigned, match="signed by team only, not by 2 of team, second"):
        client.fetch(tag)


def test_what_another_spack_may_have_pushed_again_is_not_proven(store, client, monkeypatch):
    tag = package(store)
    sign(store, [tag])
    client.refresh()
    monkeypatch.setattr(client.cache, "is_current", lambda url: False)
    assert not is_proven(store, tag, FIRST, client.cache, Guard(POLICY, store, index=client.cache))


def test_who_signs_a_package_with_an_sbom_later_and_knows_of_none_costs_no_request_more(store, tmp_path):
    """The line of the index has one SBOM, and its keys have signed with it or without it."""
    both = [signer(name).public for name in ("team", "other")]
    logs = {}
    for dag_hash, sbom in ((FIRST, None), (SECOND, sha256_digest(b"sbom"))):
        tag = package(store, dag_hash=dag_hash)
        subject = subject_of(find_package(store, tag))._replace(sbom=sbom)
        written = SignatureWriter(store, signer("team")).sign(subject, tag, fresh=True)
        update_index(store, UpdateSettings(signatures=IndexSigning(store, [written], signer("team"))))
        store.reset()
        sign(store, [tag], by="other")
        logs[dag_hash] = [verb for verb, _ in store.log]
        assert len(stored_signatures(store, subject.manifest)) == 2
        client = Client(store, tmp_path / dag_hash, Policy("require", tuple(both), threshold=2))
        client.refresh()
        store.reset()
        client.fetch(tag, dag_hash)
        assert not store.requests
    assert sorted(logs[FIRST]) == sorted(logs[SECOND])


def test_a_hash_is_looked_up_in_what_is_kept_as_without_a_policy_unless_packages_are_hidden(store, client):
    """Else Spack asks for the index once for each hash."""
    first, second = package(store, dag_hash=hash_of(1)), package(store, "other", hash_of(2))
    sign(store, [first])
    client.refresh()
    assert client.cache.packages_by_hash(store.url, hash_of(1)[:7]) is None
    sign(store, [first, second], at=1_800_000_100)
    client.refresh()
    assert list(client.cache.packages_by_hash(store.url, hash_of(1)[:7])) == [hash_of(1)]


def test_the_signatures_are_small(store):
    """Bytes for each package; and no word in it that could be made again."""
    tags = [package(store, f"p{n:03}", hash_of(n)) for n in range(100)]
    sign(store, tags)
    assert read_document_manifest(store).signatures.size < 100 * 160


# -- what is offered and used ----------------------------------------------------------------------------------------


def test_only_what_is_signed_is_offered_and_the_rest_is_counted(store, client):
    first, second = package(store), package(store, "other", SECOND)
    sign(store, [first])
    assert client.offered() == {FIRST}
    assert "1 build in oci://registry.example/team/cache cannot be used: not signed by team" in client.said
    assert client.fetch(first)
    sign(store, [second])
    assert client.offered() == {FIRST, SECOND}


def test_signatures_by_other_keys_are_not_offered_but_kept(store, client):
    tag = package(store)
    sign(store, [tag], by="stranger")
    with pytest.raises(BadSignature, match="index of .* is signed, but not by team"):
        client.refresh()
    sign(store, [tag])
    assert len(table(store)[FIRST].signatures) == 2
    assert client.offered() == {FIRST}


def test_a_threshold_is_a_number_of_keys(store, tmp_path):
    tag = package(store)
    sign(store, [tag])
    policy = Policy("require", (signer("team").public, signer("second").public), threshold=2)
    client = Client(store, tmp_path / "1", policy)
    assert client.offered() == set() and "not signed by 2 of team, second" in client.said[0]
    sign(store, [tag], by="second")
    client = Client(store, tmp_path / "2", policy)
    assert client.offered() == {FIRST}
    assert client.fetch(tag)


def test_what_cosign_signed_later_is_offered_when_the_index_was_updated(store, client):
    tag = package(store)
    sign(store, [])
    assert client.offered() == set()
    digest = store.resolve(tag).digest
    payload = {
        "critical": {
            "identity": {"docker-reference": "registry.example/team/cache"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    put_signatures(store, digest, [signature_over(canonical_json(payload))])
    sign(store, [])
    assert client.offered() == {FIRST}
    assert client.fetch(tag)


@pytest.mark.parametrize(
    "optional",
    [
        {"org.spack-oci.key": "\ud800"},
        {"org.spack-oci.config.digest": "\ud800"},
        {"org.spack-oci.sbom.digest": "nonsense"},
        {"org.spack-oci.key": 7},
        {"org.spack-oci.key": "k" * 4096},
    ],
    ids=["half a pair", "half a pair as a digest", "no digest", "a number", "much"],
)
def test_one_odd_signature_takes_no_other_from_the_index(store, client, optional):
    """Whoever may push can put one there: the index of everybody could not be updated, or not be read, by that."""
    tags = [package(store), package(store, "other", SECOND)]
    subject = subject_of(find_package(store, tags[0]))
    document = json.loads(subject.payload("a key"))
    document["optional"].update(optional)
    odd = json.dumps(document, separators=(",", ":"), sort_keys=True)
    good = signature_over(subject.payload(signer("team").public.id), "team")
    put_signatures(store, subject.manifest, [signature_over(odd.encode(), "other"), good])
    sign(store, tags[1:])
    assert len(table(store)[FIRST].signatures) == 1
    assert client.offered() == {FIRST, SECOND}
    assert client.fetch(tags[0])


def test_a_package_that_was_pushed_again_without_a_signature_is_not_offered(store, client):
    tag = package(store)
    sign(store, [tag])
    assert client.offered() == {FIRST}
    package(store, note=" with other bytes")
    update_index(store, UpdateSettings(signatures=IndexSigning(store, signer=signer("team"), now=lambda: 1.9e9)))
    assert client.offered() == set()


def test_signatures_survive_who_updates_the_index_without_a_key(store):
    tag = package(store)
    sign(store, [tag])
    package(store, "other", SECOND)
    update_index(store)
    assert set(table(store)) == {FIRST}
    assert not read_document_manifest(store).statement


def test_who_updates_a_signed_index_without_a_key_is_told(store):
    sign(store, [package(store)])
    package(store, "other", SECOND)
    said = []
    update_index(store, UpdateSettings(signatures=IndexSigning(store, warn=said.append)))
    assert "was signed and is not any more" in said[0]


def test_nothing_is_written_when_all_is_signed(store):
    tag = package(store)
    sign(store, [tag])
    before = read_document_manifest(store)
    assert sign(store, [tag], at=1_900_000_000).writes == 0
    assert read_document_manifest(store) == before


def test_an_index_of_spack_alone_offers_what_has_signatures(store, client):
    first, _ = package(store), package(store, "other", SECOND)
    update_index(store)
    store.delete_manifest(DOCUMENT_TAG)
    sign_packages(store, [first], signer("team"))
    assert client.offered() == {FIRST}
    assert isinstance(client.refresh(), NotModified)


def test_a_change_of_the_policy_changes_what_is_offered(store, tmp_path):
    tag = package(store)
    sign(store, [tag])
    client = Client(store, tmp_path)
    assert client.offered() == {FIRST}
    other = Client(store, tmp_path, Policy("require", (signer("team").public, signer("second").public), threshold=2))
    assert other.offered() == set()
    plain = IndexCache(str(tmp_path / "indexes"))
    found = refresh_index(plain, store.url, store)
    assert not isinstance(found, NotModified)
