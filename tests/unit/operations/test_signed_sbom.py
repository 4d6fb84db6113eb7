# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The SBOM of a package is the one that was signed with it, whatever others attach."""

from dataclasses import replace

import pytest
from spack_oci.errors import BadSignature, NotFound, NotSigned
from spack_oci.operations.trust.attach import attach
from spack_oci.operations.trust.sbom import read_sbom
from spack_oci.trust.policy import Policy
from support.memory_store import MemoryStore
from unit.operations.test_signing import POLICY, package, put_signatures, sign
from unit.trust.cases import signed, signer

SBOM_TYPE = "application/spdx+json"
TWO_KEYS = Policy("require", (signer("team").public, signer("other").public), threshold=2)


@pytest.fixture
def store():
    return MemoryStore("oci://registry.example/team/cache")


@pytest.fixture
def with_sbom(store):
    """The digest of a package whose signature names its SBOM."""
    about = store.resolve(package(store))
    made = attach(store, about, b'{"signed":true}', SBOM_TYPE)
    put_signatures(store, about.digest, [signed(manifest=about.digest, sbom=made.digest)])
    return about


def test_the_sbom_that_is_signed_goes_before_others_that_came_later(store, with_sbom):
    for number in range(3):
        attach(store, with_sbom, b'{"number":%d}' % number, SBOM_TYPE)
    for policy, keys in ((POLICY, ()), (Policy(), POLICY.keys)):
        assert read_sbom(store, with_sbom.digest, "zlib", policy, keys) == b'{"signed":true}'


def without_the_signed_sbom(store, about):
    (signed_one,) = store.referrers(about.digest, SBOM_TYPE)
    store.delete_manifest(signed_one.digest)
    attach(store, about, b'{"signed":false}', SBOM_TYPE)


@pytest.mark.parametrize("policy, keys", [(replace(POLICY, mode="warn"), ()), (Policy(), POLICY.keys)])
def test_another_sbom_than_the_signed_one_is_told_unless_a_signature_is_required(store, with_sbom, policy, keys):
    without_the_signed_sbom(store, with_sbom)
    said = []
    assert read_sbom(store, with_sbom.digest, "zlib", policy, keys, said.append) == b'{"signed":false}'
    assert "the SBOM of zlib is another one than team signed" in said[0] and len(said) == 1
    with pytest.raises(BadSignature, match="is another one than team signed"):
        read_sbom(store, with_sbom.digest, "zlib", POLICY)


def test_an_sbom_that_no_signature_names_is_refused_where_one_is_required(store):
    tag = package(store)
    about = store.resolve(tag)
    attach(store, about, b"{}", SBOM_TYPE)
    with pytest.raises(NotSigned, match="zlib in registry.example/team/cache is not signed by team"):
        read_sbom(store, about.digest, "zlib", POLICY)
    sign(store, tag)  # which looks for no SBOM
    with pytest.raises(NotSigned, match="the SBOM of zlib is not signed by team.*push it with --sbom --force --sign"):
        read_sbom(store, about.digest, "zlib", POLICY)
    assert read_sbom(store, about.digest, "zlib", Policy(), POLICY.keys) == b"{}"


def test_an_sbom_needs_the_package_to_be_signed_by_as_many_as_the_policy_asks_and_one_to_name_it(store, with_sbom):
    with pytest.raises(NotSigned, match="signed by team only"):
        read_sbom(store, with_sbom.digest, "zlib", TWO_KEYS)
    (tag,) = [tag for tag in store.tags() if tag.endswith(".spack")]
    sign(store, tag, "other")
    assert read_sbom(store, with_sbom.digest, "zlib", TWO_KEYS)


def test_a_signature_of_another_package_or_by_a_stranger_names_no_sbom(store):
    about = store.resolve(package(store))
    forged = attach(store, about, b"{}", SBOM_TYPE)
    elsewhere = signed(sbom=forged.digest)
    put_signatures(store, about.digest, [elsewhere, signed("stranger", manifest=about.digest, sbom=forged.digest)])
    said = []
    read_sbom(store, about.digest, "zlib", replace(POLICY, mode="warn"), warn=said.append)
    assert "of another manifest" in said[0]


def test_a_signed_sbom_that_is_withheld_is_told(store, with_sbom):
    (one,) = store.referrers(with_sbom.digest, SBOM_TYPE)
    store.delete_manifest(one.digest)
    with pytest.raises(NotFound, match="zlib has no SBOM, though team signed one"):
        read_sbom(store, with_sbom.digest, "zlib", POLICY)
