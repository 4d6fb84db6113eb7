# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Signers of the same packages with different keys, whose requests come in any order: in the end each tag has the
signatures of all of them."""

import pytest
from spack_oci.index.publish import read_document_manifest, read_signatures, signature_table
from spack_oci.index.signature_table import keys_of
from spack_oci.index.update.loop import update_index
from spack_oci.index.update.settings import Backoff, UpdateSettings
from spack_oci.operations.install.fetch import find_package
from spack_oci.operations.trust.guard import subject_of
from spack_oci.operations.trust.index_signing import IndexSigning
from spack_oci.operations.trust.stored import stored_signatures
from spack_oci.operations.trust.write import SignatureWriter
from spack_oci.trust.signatures import signature_tag
from support.memory_store import MemoryStore
from support.packages.cache_builder import node, push_package, tag_of
from support.turns import SEEDS, in_turns
from unit.trust.cases import signer

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
        written = [writer.sign(subject, "a package", fresh=is_push) for subject in subjects]
        backoff = Backoff(sleep=lambda seconds: take())
        update_index(own, UpdateSettings(jobs=1, backoff=backoff, signatures=IndexSigning(own, written, jobs=1)))

    assert not in_turns(store, writers, seed, sign), seed
    return store, subjects


@pytest.mark.parametrize("writers, is_push", [(2, True), (2, False), (3, False), (8, False)])
def test_no_signature_is_lost(writers, is_push):
    keys = [signer(name).public for name in NAMES[:writers]]
    for seed in range(max(2, SEEDS * 2 // writers**2) if writers > 3 else SEEDS):
        store, subjects = sign_in_turns(writers, seed, is_push)
        for subject in subjects:
            found = stored_signatures(store, subject.manifest)
            assert all(any(key.verifies(s.value, s.payload) for s in found) for key in keys), f"seed {seed}"
        table = signature_table(read_signatures(store, read_document_manifest(store)))
        assert [keys_of(table[s.dag_hash]) for s in subjects] == [sorted(key.id for key in keys)] * 2, f"seed {seed}"


def test_who_signs_alone_looks_once_at_what_it_wrote():
    """Not before the package is new, and not again where the index has no other signature."""
    store = MemoryStore("oci://registry.example/team/cache")
    push_package(store, [node("p")])
    subject = subject_of(find_package(store, tag_of(node("p"))))
    store.reset()
    written = SignatureWriter(store, signer(NAMES[0])).sign(subject, "p", fresh=True)
    update_index(store, UpdateSettings(signatures=IndexSigning(store, [written])))
    asked = [verb for verb, what in store.log if what == signature_tag(subject.manifest)]
    assert asked == ["put_manifest", "resolve"]
