# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signers of the same packages with different keys, whose requests come in any order: in the end each tag has the
signatures of all of them."""

import pytest
from spack_oci.descriptor import OCI_MANIFEST, sha256_digest
from spack_oci.index.publish import DOCUMENT_TAG, read_document_manifest, read_signatures, signature_table
from spack_oci.index.signature_table import SIGNED_PREFIX, IndexedSignature, SignedPackage, keys_of
from spack_oci.index.update.loop import update_index
from spack_oci.index.update.settings import Backoff, UpdateSettings
from spack_oci.operations.images.described import image_tags
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.trust.announced import MOST_KEYS, Announced, announce
from spack_oci.operations.trust.guard import subject_of
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.stored import stored_signatures
from spack_oci.operations.trust.write import SignatureWriter
from spack_oci.trust.signatures import signature_tag
from support.memory_store import MemoryStore
from support.packages.cache_builder import node, push_package, tag_of
from support.turns import SEEDS, in_turns
from unit.operations.test_signing import put_signatures
from unit.trust.cases import signature_over, signer

NAMES = [f"signer{number}" for number in range(8)]


def sign_in_turns(writers, seed, is_push):
    """Each signs both packages, as a push of new ones does, without reading, or as `spack oci sign` does, and updates
    the index; the store then, and what was signed."""
    store = MemoryStore("oci://registry.example/team/cache")
    subjects = []
    for name in ("p", "q"):
        push_package(store, [node(name)])
        subjects.append(subject_of(find_package(store, tag_of(node(name)))))

    def sign(number, own, take):
        writer = SignatureWriter(own, signer(NAMES[number]))
        # every other one has attached an SBOM, of which who signs later does not know
        sbom = sha256_digest(b"sbom") if number % 2 else None
        written = [writer.sign(s._replace(sbom=sbom), "a package", fresh=is_push) for s in subjects]
        backoff = Backoff(sleep=lambda seconds: take())
        update_index(own, UpdateSettings(jobs=1, backoff=backoff, signatures=IndexSigning(own, written, jobs=1)))

    assert not in_turns(store, writers, seed, sign), seed
    return store, subjects


@pytest.mark.parametrize("writers, is_push", [(2, True), (2, False), (3, True), (3, False), (8, True), (8, False)])
def test_no_signature_is_lost(writers, is_push):
    keys = [signer(name).public for name in NAMES[:writers]]
    for seed in range(max(2, SEEDS * 2 // writers**2) if writers > 3 else SEEDS):
        store, subjects = sign_in_turns(writers, seed, is_push)
        for subject in subjects:
            found = stored_signatures(store, subject.manifest)
            assert all(any(key.verifies(s.value, s.payload) for s in found) for key in keys), f"seed {seed}"
            assert len(found) == writers, f"seed {seed}"
        table = signature_table(read_signatures(store, read_document_manifest(store)))
        assert [keys_of(table[s.dag_hash]) for s in subjects] == [sorted(key.id for key in keys)] * 2, f"seed {seed}"
        for subject in subjects:
            line, by_id = table[subject.dag_hash], {key.id: key for key in keys}
            for s in line.signatures:
                payload = s.payload or subject._replace(sbom=line.sbom).payload(s.key)
                assert by_id[s.key].verifies(s.value, payload), f"seed {seed}"


def signed_now(store, by, fresh=True, warn=print):
    """A push or `spack oci sign` by one key; what was signed."""
    push_package(store, [node("p")])
    subject = subject_of(find_package(store, tag_of(node("p"))))
    store.reset()
    written = SignatureWriter(store, signer(by)).sign(subject, "p", fresh=fresh)
    update_index(store, UpdateSettings(signatures=IndexSigning(store, [written], warn=warn)))
    return subject


@pytest.mark.parametrize("fresh, asked", [(True, []), (False, ["get_manifest", "resolve"])])
def test_who_pushes_alone_asks_for_no_signature_and_who_signs_what_is_there_looks_before_and_after(fresh, asked):
    store = MemoryStore("oci://registry.example/team/cache")
    subject = signed_now(store, NAMES[0], fresh)
    found = [verb for verb, what in store.log if what == signature_tag(subject.manifest)]
    assert sorted(found) == sorted([*asked, "put_manifest"])


@pytest.mark.parametrize("place", [DOCUMENT_TAG, SIGNED_PREFIX + signer(NAMES[0]).public.id], ids=["index", "key"])
def test_a_signature_that_its_tag_has_lost_is_put_back_from_the_index_or_from_what_its_key_announced(place):
    """One signer has overwritten the tag, and another the index without having seen it; or the key has signed other
    packages since."""
    store = MemoryStore("oci://registry.example/team/cache")
    subject = signed_now(store, NAMES[0])
    del store.tagged[signature_tag(subject.manifest)], store.tagged[place]
    signed_now(store, NAMES[1])
    found = stored_signatures(store, subject.manifest)
    assert all(any(signer(n).public.verifies(s.value, s.payload) for s in found) for n in NAMES[:2])


def test_who_signs_what_is_there_finds_that_cosign_has_overwritten_the_signature():
    """It announces nothing."""
    store = MemoryStore("oci://registry.example/team/cache")
    push_package(store, [node("p")])
    subject = subject_of(find_package(store, tag_of(node("p"))))
    written = SignatureWriter(store, signer(NAMES[0])).sign(subject, "p")
    put_signatures(store, subject.manifest, [signature_over(subject.payload("cosign"), NAMES[1])])
    update_index(store, UpdateSettings(signatures=IndexSigning(store, [written])))
    found = stored_signatures(store, subject.manifest)
    assert all(any(signer(n).public.verifies(s.value, s.payload) for s in found) for n in NAMES[:2])


def test_a_signature_under_the_tag_is_not_replaced_by_what_is_said_of_it_elsewhere():
    """Nobody has verified that."""
    store = MemoryStore("oci://registry.example/team/cache")
    subject = signed_now(store, NAMES[0])
    key = signer(NAMES[0]).public.id
    announce(store, key, {subject.manifest: SignedPackage((IndexedSignature(key, b"wrong"),))})
    del store.tagged[DOCUMENT_TAG]
    signed_now(store, NAMES[1], fresh=False)
    found = stored_signatures(store, subject.manifest)
    assert all(any(signer(n).public.verifies(s.value, s.payload) for s in found) for n in NAMES[:2])


@pytest.mark.parametrize("announcement", [b"{}", b'{"layers":[]}', b'{"layers":[{"digest":1}]}', b"no JSON"])
def test_what_another_key_announces_in_no_known_form_is_told_and_left_alone(announcement):
    store = MemoryStore("oci://registry.example/team/cache")
    digest = sha256_digest(announcement)
    store.manifests[digest], store.tagged[SIGNED_PREFIX + "a" * 64] = (OCI_MANIFEST, announcement), digest
    said = []
    subject = signed_now(store, NAMES[0], warn=said.append)
    assert len(stored_signatures(store, subject.manifest)) == 1
    assert ["what the key aaaaaaaaaaaa has signed last cannot be read" in line for line in said] == [True]


def test_an_announcement_that_is_not_fetched_again_while_it_is_the_same():
    store = MemoryStore("oci://registry.example/team/cache")
    subject = signed_now(store, NAMES[0])
    store.reset()
    announced = Announced(store, print)
    for _ in range(3):
        announced.look([signer(NAMES[0]).public.id])
    assert store.calls["open_blob"] == 1
    (found,) = announced.signatures_of(subject)
    assert signer(NAMES[0]).public.verifies(found.value, found.payload)


def test_a_heap_of_announcements_costs_a_bounded_number_of_requests():
    store = MemoryStore("oci://registry.example/team/cache")
    for number in range(MOST_KEYS * 2):
        store.put_manifest(b"{}", OCI_MANIFEST, f"{SIGNED_PREFIX}{number:064}")
    signed_now(store, NAMES[0], warn=lambda message: None)
    assert sum(what.startswith(SIGNED_PREFIX) for verb, what in store.log if verb == "get_manifest") == MOST_KEYS


def test_what_keys_announce_is_neither_an_image_nor_a_package():
    store = MemoryStore("oci://registry.example/team/cache")
    signed_now(store, NAMES[0])
    assert any(tag.startswith(SIGNED_PREFIX) for tag in store.tags())
    assert not list(image_tags(store))
    assert not read_contents(store).images
