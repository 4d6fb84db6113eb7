# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Uploads that are cut, refused, forgotten or damaged: they complete, or end in one error. Requests are counted."""

import pytest
from spack_oci.content import BytesSource, Presence
from spack_oci.descriptor import OCI_MANIFEST, sha256_digest
from spack_oci.errors import ConnectionLost, DigestMismatch, InvalidContent, NotFound, UnexpectedResponse, Unreachable
from spack_oci.registry import UploadPolicy
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, MANIFEST, NAME, SMALL, keep, layer, store_at


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
        # 3 MiB whole and in one piece, then in pieces down to the smallest that is worth it
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 413", "GET 204", *["PATCH 413"] * 4]


def test_413_before_the_body_was_read():
    """Then the answer may get lost in the reset of the connection; both ends lead on."""
    with fault_registry(Fault("PUT", "/blobs/uploads/", status=413, early=True)) as registry:
        assert put(registry)[-2:] == ["PATCH 202", "PUT 201"]


@pytest.mark.parametrize(
    "with_post, first, second",
    [
        ("stored", ["POST 201", "HEAD 200"], ["POST 201"]),
        ("ignored", ["POST 202", "PUT 201"], ["POST 202", "PUT 201"]),
        ("refused", ["POST 405", "POST 202", "PUT 201"], ["POST 202", "PUT 201"]),
    ],
)
def test_a_small_blob_goes_with_the_post_where_the_registry_takes_it(with_post, first, second):
    with fault_registry(with_post=with_post) as registry:
        store = store_at(registry)
        for data, methods in ((SMALL, first), (SMALL[1:], second)):
            moved = []
            before = len(registry.methods())
            store.put_blob(layer(data), BytesSource(data), moved.append, Presence.EXCLUDED)
            assert registry.repository(NAME).blobs[sha256_digest(data)] == data
            assert registry.methods()[before:] == methods
            assert sum(moved) == len(data)
        sent = [headers.get("Content-Length") for method, _, headers in registry.seen if method == "POST"]
        assert sent[-1:] == [str(len(SMALL[1:])) if with_post == "stored" else "0"]


@pytest.mark.parametrize("status", [201, 403])
def test_one_that_does_not_mean_it_gets_the_blob_as_ever(status):
    """201 without storing it, or a gateway that lets no such request through."""
    fault = Fault("POST", "digest=", status=status, times=5)
    with fault_registry(fault) as registry:
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL), presence=Presence.EXCLUDED)
        assert registry.repository(NAME).blobs[sha256_digest(SMALL)] == SMALL
        assert registry.methods()[-2:] == ["POST 202", "PUT 201"]


def test_a_registry_that_stores_something_else_with_the_post_is_found_out():
    fault = Fault("POST", "/blobs/uploads/", status=201, headers={"Docker-Content-Digest": sha256_digest(b"other")})
    with fault_registry(fault) as registry, pytest.raises(DigestMismatch, match="the registry stored"):
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL), presence=Presence.EXCLUDED)


def test_a_large_blob_is_not_sent_to_find_that_out():
    with fault_registry(with_post="stored") as registry:
        assert put(registry) == ["HEAD 404", "POST 202", "PUT 201"]


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
        again = ["GET 404", "HEAD 404", "POST 202", "PATCH 0"]
        assert registry.methods() == ["HEAD 404", "POST 202", "PATCH 0", *again * 3]
        assert registry.repository(NAME).blobs == {}


def test_upload_that_gets_on_by_bytes():
    """Each piece is cut after five: the blob would take as many requests as the server likes."""
    with fault_registry(Fault("PATCH", reset_after=5, times=99)) as registry:
        with pytest.raises(ConnectionLost):
            put(registry, upload=UploadPolicy(monolithic=False))
        assert registry.methods() == ["HEAD 404", "POST 202", *["PATCH 0", "GET 204"] * 3, "PATCH 0"]


def test_upload_that_is_cut_often():
    """More often than anything is tried again, but it gets on."""
    with fault_registry(Fault("PATCH", reset_after=100_000, times=9)) as registry:
        methods = put(registry, upload=UploadPolicy(monolithic=False))
        assert methods == ["HEAD 404", "POST 202", *["PATCH 0", "GET 204"] * 9, "PATCH 202", "PUT 201"]


@pytest.mark.parametrize("location", ["absolute", "relative", "query"])
@pytest.mark.parametrize("monolithic", [True, False])
def test_locations(location, monolithic):
    with fault_registry(location=location, digest_header=False) as registry:
        pieces = [] if monolithic else ["PATCH 202"]
        methods = put(registry, upload=UploadPolicy(monolithic=monolithic))
        assert methods == ["HEAD 404", "POST 202", *pieces, "PUT 201"]


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
        asked_for_credentials = ["GET 200"] if status in (401, 403) else []
        assert registry.methods() == [f"POST {status}", *asked_for_credentials, "HEAD 404", "POST 202", "PUT 201"]


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
        assert registry.methods() == (["HEAD 404", "POST 202"] if method == "POST" else ["GET 307"])


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
        assert registry.methods() == ["GET 200", "HEAD 200", "GET 200"]


def test_source_that_is_too_short():
    with fault_registry() as registry:
        with pytest.raises(InvalidContent, match="ends after 3 of"):
            store_at(registry).put_blob(layer(SMALL), BytesSource(b"abc"))
        assert registry.repository(NAME).blobs == {}


def test_registry_that_stores_something_else():
    wrong = {"Docker-Content-Digest": sha256_digest(b"else")}
    with fault_registry(Fault("PUT", status=201, headers=wrong, times=2)) as registry:
        store = store_at(registry)
        with pytest.raises(DigestMismatch, match="the registry stored"):
            store.put_blob(layer(SMALL), BytesSource(SMALL))
        with pytest.raises(DigestMismatch, match="the registry stored"):
            store.put_manifest(MANIFEST, OCI_MANIFEST, "1")
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 201", "PUT 201"]


def contents(count):
    """As many different blobs of some size."""
    return [LARGE[: 1 << 20] + bytes([number]) for number in range(count)]


def put_new(store, data):
    return store.put_blob(layer(data), BytesSource(data), presence=Presence.UNLIKELY)


def test_a_new_blob_is_looked_for_by_the_request_that_opens_its_upload():
    one, two, three = contents(3)
    with fault_registry() as registry:
        store = store_at(registry)
        assert put_new(store, one)
        # it has learnt that this registry mounts what it has from the same repository
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 201", "POST 201"]
        assert put_new(store, two)
        assert not put_new(store, two)
        assert registry.methods()[4:] == ["POST 202", "PUT 201", "POST 201"]
        assert not put_new(store_at(registry), one)
        assert registry.methods()[7:] == ["HEAD 200"]
        registry.faults.append(Fault("POST", "mount=", status=405))
        assert put_new(store, three)
        assert registry.methods()[8:] == ["POST 405", "HEAD 404", "POST 202", "PUT 201"]
        assert registry.repository(NAME).blobs.keys() >= {sha256_digest(data) for data in (one, two, three)}


def test_a_registry_that_mounts_nothing_is_asked_for_new_blobs_too():
    """It opens an upload for whatever it is asked to mount: that says nothing."""
    one, two, _ = contents(3)
    with fault_registry(mounts=False) as registry:
        store = store_at(registry)
        assert put_new(store, one)
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 201", "POST 202", "DELETE 204"]
        assert put_new(store, two)
        assert not put_new(store, two)
        assert registry.methods()[5:] == ["HEAD 404", "POST 202", "PUT 201", "HEAD 200"]


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_registry_that_refuses_to_mount_is_asked_for_new_blobs_too(status):
    one, two, _ = contents(3)
    with fault_registry(Fault("POST", "mount=", status=status, times=99)) as registry:
        store = store_at(registry)
        assert put_new(store, one) and put_new(store, two) and not put_new(store, two)
        assert registry.methods() == [
            *["HEAD 404", "POST 202", "PUT 201", f"POST {status}"],
            *["HEAD 404", "POST 202", "PUT 201"],
            "HEAD 200",
        ]


def test_what_is_stored_stays_so_when_the_registry_cannot_tell_of_mounting():
    one, _, _ = contents(3)
    with fault_registry(Fault("POST", "mount=", status=503, times=99)) as registry:
        assert put_new(store_at(registry), one)
        assert registry.repository(NAME).blobs[sha256_digest(one)] == one


def test_an_upload_that_a_mount_has_opened_is_used():
    one, two, _ = contents(3)
    with fault_registry(mounts=False) as registry:
        store = store_at(registry)
        assert put_new(store, two)
        before = len(registry.methods())
        assert not store.mount_blob(layer(one), "elsewhere")
        assert put_new(store, one)
        assert registry.methods()[before:] == ["POST 202", "HEAD 404", "PUT 201"]


def test_a_new_blob_where_head_is_forbidden():
    one, _, _ = contents(3)
    with fault_registry(Fault("HEAD", "", status=403, times=9)) as registry:
        assert put_new(store_at(registry), one)
        assert not put_new(store_at(registry), one)
        assert registry.methods() == [
            *["HEAD 403", "GET 404", "POST 202", "PUT 201", "POST 201"],
            *["HEAD 403", "GET 206"],
        ]
