# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What goes wrong on the way: each fault is survived, or ends in one error that says it. Requests are counted."""

import email.utils
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from spack_oci.content import BytesSource, read_blob
from spack_oci.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor, canonical_json, sha256_digest
from spack_oci.errors import (
    ConnectionLost,
    DigestMismatch,
    Forbidden,
    InvalidContent,
    NotFound,
    RateLimited,
    ServerFailure,
    TimedOut,
    Unauthorized,
    UnexpectedResponse,
    Unreachable,
)
from spack_oci.reference import Repository
from spack_oci.registry import (
    Credentials,
    Mirror,
    RegistrySettings,
    RetryPolicy,
    StaticCredentials,
    UploadPolicy,
    open_repository,
)
from support.fault_registry import Fault, fault_registry

NAME = "test/faults"
SMALL = b"a small blob"
LARGE = bytes(os.urandom(1 << 16)) * 48  # 3 MiB
MANIFEST = canonical_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []})


def layer(data):
    return Descriptor.of(data, OCI_LAYER)


class Sleeps(list):
    def __call__(self, seconds):
        self.append(seconds)


def settings_for(*registries, sleeps=None, **kwargs):
    sources = [StaticCredentials(r.host, Credentials("alice", "correct-horse-battery"), "the test") for r in registries]
    retry = RetryPolicy(attempts=4, base=0.01, sleep=sleeps if sleeps is not None else Sleeps())
    defaults = {"retry": retry, "read_timeout": 5.0, "ca_bundle": registries[0].ca}
    return RegistrySettings(credentials=sources, **{**defaults, **kwargs})


def store_at(registry, **kwargs):
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings_for(registry, **kwargs))


def keep(registry, *blobs, manifest=None, tag="1"):
    """Put content into the registry without a request."""
    repository = registry.repository(NAME)
    repository.blobs.update({sha256_digest(b): b for b in blobs})
    if manifest is not None:
        repository.manifests[sha256_digest(manifest)] = (OCI_MANIFEST, manifest)
        repository.tags[tag] = sha256_digest(manifest)


# -- statuses ----------------------------------------------------------------------------------------------------------


def test_429_with_seconds():
    sleeps = Sleeps()
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "3"}, times=2)) as registry:
        keep(registry, manifest=MANIFEST)
        assert store_at(registry, sleeps=sleeps).get_manifest("1")[1] == MANIFEST
        assert registry.methods() == ["GET 429", "GET 429", "GET 200"]
    assert sleeps == [3.0, 3.0]


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
    assert sleeps == [7.0]


def test_429_for_longer_than_we_wait():
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "21600"}, times=9)) as registry:
        with pytest.raises(RateLimited, match="asks to wait 21600 s") as error:
            store_at(registry).get_manifest("1")
        assert error.value.retry_after == 21600
        assert registry.methods() == ["GET 429"]


def test_429_of_an_anonymous_request_says_so():
    with fault_registry(Fault("GET", "/manifests/", status=429, headers={"Retry-After": "999"})) as registry:
        settings = RegistrySettings()
        with pytest.raises(RateLimited, match="anonymous.*spack oci login"):
            open_repository(Repository(registry.host, NAME, "http"), settings).get_manifest("1")
        assert registry.methods() == ["GET 429"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
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


@pytest.mark.parametrize("status, kind", [(403, Forbidden), (400, UnexpectedResponse), (418, UnexpectedResponse)])
def test_refusals_are_not_repeated_and_not_misses(status, kind):
    body = b'{"errors":[{"code":"DENIED","message":"not for you"}]}'
    with fault_registry(Fault("GET", "/blobs/", status=status, body=body)) as registry:
        with pytest.raises(kind, match="DENIED: not for you") as error:
            store_at(registry).open_blob(layer(SMALL))
        assert error.value.status == status and error.value.codes == ("DENIED",)
        assert registry.methods() == [f"GET {status}"]


def test_500_to_the_put_three_times():
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=500, times=3)) as registry:
        assert store_at(registry).put_blob(layer(LARGE), BytesSource(LARGE))
        assert registry.repository(NAME).blobs == {sha256_digest(LARGE): LARGE}
        assert registry.methods() == ["HEAD 404", "POST 202", *["PUT 500", "GET 204"] * 3, "PUT 201"]


def test_head_forbidden_falls_back_to_a_byte():
    with fault_registry(Fault("HEAD", "", status=403, times=9)) as registry:
        keep(registry, LARGE, manifest=MANIFEST)
        store = store_at(registry)
        assert store.has_blob(sha256_digest(LARGE))
        assert not store.has_blob(sha256_digest(b"missing"))
        assert store.resolve("1").digest == sha256_digest(MANIFEST)
        assert registry.methods()[:2] == ["HEAD 403", "GET 206"]
        assert len(registry.requests()) == 7


# -- downloads ---------------------------------------------------------------------------------------------------------


def fetch(store, data):
    with store.open_blob(layer(data)) as reader:
        return reader.read()


@pytest.mark.parametrize("how", ["truncate", "reset_after"])
def test_download_goes_on_where_it_broke(how):
    cut = 1_000_000
    with fault_registry(Fault("GET", "/blobs/", **{how: cut}), Fault("GET", "/blobs/", **{how: cut})) as registry:
        keep(registry, LARGE)
        assert fetch(store_at(registry), LARGE) == LARGE
        assert registry.methods() == ["GET 200", "GET 206", "GET 206"]
        second, third = (headers for _, _, headers in registry.seen[1:])
        assert second["If-Range"] == f'"{sha256_digest(LARGE)}"'
        assert second["Range"] == f"bytes={cut}-" and third["Range"] == f"bytes={2 * cut}-"


def test_download_where_ranges_are_ignored():
    with fault_registry(
        Fault("GET", "/blobs/", truncate=1_000_000), Fault("GET", "/blobs/", ignore_range=True)
    ) as registry:
        keep(registry, LARGE)
        assert fetch(store_at(registry), LARGE) == LARGE
        assert registry.methods() == ["GET 200", "GET 200"]


def test_download_with_the_wrong_range():
    with fault_registry(
        Fault("GET", "/blobs/", truncate=1_000_000), Fault("GET", "/blobs/", wrong_range=True)
    ) as registry:
        keep(registry, LARGE)
        with pytest.raises(UnexpectedResponse, match="asked for bytes 1000000-, got Content-Range 'bytes 0-"):
            fetch(store_at(registry), LARGE)
        assert registry.methods() == ["GET 200", "GET 206"]


def test_download_that_never_gets_anywhere():
    with fault_registry(Fault("GET", "/blobs/", truncate=0, times=99)) as registry:
        keep(registry, LARGE)
        with pytest.raises(ConnectionLost, match=r"4 tries, 0 of \d+ bytes"):
            fetch(store_at(registry), LARGE)
        assert registry.methods() == ["GET 200"] * 4


def test_small_blob_damaged_once():
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, SMALL)
        assert read_blob(store_at(registry), layer(SMALL)) == SMALL
        assert registry.methods() == ["GET 200", "GET 200"]


def test_small_blob_damaged_always():
    with fault_registry(Fault("GET", "/blobs/", corrupt=True, times=9)) as registry:
        keep(registry, SMALL)
        with pytest.raises(DigestMismatch):
            read_blob(store_at(registry), layer(SMALL))
        assert registry.methods() == ["GET 200", "GET 200"]


def test_large_blob_damaged_once(tmp_path):
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f:
            store_at(registry).save_blob(layer(LARGE), f)
        assert (tmp_path / "blob").read_bytes() == LARGE
        assert registry.methods() == ["GET 200", "GET 200"]


@pytest.mark.parametrize(
    "faults, statuses",
    [
        ([], {"GET 206": 3}),
        ([Fault("GET", "/blobs/", truncate=1000)], {"GET 206": 4}),
        ([Fault("GET", "/blobs/", ignore_range=True, times=3)], None),
        ([Fault("GET", "/blobs/", corrupt=True)], {"GET 206": 6}),
    ],
)
def test_parallel_ranges(faults, statuses, tmp_path, monkeypatch):
    monkeypatch.setattr("spack_oci.registry.downloads.MIN_PART", 1 << 20)
    moved = []
    with fault_registry(*[replace(f) for f in faults]) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f:
            store_at(registry, parallel_ranges=3).save_blob(layer(LARGE), f, moved.append)
        assert (tmp_path / "blob").read_bytes() == LARGE
        if statuses is None:
            assert registry.methods()[-1] == "GET 200" and len(registry.requests()) <= 4
        else:
            assert dict(Counter(registry.methods())) == statuses
            assert sum(moved) == len(LARGE)


def test_large_blob_damaged_always(tmp_path):
    with fault_registry(Fault("GET", "/blobs/", corrupt=True, times=9)) as registry:
        keep(registry, LARGE)
        with (tmp_path / "blob").open("w+b") as f, pytest.raises(DigestMismatch):
            store_at(registry).save_blob(layer(LARGE), f)
        assert registry.methods() == ["GET 200", "GET 200"]


def test_manifest_damaged():
    with fault_registry(Fault("GET", "/manifests/", corrupt=True)) as registry:
        keep(registry, manifest=MANIFEST)
        assert store_at(registry).get_manifest("1")[1] == MANIFEST
        registry.faults.append(Fault("GET", "/manifests/", corrupt=True, times=9))
        with pytest.raises(DigestMismatch, match="came back with the digest"):
            store_at(registry).get_manifest(sha256_digest(MANIFEST))
        assert registry.methods() == ["GET 200"] * 4


@pytest.mark.parametrize("path", ["/blobs/", "/manifests/", "/tags/"])
def test_endless_body(path):
    with fault_registry(Fault("GET", path, endless=True)) as registry:
        keep(registry, LARGE, manifest=MANIFEST)
        store = store_at(registry)
        with pytest.raises((DigestMismatch, InvalidContent), match="more than"):
            if path == "/blobs/":
                fetch(store, LARGE)
            elif path == "/manifests/":
                store.get_manifest("1")
            else:
                list(store.tags())
        assert registry.methods() == ["GET 200"]


def test_endless_body_of_an_error():
    with fault_registry(Fault("GET", "/manifests/", status=403, endless=True)) as registry:
        with pytest.raises(Forbidden):
            store_at(registry).get_manifest("1")
        assert registry.methods() == ["GET 403"]


def test_slow_loris():
    """A byte now and then is silence."""
    with fault_registry(Fault("GET", "/manifests/", dribble=0.05, times=9)) as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry, read_timeout=0.4, retry=RetryPolicy(attempts=2, base=0.01))
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"no answer in time \(2 tries\)"):
            store.get_manifest("1")
        assert time.monotonic() - started < 3
        assert registry.methods() == ["GET 200", "GET 200"]


def test_slow_loris_in_a_body():
    with fault_registry(Fault("GET", "/blobs/", dribble=0.002, times=9)) as registry:
        keep(registry, b"x" * 20000)
        retry = RetryPolicy(attempts=2, base=0.01)
        store = store_at(registry, read_timeout=0.7, retry=retry, minimum_rate=100_000)
        with pytest.raises(TimedOut):
            fetch(store, b"x" * 20000)
        assert len(registry.requests()) <= 5 and registry.methods()[0] == "GET 200"


def test_registry_that_restarts():
    """Refused connections are retried once the registry has been seen alive; at first sight they are an error."""
    with fault_registry() as registry:
        keep(registry, SMALL)
        store = store_at(registry)
        assert store.has_blob(sha256_digest(SMALL))
        port = int(registry.host.rpartition(":")[2])
    again = []

    def restart(seconds):
        again.append(fault_registry(port=port))
        keep(again[0].__enter__(), SMALL)

    settings = settings_for(registry, retry=RetryPolicy(attempts=2, base=0.01, sleep=restart))
    store.client.settings = settings
    assert store.has_blob(sha256_digest(SMALL))
    again[0].__exit__(None, None, None)
    with pytest.raises(Unreachable):
        open_repository(Repository("127.0.0.1:1", NAME, "http"), settings).has_blob(sha256_digest(SMALL))


# -- redirects ---------------------------------------------------------------------------------------------------------


def test_redirect_to_another_host_without_credentials():
    with fault_registry() as storage, fault_registry(auth="basic", redirect_blobs=storage.url) as registry:
        keep(storage, LARGE)
        store = store_at(registry)
        assert fetch(store, LARGE) == LARGE
        assert store.has_blob(sha256_digest(LARGE))
        assert [m for m, _, h in storage.seen] == ["GET", "HEAD"]
        assert all("Authorization" not in h for _, _, h in storage.seen)
        assert registry.methods() == ["GET 401", "GET 307", "HEAD 307"]


def test_challenge_of_another_host_is_not_answered():
    with fault_registry(auth="basic") as storage, fault_registry(auth="basic", redirect_blobs=storage.url) as registry:
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


# -- uploads -----------------------------------------------------------------------------------------------------------


def put(registry, data=LARGE, **kwargs):
    moved = []
    assert store_at(registry, **kwargs).put_blob(layer(data), BytesSource(data), moved.append)
    assert registry.repository(NAME).blobs[sha256_digest(data)] == data
    assert sum(moved) == len(data) and min(moved, default=1) > 0
    return registry.methods()


def test_reset_in_the_put_goes_on_in_pieces():
    with fault_registry(Fault("PUT", "/blobs/uploads/", reset_after=1_000_000)) as registry:
        assert put(registry) == ["HEAD 404", "POST 202", "PUT 0", "GET 204", "PATCH 202", "PUT 201"]
        ranges = [h.get("Content-Range") for m, _, h in registry.seen if m == "PATCH"]
        assert ranges == [f"1000000-{len(LARGE) - 1}"]


def test_reset_in_a_piece():
    with fault_registry(Fault("PATCH", reset_after=500_000, skip=1)) as registry:
        policy = UploadPolicy(monolithic=False, chunk_size=1 << 20)
        methods = put(registry, upload=policy)
        assert methods == [
            "HEAD 404",
            "POST 202",
            "PATCH 202",
            "PATCH 0",
            "GET 204",
            "PATCH 202",
            "PATCH 202",
            "PUT 201",
        ]
        starts = [int(h["Content-Range"].split("-")[0]) for m, _, h in registry.seen if m == "PATCH"]
        assert starts == [0, 1 << 20, (1 << 20) + 500_000, (2 << 20) + 500_000]


@pytest.mark.parametrize("status", [413, 404, 405])
def test_put_refused_in_one_piece(status):
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=status)) as registry:
        assert put(registry) == ["HEAD 404", "POST 202", f"PUT {status}", "GET 204", "PATCH 202", "PUT 201"]


def test_413_for_everything_large():
    with fault_registry(max_body=1 << 20) as registry:
        methods = put(registry, upload=UploadPolicy(chunk_size=8 << 20))
        assert methods == [
            *["HEAD 404", "POST 202", "PUT 413", "GET 204"],
            *["PATCH 413", "PATCH 413", *["PATCH 202"] * 6, "PUT 201"],
        ]


def test_413_for_everything():
    with fault_registry(max_body=1) as registry:
        with pytest.raises(UnexpectedResponse, match="413"):
            put(registry)
        assert registry.repository(NAME).blobs == {}


def test_413_before_the_body_was_read():
    """Then the answer may get lost in the reset of the connection; both ends lead on."""
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=413, early=True)) as registry:
        assert put(registry)[-2:] == ["PATCH 202", "PUT 201"]


def test_minimal_length_of_pieces():
    with fault_registry(min_chunk=2 << 20) as registry:
        methods = put(registry, upload=UploadPolicy(monolithic=False, chunk_size=1 << 20))
        assert methods == ["HEAD 404", "POST 202", "PATCH 202", "PATCH 202", "PUT 201"]


def test_registry_that_forgets_uploads():
    with fault_registry(Fault("PUT", "", reset_after=10), Fault("GET", "/uploads/", status=404)) as registry:
        assert put(registry) == [
            *["HEAD 404", "POST 202", "PUT 0", "GET 404", "HEAD 404", "POST 202", "PATCH 202", "PUT 201"]
        ]


def test_connection_lost_after_the_blob_was_stored():
    with fault_registry() as registry:
        store = store_at(registry)

        class Source(BytesSource):
            def open(self):
                keep(registry, LARGE)  # as if the registry had got everything
                return super().open()

        registry.faults[:] = [Fault("PUT", "", reset_after=len(LARGE) - 1), Fault("GET", "/uploads/", status=404)]
        assert store.put_blob(layer(LARGE), Source(LARGE))
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 0", "GET 404", "HEAD 200"]


def test_upload_that_gets_nowhere():
    faults = Fault("PATCH", reset_after=1, times=99), Fault("GET", "/uploads/", status=404, times=99)
    with fault_registry(*faults) as registry:
        with pytest.raises(ConnectionLost):
            put(registry, upload=UploadPolicy(monolithic=False))
        assert registry.methods().count("PATCH 0") == 4
        assert registry.repository(NAME).blobs == {}


@pytest.mark.parametrize("location", ["absolute", "relative", "query"])
@pytest.mark.parametrize("monolithic", [True, False])
def test_locations(location, monolithic):
    with fault_registry(location=location, digest_header=False) as registry:
        put(registry, upload=UploadPolicy(monolithic=monolithic))


def test_location_with_http_behind_a_proxy_that_ends_tls():
    with fault_registry(tls=True) as registry:
        location = f"http://{registry.host}/v2/{NAME}/blobs/uploads/0-0"
        registry.uploads["0-0"] = bytearray()
        registry.faults.append(Fault("POST", status=202, headers={"Location": location}))
        assert put(registry) == ["HEAD 404", "POST 202", "PUT 201"]


def test_mount_refused():
    with fault_registry(mounts=False) as registry:
        store = store_at(registry)
        assert not store.mount_blob(layer(SMALL), "other/source")
        assert store.put_blob(layer(SMALL), BytesSource(SMALL))
        # the upload that the registry opened instead of mounting is used
        assert registry.methods() == ["POST 202", "HEAD 404", "PUT 201"]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_mount_not_allowed_is_no_error(status):
    with fault_registry(Fault("POST", "mount=", status=status)) as registry:
        store = store_at(registry)
        assert not store.mount_blob(layer(SMALL), "other/source")
        assert store.put_blob(layer(SMALL), BytesSource(SMALL))


def test_upload_left_open_is_cancelled():
    with fault_registry(mounts=False) as registry:
        with store_at(registry) as store:
            assert not store.mount_blob(layer(SMALL), "other/source")
        assert registry.methods() == ["POST 202", "DELETE 204"]
        assert registry.uploads == {}


def test_upload_that_arrives_damaged():
    """Once: sent again. Twice: an error."""
    body = b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
    with fault_registry(Fault("PUT", "/uploads/", status=400, body=body)) as registry:
        assert put(registry) == ["HEAD 404", "POST 202", "PUT 400", "POST 202", "PUT 201"]
    with fault_registry(Fault("PUT", "/uploads/", status=400, body=body, times=2)) as registry:
        with pytest.raises(UnexpectedResponse, match="DIGEST_INVALID"):
            put(registry)
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 400", "POST 202", "PUT 400"]


def test_registry_that_does_not_say_how_far_an_upload_got():
    faults = Fault("PUT", "", reset_after=1000), Fault("GET", "/uploads/", status=204)
    with fault_registry(*faults) as registry:
        assert put(registry) == [
            *["HEAD 404", "POST 202", "PUT 0", "GET 204", "DELETE 204", "POST 202", "PATCH 202", "PUT 201"]
        ]


GARBAGE = ["http://[", "http://host:port/", "//[::1", "http://a:99999/"]


@pytest.mark.parametrize("location", GARBAGE)
@pytest.mark.parametrize("method, status", [("POST", 202), ("GET", 307)])
def test_addresses_that_are_none(location, method, status):
    fault = Fault(method, "/v2/", status=status, headers={"Location": location}, times=9)
    with fault_registry(fault) as registry:
        store = store_at(registry)
        with pytest.raises((UnexpectedResponse, Unreachable, NotFound)):
            store.put_blob(layer(SMALL), BytesSource(SMALL)) if method == "POST" else store.get_manifest("1")
        assert len(registry.requests()) <= 9


def test_address_with_a_blank():
    with fault_registry() as registry:
        headers = {"Location": f"/v2/{NAME}/blobs/uploads/0-0?state=a b"}
        registry.uploads["0-0"] = bytearray()
        registry.faults.append(Fault("POST", status=202, headers=headers))
        assert put(registry) == ["HEAD 404", "POST 202", "PUT 201"]


def test_digest_header_of_an_unknown_algorithm():
    fault = {"status": 200, "headers": {"Docker-Content-Digest": "blake3:00"}, "body": MANIFEST, "times": 3}
    with fault_registry(Fault("*", "/manifests/", **fault)) as registry:
        assert store_at(registry).get_manifest("1")[1] == MANIFEST
        assert store_at(registry).resolve("1").digest == sha256_digest(MANIFEST)


def test_source_that_is_too_short():
    with fault_registry() as registry, pytest.raises(InvalidContent, match="ends after 3 of"):
        store_at(registry).put_blob(layer(SMALL), BytesSource(b"abc"))


def test_registry_that_stores_something_else():
    wrong = {"Docker-Content-Digest": sha256_digest(b"else")}
    with fault_registry(Fault("PUT", status=201, headers=wrong, times=2)) as registry:
        store = store_at(registry)
        with pytest.raises(DigestMismatch, match="the registry stored"):
            store.put_blob(layer(SMALL), BytesSource(SMALL))
        with pytest.raises(DigestMismatch, match="the registry stored"):
            store.put_manifest(MANIFEST, OCI_MANIFEST, "1")


# -- listings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style, page_size, requests", [("link", 2, 3), ("last", 1000, 2), ("link", 0, 1)])
def test_pagination(monkeypatch, style, page_size, requests):
    monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 3)
    with fault_registry(page_size=page_size, page_style=style) as registry:
        if style == "link" and not page_size:
            monkeypatch.setattr("spack_oci.registry.manifests.PAGE_SIZE", 100)
        for n in range(5):
            keep(registry, manifest=MANIFEST, tag=f"t{n}")
        assert list(store_at(registry).tags()) == [f"t{n}" for n in range(5)]
        assert len(registry.requests()) == requests


def test_pagination_that_goes_round():
    tags = b'{"name": "x", "tags": ["a", "b"]}'
    headers = {"Link": f'</v2/{NAME}/tags/list?n=2&last=b>; rel="next"'}
    with fault_registry(Fault("GET", "/tags/", status=200, headers=headers, body=tags, times=99)) as registry:
        with pytest.raises(UnexpectedResponse, match="round in circles"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 200"] * 2


def test_pagination_without_end():
    """Each page has another address, and nothing new."""
    with fault_registry() as registry:
        for n in range(99):
            headers = {"Link": f'</v2/{NAME}/tags/list?page={n}>; rel="next"'}
            registry.faults.append(Fault("GET", "/tags/", status=200, headers=headers, body=b'{"tags": ["a"]}'))
        with pytest.raises(UnexpectedResponse, match="nothing new"):
            list(store_at(registry).tags())
        assert registry.methods() == ["GET 200"] * 5


def test_pagination_to_another_host():
    headers = {"Link": '<http://elsewhere.example/v2/x/tags/list>; rel="next"'}
    fault = Fault("GET", "/tags/", status=200, headers=headers, body=b'{"tags": ["a"]}')
    with fault_registry(fault) as registry, pytest.raises(UnexpectedResponse, match="another host"):
        list(store_at(registry).tags())


def test_referrers_api():
    subject = layer(b"subject")
    document = {"schemaVersion": 2, "config": layer(SMALL).to_dict(), "layers": [], "subject": subject.to_dict()}
    with fault_registry() as registry:
        keep(registry, SMALL)
        store = store_at(registry)
        pushed = store.put_manifest(canonical_json(document), OCI_MANIFEST)
        assert store.referrers(subject.digest) == [pushed]
        assert store.referrers(subject.digest, "another/type") == []
        assert registry.methods() == ["PUT 201", "GET 200", "GET 200"]


# -- mirrors -----------------------------------------------------------------------------------------------------------


def mirrored(registry, *mirrors, **kwargs):
    settings = settings_for(registry, mirrors=[Mirror(Repository(m.host, NAME, m.scheme)) for m in mirrors], **kwargs)
    return open_repository(Repository(registry.host, NAME, registry.scheme), settings)


def test_mirrors_are_asked_in_order_and_the_origin_last():
    with fault_registry() as first, fault_registry() as second, fault_registry() as origin:
        keep(second, SMALL, manifest=MANIFEST)
        keep(origin, SMALL, LARGE)
        store = mirrored(origin, first, second)
        assert fetch(store, SMALL) == SMALL
        assert store.get_manifest("1")[1] == MANIFEST
        assert (first.methods(), second.methods(), origin.methods()) == (["GET 404"] * 2, ["GET 200"] * 2, [])
        assert fetch(store, LARGE) == LARGE
        assert origin.methods() == ["GET 200"]
        with pytest.raises(NotFound):
            store.get_manifest("2")


def test_mirror_with_a_long_retry_after_is_passed_over():
    fault = Fault("GET", "", status=429, headers={"Retry-After": "60"})
    sleeps = Sleeps()
    with fault_registry(fault) as mirror, fault_registry() as origin:
        keep(origin, SMALL)
        assert fetch(mirrored(origin, mirror, sleeps=sleeps), SMALL) == SMALL
        assert mirror.methods() == ["GET 429"] and sleeps == []


def test_download_goes_on_at_the_origin():
    faults = [Fault("GET", "", truncate=1_000_000), Fault("GET", "", status=500, times=99)]
    with fault_registry(*faults) as mirror, fault_registry() as origin:
        keep(mirror, LARGE)
        keep(origin, LARGE)
        assert fetch(mirrored(origin, mirror), LARGE) == LARGE
        assert origin.seen[0][2]["Range"] == "bytes=1000000-"
        assert mirror.methods() == ["GET 200", "GET 500", "GET 500"] and origin.methods() == ["GET 206"]


def test_damaged_mirror():
    with fault_registry(Fault("GET", "", corrupt=True, times=9)) as mirror, fault_registry() as origin:
        for registry in (mirror, origin):
            keep(registry, SMALL, LARGE, manifest=MANIFEST)
        store = mirrored(origin, mirror)
        assert fetch(store, SMALL) == SMALL
        assert store.get_manifest("1")[1] == MANIFEST
        assert mirror.methods() == ["GET 200"] * 3 and origin.methods() == ["GET 200"] * 2


def test_mirrors_get_no_credentials_of_the_origin():
    with fault_registry(auth="basic") as mirror, fault_registry(auth="basic") as origin:
        keep(origin, SMALL)
        assert fetch(mirrored(origin, mirror), SMALL) == SMALL
        assert all("Authorization" not in h for _, _, h in mirror.seen)


def test_pushes_ask_the_origin_only():
    with fault_registry() as mirror, fault_registry() as origin:
        keep(mirror, SMALL)
        assert mirrored(origin, mirror).put_blob(layer(SMALL), BytesSource(SMALL))
        assert mirror.requests() == []


# -- the fault registry as a program ----------------------------------------------------------------------------------


def test_by_hand():
    tests = Path(__file__).resolve().parents[1]
    argv = [sys.executable, "-m", "support.fault_registry", "--fault", "HEAD /blobs/ status=503 times=2"]
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
