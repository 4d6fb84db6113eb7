# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Challenges, token servers and what is (not) sent to them, against the fault-injecting registry."""

import gzip
import threading
import time
import urllib.parse

import pytest
from spack_oci.content import BytesSource, put_bytes, read_blob
from spack_oci.descriptor import OCI_LAYER, Descriptor, sha256_digest
from spack_oci.errors import ConfigurationError, InvalidContent, ServerFailure, Unauthorized, UnexpectedResponse
from spack_oci.reference import Repository
from spack_oci.registry import (
    Credentials,
    RegistrySettings,
    RetryPolicy,
    StaticCredentials,
    UploadPolicy,
    open_repository,
)
from spack_oci.registry.auth.tokens import https_realm
from support.registries.fault_registry import Fault, fault_registry

NAME = "test/auth"
DATA = b"guarded content"
DIGEST = sha256_digest(DATA)
ALICE = Credentials("alice", "correct-horse-battery")
QUICK = RetryPolicy(attempts=3, base=0.01)


def store_at(registry, credentials=ALICE, **kwargs):
    registry.repository(NAME).blobs[DIGEST] = DATA
    sources = [StaticCredentials(registry.host, credentials, "the test")] if credentials else []
    settings = RegistrySettings(sources, retry=QUICK, ca_bundle=registry.ca, **kwargs)
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings)


def token_queries(registry):
    return [urllib.parse.parse_qs(p.partition("?")[2]) for m, p, _ in registry.seen if p.startswith("/token")]


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'BEARER REALM="{realm}",SERVICE="test",SCOPE="{scope}"',
        'Bearer realm="{realm}",scope="{scope}"',
        'Bearer realm="{realm}",service="test"',
        'Bearer realm="{realm}"',
        'Bearer realm="{realm}", scope="{scope}", note="a, quoted=\\"comma\\""',
        'Negotiate YII=, Digest realm="x", qop="auth,auth-int", Bearer realm="{realm}",scope="{scope}"',
        'Basic realm="x", Bearer realm="{realm}",scope="{scope}"',
        'Basic realm="x"\nBearer realm="{realm}",scope="{scope}"',
        "Bearer realm={realm},service=test",
    ],
)
def test_challenges(challenge):
    with fault_registry(auth="bearer", challenge=challenge) as registry:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        assert store.has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 200", "HEAD 200"]
        (query,) = token_queries(registry)
        assert query["scope"] == [f"repository:{NAME}:pull"]
        assert ("service" in query) == ("service" in challenge.lower() or not challenge)


@pytest.mark.parametrize("kwargs", [{"token_field": "access_token"}, {"expires_in": False}, {"tls": True}])
def test_token_answers(kwargs):
    with fault_registry(auth="bearer", **kwargs) as registry:
        assert store_at(registry).has_blob(DIGEST)


def test_anonymous_token():
    with fault_registry(auth="bearer", anonymous_actions="pull") as registry:
        store = store_at(registry, None)
        assert store.has_blob(DIGEST)
        assert all("Authorization" not in h for _, p, h in registry.seen if p.startswith("/token"))
        with pytest.raises(Unauthorized, match="anonymous: no credentials for .* were found.*spack oci login"):
            put_bytes(store, b"new", OCI_LAYER)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 200", "HEAD 404", "token 200", "POST 401"]


def test_a_refused_token_is_not_asked_for_again_and_again():
    with fault_registry(auth="bearer", users={"alice": (ALICE.password, "pull")}) as registry:
        store = store_at(registry)
        with pytest.raises(Unauthorized, match="credentials from the test"):
            store.uploader.start(DIGEST)
        assert registry.methods() == ["POST 401", "token 200", "POST 401"]


def test_wrong_password_is_asked_for_once():
    with fault_registry(auth="bearer") as registry:
        with pytest.raises(
            Unauthorized, match="token server.*wrong password.*; the request was made with the credentials from [^<]*$"
        ):
            store_at(registry, Credentials("alice", "wr0ng")).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 401"]
    with fault_registry(auth="basic") as registry:
        with pytest.raises(Unauthorized, match="credentials from the test"):
            store_at(registry, Credentials("alice", "wr0ng")).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "HEAD 401"]


class Clock:
    """Ours, that of the registry goes on as it does; takes the place of the module."""

    ahead = 0.0

    def monotonic(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("spack_oci.registry.auth.tokens.time", clock)
    return clock


def test_token_that_expires(clock):
    with fault_registry(auth="bearer", token_lifetime=100) as registry:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        clock.ahead = 91  # a tenth of its life before the end, it is renewed without running into a 401
        assert store.has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 200", "token 200", "HEAD 200"]


def test_token_that_the_registry_forgets():
    with fault_registry(auth="bearer") as registry:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        registry.tokens.clear()
        assert store.has_blob(DIGEST)
        assert registry.methods()[3:] == ["HEAD 401", "token 200", "HEAD 200"]


@pytest.mark.parametrize("monolithic", [True, False])
def test_401_in_the_middle_of_an_upload(monolithic):
    """After the body was read: it is sent again, from its start, with a new token."""
    data = b"0123456789abcdef" * (1 << 16)
    with fault_registry(auth="bearer") as registry:
        challenge = {"WWW-Authenticate": f'Bearer realm="{registry.url}/token",error="invalid_token"'}
        registry.faults.append(Fault("PUT" if monolithic else "PATCH", "/uploads/", status=401, headers=challenge))
        policy = UploadPolicy(monolithic=monolithic, chunk_size=1 << 19)
        assert store_at(registry, upload=policy).put_blob(Descriptor.of(data, OCI_LAYER), BytesSource(data))
        assert registry.repository(NAME).blobs[sha256_digest(data)] == data
        start = ["HEAD 401", "token 200", "HEAD 404", "token 200", "POST 202"]
        if monolithic:
            assert registry.methods() == [*start, "PUT 401", "token 200", "PUT 201"]
        else:
            assert registry.methods() == [*start, "PATCH 401", "token 200", "PATCH 202", "PATCH 202", "PUT 201"]


def test_token_that_expires_during_an_upload(clock):
    """A piece takes longer than a token lives, and so the next one gets another token, without a 401."""
    data = b"0123456789abcdef" * (3 << 15)

    class Slow(BytesSource):
        opened = 0

        def open(self):
            self.opened += 1
            if self.opened == 1:
                clock.ahead = 100
            return super().open()

    with fault_registry(auth="bearer", token_lifetime=100) as registry:
        policy = UploadPolicy(monolithic=False, chunk_size=1 << 19)
        assert store_at(registry, upload=policy).put_blob(Descriptor.of(data, OCI_LAYER), Slow(data))
        assert registry.repository(NAME).blobs[sha256_digest(data)] == data
        assert registry.methods() == [
            *["HEAD 401", "token 200", "HEAD 404", "token 200", "POST 202"],
            *["PATCH 202", "token 200", "PATCH 202", "PATCH 202", "PUT 201"],
        ]


@pytest.mark.parametrize("how", ["truncate", "reset_after"])
def test_token_answer_that_breaks_off(how):
    with fault_registry(Fault("GET", "/token", **{how: 10}), auth="bearer") as registry:
        assert store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 401", "token 200", "HEAD 200"]


def test_many_threads_ask_for_one_token():
    with fault_registry(Fault("GET", "/token", dribble=0.001), auth="bearer") as registry:
        store = store_at(registry)
        results = []
        threads = [threading.Thread(target=lambda: results.append(store.has_blob(DIGEST))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert results == [True] * 8
        assert sum(m.startswith("token") for m in registry.methods()) == 1


def test_tokens_of_other_repositories_and_users_are_not_used():
    with fault_registry(auth="bearer", users={"alice": (ALICE.password, "pull"), "bob": ("b0b", "pull")}) as registry:
        assert store_at(registry).has_blob(DIGEST)
        assert store_at(registry, Credentials("bob", "b0b")).has_blob(DIGEST)
        other = open_repository(Repository(registry.host, "test/other", "http"), store_at(registry).settings)
        assert not other.has_blob(DIGEST)
        assert [q["account"] for q in token_queries(registry)] == [["alice"], ["bob"], ["alice"]]


def test_identity_token():
    with fault_registry(auth="bearer", identity_tokens={"1dentity": "alice"}) as registry:
        assert store_at(registry, Credentials(identity_token="1dentity")).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 200"]
        assert [m for m, p, _ in registry.seen if "token" in p] == ["POST"]


@pytest.mark.parametrize("username", ["", "00000000-0000-0000-0000-000000000000"])
def test_identity_token_where_there_is_no_post(username):
    with fault_registry(auth="bearer", identity_tokens={"1dentity": "alice"}, oauth_post=False) as registry:
        assert store_at(registry, Credentials(username, identity_token="1dentity")).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 405", "token 200", "HEAD 200"]


def test_identity_token_that_is_over():
    with fault_registry(auth="bearer") as registry:
        with pytest.raises(Unauthorized, match="token server") as error:
            store_at(registry, Credentials(identity_token="1dentity")).has_blob(DIGEST)
        assert "1dentity" not in str(error.value)


def test_registry_token_goes_to_the_registry_as_it_is():
    with fault_registry(auth="bearer") as registry:
        registry.tokens["ready-made"] = (time.monotonic() + 60, {NAME: "pull"})
        assert store_at(registry, Credentials(registry_token="ready-made")).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "HEAD 200"]


def test_basic_with_a_token_only():
    with fault_registry(auth="basic") as registry, pytest.raises(ConfigurationError, match="has only a token"):
        store_at(registry, Credentials(identity_token="1dentity")).has_blob(DIGEST)


@pytest.mark.parametrize(
    "realm",
    [
        "http://evil.example/token",
        "http://user:pw@127.0.0.1/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
        "//evil.example/token",
        "https://a@evil.example/token",
        "evil",
    ],
)
def test_hostile_realm_gets_nothing(realm):
    with fault_registry(auth="bearer", challenge=f'Bearer realm="{realm}"') as registry:
        with pytest.raises(Unauthorized, match="nothing was sent there"):
            store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401"]


@pytest.mark.parametrize("realm", ["http://[", "https://host:port/"])
def test_realm_that_is_no_address(realm):
    with fault_registry(auth="bearer", challenge=f'Bearer realm="{realm}"') as registry:
        with pytest.raises(UnexpectedResponse, match="not an address"):
            store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401"]


def test_http_realm_of_an_https_registry():
    with fault_registry(auth="bearer") as tokens, fault_registry(auth="bearer", tls=True) as registry:
        registry.behaviour.challenge = f'Bearer realm="{tokens.url}/token"'
        with pytest.raises(Unauthorized, match="which is not https"):
            store_at(registry).has_blob(DIGEST)
        assert tokens.requests() == []
        with pytest.raises(Unauthorized):  # its tokens are good for itself only, but it was asked
            store_at(registry, allow_http_realm=True).has_blob(DIGEST)
        assert tokens.methods() == ["token 200"]
        with pytest.raises(Unauthorized, match="which is not https.*insecure_http"):
            store_at(registry, http_hosts=["other.example"]).has_blob(DIGEST)
        with pytest.raises(Unauthorized, match="not accepted"):
            store_at(registry, http_hosts=[tokens.host]).has_blob(DIGEST)


def test_no_credentials_over_a_redirect_of_the_token_server():
    with fault_registry() as elsewhere:
        moved = Fault("GET", "/token", status=302, headers={"Location": f"{elsewhere.url}/token"})
        with fault_registry(moved, auth="bearer") as registry:
            with pytest.raises(UnexpectedResponse, match=f"redirects to {elsewhere.url}/token, which is not followed"):
                store_at(registry).has_blob(DIGEST)
            assert elsewhere.requests() == []
            assert registry.methods() == ["HEAD 401", "token 302"]


def test_a_token_server_that_redirects_to_itself_is_followed():
    """opencontainers/distribution-spec #607: any request may be redirected."""
    moved = Fault("GET", "/token?", status=307)
    with fault_registry(moved, auth="bearer") as registry:
        moved.headers["Location"] = f"/token?scope=repository:{NAME}:pull"
        assert store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 307", "token 200", "HEAD 200"]


def test_a_token_server_that_redirects_round_and_round():
    moved = Fault("GET", "/token", status=302, headers={"Location": "/token"}, times=99)
    with fault_registry(moved, auth="bearer") as registry, pytest.raises(UnexpectedResponse, match="is not followed"):
        store_at(registry).has_blob(DIGEST)


def test_who_is_anonymous_is_redirected_to_another_token_server():
    with fault_registry(auth="bearer", anonymous_actions="pull") as registry, fault_registry() as elsewhere:
        elsewhere.faults.append(Fault("GET", "/token", status=200, body=b'{"token": "t"}', times=99))
        registry.faults.append(Fault("GET", "/token", status=302, headers={"Location": f"{elsewhere.url}/token"}))
        registry.tokens["t"] = (time.monotonic() + 60, {NAME: "pull"})
        assert store_at(registry, None).has_blob(DIGEST)


@pytest.mark.parametrize(
    "realm, asked",
    [
        ("http://r.example/token?a=b", "https://r.example:8443/token?a=b"),
        ("http://R.Example:80/token", "https://r.example:8443/token"),
        ("http://r.example:8080/token", None),
        ("http://other.example/token", None),
        ("http://user@r.example/token", None),
        ("ftp://r.example/token", None),
        ("https://r.example/token", None),
    ],
)
def test_a_realm_of_a_registry_that_names_itself_with_http_is_asked_over_https(realm, asked):
    """moby/moby #38662, Finsys/dockhand #1428: Artifactory, Harbor behind a proxy that ends TLS."""
    assert https_realm(realm, "https://r.example:8443/v2/a") == (asked or realm)
    assert https_realm(realm, "http://r.example:8443/v2/a") == realm


def test_a_registry_behind_a_proxy_that_ends_tls_gets_credentials_over_https_alone():
    with fault_registry(auth="bearer", tls=True) as registry:
        registry.behaviour.challenge = f'Bearer realm="http://{registry.host.partition(":")[0]}/token"'
        assert store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200", "HEAD 200"]


def test_a_netrc_takes_the_place_of_no_token(tmp_path, monkeypatch):
    """encode/httpx #568, psf/requests #3929: it is for the whole host, and a token is for a repository."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login alice password from-netrc\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    with fault_registry(auth="bearer") as registry:
        store = store_at(registry)
        assert store.has_blob(DIGEST) and read_blob(store, Descriptor.of(DATA, OCI_LAYER)) == DATA
        put_bytes(store, b"new", OCI_LAYER)
        sent = [headers.get("Authorization", "") for _, path, headers in registry.seen if "/token" not in path]
        assert any(sent) and all(header.startswith("Bearer ") for header in sent if header)


def test_a_token_that_a_proxy_compresses():
    with fault_registry(auth="bearer") as registry:
        registry.tokens["t"] = (time.monotonic() + 60, {NAME: "pull"})
        body = gzip.compress(b'{"token": null, "access_token": "t"}')
        registry.faults.append(Fault("GET", "/token", status=200, headers={"Content-Encoding": "gzip"}, body=body))
        assert store_at(registry).has_blob(DIGEST)


@pytest.mark.parametrize("auth", ["bearer", "basic"])
def test_a_registry_that_refuses_and_tells_how_it_wants_credentials_at_its_base_alone(auth):
    with fault_registry(auth=auth, tells_at_base=True) as registry:
        assert store_at(registry).has_blob(DIGEST)
        assert [m for m in registry.methods() if m != "token 200"] == ["HEAD 401", "GET 401", "HEAD 200"]


def test_a_registry_that_never_tells_how_it_wants_credentials_is_asked_once_and_named():
    with fault_registry(Fault("*", "/v2/", status=401, times=99)) as registry:
        store = store_at(registry)
        for _ in range(2):
            with pytest.raises(Unauthorized, match="does not tell how it wants to see them"):
                store.has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "GET 401", "HEAD 401"]


def test_token_server_in_trouble():
    with fault_registry(Fault("GET", "/token", status=503, times=2), auth="bearer") as registry:
        assert store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 503", "token 503", "token 200", "HEAD 200"]
        registry.faults.append(Fault("GET", "/token", status=503, times=99))
        registry.tokens.clear()
        with pytest.raises(ServerFailure, match=r"token server .* answered 503 \(3 tries\)"):
            store_at(registry).has_blob(DIGEST)
        # the token that is known from before is tried first
        assert registry.methods()[5:] == ["HEAD 401", "HEAD 401", "token 503", "token 503", "token 503"]


@pytest.mark.parametrize("fault", [{"endless": True}, {"status": 200, "body": b"{}"}, {"status": 200, "body": b"no"}])
def test_token_answers_that_are_none(fault):
    with fault_registry(Fault("GET", "/token", **fault), auth="bearer") as registry:
        with pytest.raises(InvalidContent):
            store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401", "token 200"]


def test_challenge_without_a_way_that_we_know():
    with fault_registry(auth="bearer", challenge="Negotiate") as registry:
        with pytest.raises(Unauthorized):
            store_at(registry).has_blob(DIGEST)
        assert registry.methods() == ["HEAD 401"]


def test_what_the_registry_echoes_is_not_shown():
    body = b'{"errors":[{"code":"DENIED","message":"password correct-horse-battery is not good enough"}]}'
    with fault_registry(Fault("HEAD"), Fault("GET", "/blobs/", status=403, body=body), auth="basic") as registry:
        store = store_at(registry)
        assert store.has_blob(DIGEST)
        registry.faults.append(Fault("GET", "/blobs/", status=403, body=body))
        with pytest.raises(Exception, match=r"password \*\*\* is not"):
            read_blob(store, Descriptor.of(DATA, OCI_LAYER))


@pytest.mark.parametrize("lifetime", [b"1" + b"0" * 400, b"1e999", b"NaN", b"-1", b'"60"'])
def test_a_lifetime_that_is_no_number_of_seconds(lifetime):
    """The largest number of JSON is larger than the largest float."""
    with fault_registry(auth="bearer", anonymous_actions="pull") as registry:
        registry.repository(NAME).blobs[DIGEST] = DATA
        registry.tokens["given"] = (time.monotonic() + 60, {NAME: "pull"})
        body = b'{"token":"given","expires_in":%s}' % lifetime
        registry.faults.append(Fault("GET", "/token", status=200, body=body, times=9))
        assert store_at(registry).has_blob(DIGEST)
