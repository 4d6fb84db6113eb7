# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Keys and packages that tests of signatures share."""

import functools

from spack_oci.descriptor import sha256_digest
from spack_oci.trust.keys import public_key
from spack_oci.trust.payload import Subject
from spack_oci.trust.signers import KeySigner
from spack_oci.trust.verify import Signature

REPOSITORY = "registry.example/team/cache"


@functools.cache
def signer(name="team"):
    """A key of its own for each name."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    return KeySigner(public_key(key.public_key(), name), key)


def subject(**changes):
    facts = {
        "repository": REPOSITORY,
        "manifest": sha256_digest(b"manifest"),
        "dag_hash": "a" * 32,
        "layer": sha256_digest(b"layer"),
        "layer_size": 5,
        "diff_id": sha256_digest(b"content"),
        "config": sha256_digest(b"config"),
    }
    return Subject(**{**facts, **changes})


def signed(by="team", **changes):
    return signature_over(subject(**changes).payload(signer(by).public.id), by)


def signature_over(payload, by="team"):
    return Signature(payload, signer(by).sign(payload))
