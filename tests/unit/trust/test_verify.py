# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The verifier against attacks; and each of its checks, taken out, lets one of them through."""

import inspect
import json
import types
from dataclasses import replace

import pytest
from spack_oci.descriptor import sha256_digest
from spack_oci.errors import BadSignature, NotSigned, TrustError
from spack_oci.trust import verify as module
from spack_oci.trust.policy import Policy
from spack_oci.trust.verify import Claim, Signature, verify
from unit.trust.cases import REPOSITORY, signature_over, signed, signer, subject

OTHER = sha256_digest(b"other")
POLICY = Policy("require", (signer("team").public, signer("second").public))
TWO = replace(POLICY, threshold=2)
CLAIM = Claim("zlib@1.3/aaaaaaa", REPOSITORY, subject())
READ = CLAIM._replace(read_from_manifest=True)


def cosign_payload(**changes):
    """What `cosign sign` signs: it knows nothing of packages."""
    document = json.loads(subject(**changes).payload("k"))
    return json.dumps({**document, "optional": None}).encode()


def with_optional(**values):
    document = json.loads(subject().payload("k"))
    document["optional"].update(values)
    return json.dumps(document).encode()


def twice(name):
    text = subject().payload("k").decode()
    member = text[text.index(f'"{name}"') :].partition(",")[0].rstrip("}")
    return text.replace(member, f"{member},{member}", 1).encode()


def altered(signature, old, new):
    return Signature(signature.payload.replace(old, new), signature.value)


ACCEPTED = {
    "by one key": (POLICY, CLAIM, [signed()]),
    "by the other key": (POLICY, CLAIM, [signed("second")]),
    "by two, two are asked": (TWO, CLAIM, [signed(), signed("second")]),
    "among garbage": (POLICY, CLAIM, [Signature(b"x", b"y"), signed("stranger"), signed()]),
    "beside one of another package": (POLICY, CLAIM, [signed(manifest=OTHER), signed()]),
    "cosign's, read from the manifest": (POLICY, READ, [signature_over(cosign_payload())]),
    "of a copy, where the policy says so": (
        replace(POLICY, repositories=("elsewhere.example/cache",)),
        CLAIM,
        [signed(repository="elsewhere.example/cache")],
    ),
    "of any repository, where the policy says so": (
        replace(POLICY, repositories=("*",)),
        CLAIM,
        [signed(repository="elsewhere.example/cache")],
    ),
    "in a layout directory": (POLICY, CLAIM._replace(repository=None), [signed(repository="elsewhere.example/x")]),
    "with a digest of an SBOM": (POLICY, CLAIM, [signed(sbom=OTHER)]),
}

REFUSED = {
    "no signature": (POLICY, CLAIM, [], NotSigned, "not signed by team, second"),
    "a key that is not of the policy": (POLICY, CLAIM, [signed("stranger")], NotSigned, "by another key"),
    "one of two": (TWO, CLAIM, [signed()], NotSigned, "by team only, not by 2 of team, second"),
    "the same key twice": (TWO, CLAIM, [signed(), signed()], NotSigned, "by team only"),
    "one key, two payloads": (TWO, READ, [signed(), signature_over(cosign_payload())], NotSigned, "by team only"),
    "another manifest": (POLICY, CLAIM, [signed(manifest=OTHER)], BadSignature, "of another manifest"),
    "another package": (POLICY, CLAIM, [signed(dag_hash="b" * 32)], BadSignature, "of another package, bbbb"),
    "another package, read from the manifest": (POLICY, READ, [signed(dag_hash="b" * 32)], BadSignature, "package"),
    "another layer": (POLICY, CLAIM, [signed(layer=OTHER)], BadSignature, "of another layer"),
    "another size": (POLICY, CLAIM, [signed(layer_size=6)], BadSignature, "of another layer size"),
    "another content": (POLICY, CLAIM, [signed(diff_id=OTHER)], BadSignature, "of another layer content"),
    "another config": (POLICY, CLAIM, [signed(config=OTHER)], BadSignature, "of another config"),
    "another repository": (
        POLICY,
        CLAIM,
        [signed(repository="registry.example/team/dev")],
        BadSignature,
        "of another repository, registry.example/team/dev.*repositories",
    ),
    "a repository whose name begins alike": (
        POLICY,
        CLAIM,
        [signed(repository=REPOSITORY + "2")],
        BadSignature,
        "of another repository",
    ),
    "one of a layout in a registry": (POLICY, CLAIM, [signed(repository="oci-layout")], BadSignature, "oci-layout"),
    "no word of the package": (POLICY, CLAIM, [signature_over(cosign_payload())], BadSignature, "does not say which"),
    "no word of the layer": (POLICY, CLAIM, [signed(layer=None)], BadSignature, "does not say which layer"),
    "no word of the hash": (POLICY, CLAIM, [signed(dag_hash=None)], BadSignature, "does not say which package"),
    "an altered payload": (
        POLICY,
        CLAIM._replace(subject=subject(layer=OTHER)),
        [altered(signed(), subject().layer.encode(), OTHER.encode())],
        BadSignature,
        "names the key team is not by it",
    ),
    "an altered signature": (
        POLICY,
        CLAIM,
        [Signature(signed().payload, signed(dag_hash="b" * 32).value)],
        BadSignature,
        "names the key team is not by it",
    ),
    "a signature of nothing": (POLICY, CLAIM, [Signature(signed().payload, b"")], BadSignature, "not by it"),
    "duplicate keys": (POLICY, CLAIM, [signature_over(twice("docker-manifest-digest"))], BadSignature, "twice"),
    "another type of a value": (
        POLICY,
        CLAIM,
        [signature_over(with_optional(**{"org.spack-oci.package.hash": ["a" * 32]}))],
        BadSignature,
        "no text",
    ),
    "a payload that is none": (POLICY, CLAIM, [signature_over(b"[]")], BadSignature, "over something else"),
    "a list of garbage": (
        POLICY,
        CLAIM,
        [Signature(b"\xff" * n, b"x" * n) for n in range(50)],
        BadSignature,
        "refused",
    ),
    "a policy without keys": (Policy("warn"), CLAIM, [signed()], NotSigned, "by any key"),
}


def decide(function, policy, claim, signatures):
    try:
        return [key.name for key in function(policy, claim, signatures).keys]
    except TrustError as e:
        return type(e).__name__


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_signed_as_it_should_be_is_accepted(name):
    policy, claim, signatures = ACCEPTED[name]
    assert len(verify(policy, claim, signatures).keys) == policy.threshold


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_is_refused_with_package_reason_and_remedy(name):
    policy, claim, signatures, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message) as caught:
        verify(policy, claim, signatures)
    assert type(caught.value) is kind
    assert "zlib@1.3/aaaaaaa" in caught.value.message and REPOSITORY in caught.value.message
    assert caught.value.remedy


#: a check of the verifier -> what stands there when it is gone
MUTATIONS = {
    "if key.verifies(signature.value, signature.payload)": "if True",
    "if payload.manifest != subject.manifest:": "if False:",
    "if not policy.accepts_repository(payload.repository, claim.repository):": "if False:",
    'DAG_HASH: (subject.dag_hash, "package"),': "",
    'LAYER: (subject.layer, "layer"),': "",
    'LAYER_SIZE: (size, "layer size"),': "",
    'DIFF_ID: (subject.diff_id, "layer content"),': "",
    'CONFIG: (subject.config, "config"),': "",
    "and said != wanted": "and False",
    "if not claim.read_from_manifest:": "if False:",
    "for name in (DAG_HASH, LAYER):": "for name in (DAG_HASH,):",
    "for name in (DAG_HASH, LAYER): ": "for name in (LAYER,):",
    "if len(accepted) >= policy.threshold:": "if accepted:",
    "if len(accepted) >= policy.threshold: ": "if True:",
    "accepted[key.id] = key": "accepted[str(len(accepted))] = key",
    "if problem:": "if False:",
    "payload = parse_payload(data)": "import json; d = json.loads(data); "
    "payload = Payload(d['critical']['identity']['docker-reference'], d['critical']['image']['docker-manifest-digest'],"
    " d['optional'] or {})",
    "said = payload.text(name)": "said = str(payload.optional.get(name, wanted)) and wanted",
}


@pytest.mark.parametrize("check", MUTATIONS)
def test_each_check_of_the_verifier_refuses_something(check):
    source = inspect.getsource(module)
    assert source.count(check.rstrip()) == 1, "the verifier has changed: adapt the mutations"
    mutant = types.ModuleType(module.__name__)
    mutant.__package__ = module.__package__
    import sys

    kept = sys.modules[module.__name__]
    sys.modules[module.__name__] = mutant  # dataclasses look their module up
    try:
        exec(compile(source.replace(check.rstrip(), MUTATIONS[check]), "mutant", "exec"), mutant.__dict__)
    finally:
        sys.modules[module.__name__] = kept
    cases = [case[:3] for case in (*ACCEPTED.values(), *REFUSED.values())]

    def decided(function, case):
        try:
            return decide(function, *case)
        except Exception as e:
            return repr(e)

    assert any(decided(mutant.verify, case) != decided(verify, case) for case in cases)
