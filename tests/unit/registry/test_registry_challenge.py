# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""WWW-Authenticate as registries send it, and as anybody might."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.registry.auth.authorizer import merge_scopes
from spack_oci.registry.auth.challenge import Challenge, choose, parse_challenges

#: from the documentation and the answers of public registries and products
REAL_WORLD = {
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"': [
        (
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:library/alpine:pull",
            },
        )
    ],
    'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"': [
        ("bearer", {"realm": "https://ghcr.io/token", "service": "ghcr.io", "scope": "repository:user/image:pull"})
    ],
    'Bearer realm="https://quay.io/v2/auth",service="quay.io"': [
        ("bearer", {"realm": "https://quay.io/v2/auth", "service": "quay.io"})
    ],
    'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",'
    'scope="repository:g/p:pull,push",error="invalid_token"': [
        (
            "bearer",
            {
                "realm": "https://gitlab.com/jwt/auth",
                "service": "container_registry",
                "scope": "repository:g/p:pull,push",
                "error": "invalid_token",
            },
        )
    ],
    'Basic realm="https://123456789012.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"': [
        (
            "basic",
            {"realm": "https://123456789012.dkr.ecr.us-east-1.amazonaws.com/", "service": "ecr.amazonaws.com"},
        )
    ],
    'Basic realm="Sonatype Nexus Repository Manager"': [("basic", {"realm": "Sonatype Nexus Repository Manager"})],
    "BASIC": [("basic", {})],
    'Bearer realm="https://myregistry.azurecr.io/oauth2/token",service="myregistry.azurecr.io",Basic realm="acr"': [
        ("bearer", {"realm": "https://myregistry.azurecr.io/oauth2/token", "service": "myregistry.azurecr.io"}),
        ("basic", {"realm": "acr"}),
    ],
    'Negotiate, NTLM, Basic realm="Artifactory Realm"': [
        ("negotiate", {}),
        ("ntlm", {}),
        ("basic", {"realm": "Artifactory Realm"}),
    ],
    "Negotiate YIIabc+/=, Bearer realm=https://a.example/t": [
        ("negotiate", {}),
        ("bearer", {"realm": "https://a.example/t"}),
    ],
    'Digest realm="d", qop="auth,auth-int", nonce="a\\"b", Bearer realm="r" , scope = "a b"': [
        ("digest", {"realm": "d", "qop": "auth,auth-int", "nonce": 'a"b'}),
        ("bearer", {"realm": "r", "scope": "a b"}),
    ],
    'bEaReR ReAlM="r",SCOPE="x"': [("bearer", {"realm": "r", "scope": "x"})],
    'Bearer realm="never closed': [("bearer", {"realm": "never closed"})],
    ", ,": [],
    "": [],
    '="x"': [("x", {})],
}


@pytest.mark.parametrize("header", REAL_WORLD)
def test_real_world(header):
    assert [(c.scheme, c.parameters) for c in parse_challenges(header)] == REAL_WORLD[header]


def test_parts():
    (challenge,) = parse_challenges('Bearer realm="r",service="s",scope="a:b:c d:e:f",error="insufficient_scope"')
    assert (challenge.realm, challenge.service) == ("r", "s")
    assert challenge.scopes == ("a:b:c", "d:e:f")


def test_choose():
    challenges = parse_challenges('Bearer service="no realm", Basic realm="b", Bearer realm="r"')
    assert choose(challenges, "bearer").realm == "r"
    assert choose(challenges, "basic").realm == "b"
    assert choose(challenges, "digest") is None


def test_merge_scopes():
    assert merge_scopes(["repository:a:pull"], ["repository:a:pull"]) == {"repository:a:pull"}
    assert merge_scopes(["repository:a:pull"], ["repository:a:*"]) == {"repository:a:pull", "repository:a:*"}
    assert merge_scopes(["repository:a:pull"], ["registry:catalog:*"]) == {"repository:a:pull", "registry:catalog:*"}


@given(st.text(max_size=200))
def test_nothing_breaks_the_parser(text):
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower() and challenge.scheme


tokens = st.text(string.ascii_letters + string.digits + "-._", min_size=1, max_size=10)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
challenges = st.builds(
    lambda scheme, names, texts: Challenge(scheme.lower(), dict(zip((n.lower() for n in names), texts))),
    tokens,
    st.lists(tokens, min_size=1, max_size=4, unique_by=str.lower),
    st.lists(values, min_size=4, max_size=4),
)


def written(challenge, space):
    def quoted(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    pairs = f",{space}".join(f"{n}{space}={space}{quoted(v)}" for n, v in challenge.parameters.items())
    return f"{challenge.scheme} {pairs}"


@given(st.lists(challenges, max_size=4), st.sampled_from(["", " ", "\t"]))
def test_what_is_written_is_read(written_challenges, space):
    header = f",{space}".join(written(c, space) for c in written_challenges)
    assert parse_challenges(header) == written_challenges
