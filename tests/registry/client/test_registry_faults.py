# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What servers answer: each status is survived, or ends in one error that says it. Requests are counted."""

import email.utils
import subprocess
import sys
import time
from pathlib import Path

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import INDEX_TYPES, MANIFEST_TYPES, OCI_MANIFEST, sha256_digest
from spack_oci.errors import Forbidden, RateLimited, ServerFailure, Unauthorized, UnexpectedResponse
from spack_oci.reference import Repository
from spack_oci.registry import RegistrySettings, RetryPolicy, open_repository
from spack_oci.registry.manifests import MAX_BLOB_LOOKS
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import (
    LARGE,
    MANIFEST,
    NAME,
    SMALL,
    Sleeps,
    fetch,
    keep,
    layer,
    settings_for,
    store_at,
)

# -- statuses ---------------------------------------------------------------------------------------------------------


def test_429_with_seconds():
    sleeps = Sleeps()
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "3"}, times=2)) as registry:
        keep(registry, manifest=MANIFEST)
        assert store_at(registry, sleeps=sleeps).get_manifest("1")[1] == MANIFEST
        assert registry.methods() == ["GET 429", "GET 429", "GET 200"]
    assert sleeps == pytest.approx([3.0, 3.0], abs=0.1)


def test_429_with_date():
    """The date is measured against the server's clock, which may be hours off."""
    sleeps = Sleeps()
    server_now = time.time() - 7200
    headers = {
        "Retry-After": email.utils.formatdate(server_now + 7, usegmt=True),
        "Date": email.utils.formatdate(server_now, usegmt=True),
    }
    with fault_registry(Fault("GET", "/manifests/", status=429, headers=headers)) as registry:
        keep(registry, manifest=MANIFEST)
        assert store_at(registry, sleeps=sleeps).get_manifest("1")[1] == MANIFEST
        assert registry.methods() == ["GET 429", "GET 200"]
    assert sleeps == pytest.approx([7.0], abs=0.1)


def test_429_for_longer_than_we_wait():
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "21600"}, times=9)) as registry:
        with pytest.raises(RateLimited, match="asks to wait 21600 s") as error:
            store_at(registry).get_manifest("1")
        assert error.value.retry_after == 21600 and "max_retry_after" in error.value.remedy
        assert registry.methods() == ["GET 429"]


def test_what_the_user_allows_to_wait():
    sleeps = Sleeps()
    fault = Fault("GET", "/manifests/", status=429, headers={"Retry-After": "3600"})
    with fault_registry(fault) as registry:
        keep(registry, manifest=MANIFEST)
        patient = RetryPolicy(max_retry_after=3600, sleep=sleeps)
        assert store_at(registry, retry=patient).get_manifest("1")[1] == MANIFEST
        assert registry.methods() == ["GET 429", "GET 200"] and sleeps == pytest.approx([3600.0], abs=0.1)


@pytest.mark.parametrize("status, kind", [(401, Unauthorized), (403, Forbidden)])
def test_a_refused_anonymous_request_says_so(status, kind):
    with fault_registry(Fault("GET", "/manifests/", status=status)) as registry:
        with pytest.raises(kind, match="anonymous.*spack oci login"):
            open_repository(Repository(registry.host, NAME, "http"), RegistrySettings()).get_manifest("1")
        how_to_ask = ["GET 200"] if status == 401 else []  # for a token, which anonymous requests may need
        assert registry.methods() == [f"GET {status}", *how_to_ask]


def test_429_of_an_anonymous_request_says_so():
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "999"})) as registry:
        settings = RegistrySettings()
        with pytest.raises(RateLimited, match="anonymous.*spack oci login"):
            open_repository(Repository(registry.host, NAME, "http"), settings).get_manifest("1")
        assert registry.methods() == ["GET 429"]


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_trouble_three_times(status):
    sleeps = Sleeps()
    with fault_registry(Fault("HEAD", "/blobs/", status=status, times=3)) as registry:
        keep(registry, SMALL)
        assert store_at(registry, sleeps=sleeps).has_blob(sha256_digest(SMALL))
        assert registry.methods() == [f"HEAD {status}"] * 3 + ["HEAD 200"]
    assert len(sleeps) == 3 and all(0.005 * 2**n <= s <= 0.01 * 2**n for n, s in enumerate(sleeps))


def test_trouble_without_end():
    with fault_registry(Fault("GET", "/blobs/", status=500, times=99)) as registry:
        with pytest.raises(ServerFailure, match=r"answered 500 \(4 tries\)"):
            store_at(registry).open_blob(layer(SMALL))
        assert registry.methods() == ["GET 500"] * 4


def test_a_blob_that_is_being_stored_by_somebody_else():
    """docker-registry says MANIFEST_BLOB_UNKNOWN in the moment in which another client stores the same blob."""
    sleeps = Sleeps()
    body = b'{"errors": [{"code": "DIGEST_INVALID"}, {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}'
    with fault_registry(Fault("PUT", "/manifests/", status=400, body=body, times=2)) as registry:
        store = store_at(registry, sleeps=sleeps)
        store.put_manifest(b"{}", OCI_MANIFEST, "tag")
        assert registry.methods() == ["PUT 400", "PUT 400", "PUT 201"]
    assert len(sleeps) == 2
    with fault_registry(Fault("PUT", "/manifests/", status=400, body=body, times=9)) as registry:
        with pytest.raises(UnexpectedResponse, match="blob unknown"):
            store_at(registry, sleeps=sleeps).put_manifest(b"{}", OCI_MANIFEST, "tag")
        assert registry.methods() == ["PUT 400"] * MAX_BLOB_LOOKS


@pytest.mark.parametrize("status, kind", [(403, Forbidden), (400, UnexpectedResponse), (418, UnexpectedResponse)])
def test_refusals_are_not_repeated_and_not_misses(status, kind):
    body = b'{"errors":[{"code":"DENIED","message":"not for you"}]}'
    with fault_registry(Fault("GET", "/blobs/", status=status, body=body)) as registry:
        with pytest.raises(kind, match="DENIED: not for you") as error:
            store_at(registry).open_blob(layer(SMALL))
        assert error.value.status == status and error.value.codes == ("DENIED",)
        asked_for_credentials = ["GET 200"] if status == 403 else []
        assert registry.methods() == [f"GET {status}", *asked_for_credentials]


def test_500_to_the_put_three_times():
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=500, times=3)) as registry:
        assert store_at(registry).put_blob(layer(LARGE), BytesSource(LARGE))
        assert registry.repository(NAME).blobs == {sha256_digest(LARGE): LARGE}
        assert registry.methods() == ["HEAD 404", "POST 202", *["PUT 500", "GET 204"] * 3, "PUT 201"]


@pytest.mark.parametrize("method, path", [("POST", "/uploads/"), ("PUT", "/manifests/"), ("DELETE", "/manifests/")])
def test_500_to_what_changes_something_three_times(method, path):
    with fault_registry(Fault(method, path, status=500, times=3)) as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry)
        if method == "POST":
            assert store.put_blob(layer(SMALL), BytesSource(SMALL))
            assert registry.methods() == ["HEAD 404", *["POST 500"] * 3, "POST 202", "PUT 201"]
        elif method == "PUT":
            store.put_manifest(MANIFEST, OCI_MANIFEST, "2")
            assert registry.methods() == [*["PUT 500"] * 3, "PUT 201"]
        else:
            store.delete_manifest(sha256_digest(MANIFEST))
            assert registry.methods() == [*["DELETE 500"] * 3, "DELETE 202"]


def test_manifests_of_all_kinds_are_accepted():
    with fault_registry() as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry)
        store.get_manifest("1")
        store.resolve("1")
        for _, _, headers in registry.seen:
            assert headers["Accept"].split(", ") == [*MANIFEST_TYPES, *INDEX_TYPES]
    kinds = ("vnd.oci.image.manifest.v1", "vnd.oci.image.index.v1")
    kinds += ("vnd.docker.distribution.manifest.v2", "vnd.docker.distribution.manifest.list.v2")
    assert {f"application/{kind}+json" for kind in kinds} == {*MANIFEST_TYPES, *INDEX_TYPES}


def test_head_forbidden_falls_back_to_a_byte():
    with fault_registry(Fault("HEAD", "", status=403, times=9)) as registry:
        keep(registry, LARGE, manifest=MANIFEST)
        store = store_at(registry)
        assert store.has_blob(sha256_digest(LARGE))
        assert not store.has_blob(sha256_digest(b"missing"))
        assert store.resolve("1").digest == sha256_digest(MANIFEST)
        assert registry.methods() == [
            *["HEAD 403", "GET 206"],  # there
            *["HEAD 403", "GET 404"],  # not there
            *["HEAD 403", "GET 200", "GET 200"],  # a manifest: no range of it, and then the whole
        ]


# -- redirects --------------------------------------------------------------------------------------------------------


def test_redirect_to_another_host_without_credentials():
    with fault_registry() as storage, fault_registry(auth="basic", redirect_blobs=storage.url) as registry:
        keep(storage, LARGE)
        store = store_at(registry)
        assert fetch(store, LARGE) == LARGE
        assert store.has_blob(sha256_digest(LARGE))
        assert [m for m, _, h in storage.seen] == ["GET", "HEAD"]
        assert all("Authorization" not in h for _, _, h in storage.seen)
        assert registry.methods() == ["GET 401", "GET 307", "HEAD 307"]


@pytest.mark.parametrize("own", [{}, {"auth": "basic"}], ids=["public", "private"])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_challenge_of_another_host_is_not_answered(auth, own):
    """Not even by asking the token server that it names."""
    with fault_registry(auth=auth) as storage, fault_registry(redirect_blobs=storage.url, **own) as registry:
        keep(storage, SMALL)
        settings = settings_for(registry, storage)  # even if we had credentials for it
        store = open_repository(Repository(registry.host, NAME, "http"), settings)
        with pytest.raises(Unauthorized, match=f"redirected to {storage.host}"):
            fetch(store, SMALL)
        assert storage.methods() == ["GET 401"]


def test_signed_address_that_refuses_head():
    with fault_registry(refuse_head_after_redirect=True) as storage, fault_registry() as registry:
        registry.behaviour.redirect_blobs = storage.url
        keep(storage, LARGE)
        assert store_at(registry).has_blob(sha256_digest(LARGE))
        assert registry.methods() == ["HEAD 307", "GET 307"]
        assert storage.methods() == ["HEAD 403", "GET 206"]


def test_redirect_loop():
    with fault_registry(Fault("GET", "/blobs/", status=302, headers={"Location": "?again"}, times=99)) as registry:
        with pytest.raises(UnexpectedResponse, match="more than 5 redirects"):
            fetch(store_at(registry), SMALL)
        assert registry.methods() == ["GET 302"] * 6


def test_redirect_away_from_https():
    with fault_registry() as storage, fault_registry(redirect_blobs=storage.url, tls=True) as registry:
        with pytest.raises(UnexpectedResponse, match="away from https"):
            fetch(store_at(registry), SMALL)
        assert storage.requests() == []


# -- the fault registry as a program ----------------------------------------------------------------------------------


def test_by_hand():
    tests = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-m", "support.registries.fault_registry", "--fault", "HEAD /blobs/ status=503 times=2"]
    with subprocess.Popen(argv, cwd=tests, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[0]
            retry = RetryPolicy(attempts=3, base=0.01)
            repository = Repository(url.partition("://")[2], NAME, "http")
            assert not open_repository(repository, RegistrySettings(retry=retry)).has_blob(sha256_digest(SMALL))
            lines = [process.stdout.readline().split() for _ in range(3)]
            assert [line[-1] for line in lines] == ["503", "503", "404"]
        finally:
            process.terminate()
