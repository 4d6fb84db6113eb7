# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Registries and proxies that are not like others: what they send is coped with, or named in one error within bounds.

``docs/registries.md`` says where each of them was met.
"""

import gzip
import json

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import sha256_digest
from spack_oci.errors import (
    ConfigurationError,
    ConnectionLost,
    InvalidContent,
    NotFound,
    SpackOciError,
    TransportError,
    Unauthorized,
    UnexpectedResponse,
)
from spack_oci.reference import Repository
from spack_oci.registry import Credentials, RegistrySettings, RetryPolicy, StaticCredentials, open_repository
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, MANIFEST, NAME, SMALL, Sleeps, keep, layer, store_at

PAGE_413 = b"<html><head><title>413 Request Entity Too Large</title></head><body><hr>nginx</body></html>"


@pytest.mark.parametrize("status", [403, 405, 501])
def test_head_is_not_allowed(status):
    with fault_registry(Fault("HEAD", "", status=status, times=9)) as registry:
        keep(registry, SMALL, manifest=MANIFEST)
        store = store_at(registry)
        assert store.has_blob(sha256_digest(SMALL)) and not store.has_blob(sha256_digest(b"missing"))
        assert store.resolve("1").digest == sha256_digest(MANIFEST)


@pytest.mark.parametrize("is_told", [True, False])
def test_manifest_that_a_proxy_compresses(is_told):
    """Digest and size are those of the manifest, whether or not the digest is told."""
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", "Content-Encoding": "gzip"}
    if is_told:
        headers["Docker-Content-Digest"] = sha256_digest(MANIFEST)
    fault = Fault("*", "/manifests/", status=200, headers=headers, body=gzip.compress(MANIFEST), times=9)
    with fault_registry(fault) as registry:
        store = store_at(registry)
        descriptor, data = store.get_manifest("1")
        assert data == MANIFEST and descriptor.size == len(MANIFEST)
        assert store.resolve("1") == descriptor
        assert all(headers["Accept-Encoding"] == "identity" for _, _, headers in registry.seen)


BROKEN = {"too-large": gzip.compress(b"x" * (50 << 20)), "no-gzip": b"no gzip", "cut": gzip.compress(MANIFEST)[:-4]}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_compressed_manifest_that_cannot_be_read(body):
    fault = Fault("GET", "/manifests/", status=200, headers={"Content-Encoding": "gzip"}, body=body)
    with fault_registry(fault) as registry, pytest.raises(InvalidContent):
        store_at(registry).get_manifest("1")


def test_repository_that_is_not_created_by_a_push():
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"The repository does not exist"}]}'
    fault = Fault("POST", "/uploads/", status=404, body=body, times=9)
    with fault_registry(fault) as registry, pytest.raises(NotFound, match="NAME_UNKNOWN.*create it there first"):
        store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))


def test_a_proxy_that_takes_no_large_requests_is_named_with_the_size():
    faults = [Fault(method, "/uploads/", status=413, body=PAGE_413, times=99) for method in ("PUT", "PATCH")]
    with fault_registry(*faults) as registry:
        with pytest.raises(UnexpectedResponse) as error:
            store_at(registry).put_blob(layer(LARGE), BytesSource(LARGE))
        assert (
            f"{len(LARGE)} bytes" in error.value.message
            and "a proxy before the registry (nginx)" in error.value.message
        )
        assert "client_max_body_size" in error.value.remedy


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"


@pytest.mark.parametrize(
    "interim", [HINTS, b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS, b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_interim_responses_are_read_past(interim):
    with fault_registry(interim=interim) as registry:
        keep(registry, SMALL, manifest=MANIFEST)
        store = store_at(registry)
        store.put_blob(layer(LARGE), BytesSource(LARGE))
        assert store.get_manifest("1")[1] == MANIFEST and list(store.tags()) == ["1"]
        assert store.has_blob(sha256_digest(LARGE)) and not store.has_blob(sha256_digest(b"missing"))


def test_nothing_is_read_of_a_connection_that_speaks_another_protocol_now():
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    fault = Fault("GET", "/manifests/", raw=switched + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{")
    with fault_registry(fault) as registry:
        keep(registry, manifest=MANIFEST)
        store = store_at(registry)
        with pytest.raises(UnexpectedResponse, match="101"):
            store.get_manifest("1")
        assert store.get_manifest("1")[1] == MANIFEST


NO_ADDRESSES = ("null://host/token", "token", "https://", "https://a..b/t", "https://user@host/t", "https://a\\\\.b/t")


@pytest.mark.parametrize("realm", [*NO_ADDRESSES, "http://127.0.0.1:1/\x1b[31m"])
def test_realm_that_is_no_address(realm):
    headers = {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
    with fault_registry(Fault("GET", "", status=401, headers=headers, times=9)) as registry:
        with pytest.raises((Unauthorized, UnexpectedResponse)) as error:
            store_at(registry).get_manifest("1")
        assert "insecure_http" not in str(error.value) and str(error.value).isprintable()


def test_a_realm_that_is_not_quoted_is():
    challenge = 'Bearer realm="http://{host}/blobs/t\u00f6k en",service="x"'
    with fault_registry(auth="bearer") as registry:
        registry.behaviour.challenge = challenge.replace("{host}", registry.host)
        with pytest.raises(SpackOciError):
            store_at(registry).get_manifest("1")
        assert any(line.startswith("GET /blobs/t%C3%B6k%20en?") for line in registry.requests())


def test_upload_location_on_https_from_a_registry_on_http():
    with fault_registry() as registry:
        location = f"https://{registry.host}/v2/{NAME}/blobs/uploads/1"
        registry.faults.append(Fault("POST", "/uploads/", status=202, headers={"Location": location}))
        with pytest.raises(UnexpectedResponse, match="X-Forwarded-Proto"):
            store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))


# -- values that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["\u00b2", "9" * 5000, "-1", "1_0"])
@pytest.mark.parametrize("name", ["Content-Length", "Range", "OCI-Chunk-Min-Length", "Content-Range", "Retry-After"])
def test_fields_that_are_no_numbers(name, value):
    """Wherever they stand, the end is the right content or an error of ours."""
    value = {"Range": f"0-{value}", "Content-Range": f"bytes {value}-{value}/{value}"}.get(name, value)
    head = b"HTTP/1.1 %d X\r\nLocation: /v2/" + NAME.encode() + b"/blobs/uploads/1\r\n"
    head += f"{name}: {value}\r\n\r\n".encode("latin-1", "replace")
    for method, status in (("HEAD", 200), ("GET", 206), ("POST", 202), ("PATCH", 202), ("GET", 503), ("PUT", 201)):
        with fault_registry(Fault(method, "", raw=head % status, times=3)) as registry:
            keep(registry, SMALL, manifest=MANIFEST)
            store = store_at(registry, read_timeout=0.5)
            for action in (
                lambda store=store: store.resolve("1"),
                lambda store=store: store.get_manifest("1"),
                lambda store=store: store.open_blob(layer(SMALL)).read(),
                lambda store=store: store.put_blob(layer(SMALL), BytesSource(SMALL)),
            ):
                try:
                    action()
                except SpackOciError:
                    pass


@pytest.mark.parametrize("document", [{"tags": 5}, {"tags": "a"}, {"tags": {}}, {}, {"message": "hello"}, [], 5])
def test_a_list_of_tags_that_is_none(document):
    fault = Fault("GET", "/tags/", status=200, body=json.dumps(document).encode())
    with fault_registry(fault) as registry, pytest.raises(InvalidContent):
        list(store_at(registry).tags())


@pytest.mark.parametrize("document", [{"manifests": 5}, {"manifests": {"a": 1}}])
def test_a_list_of_referrers_that_is_none(document):
    fault = Fault("GET", "/referrers/", status=200, body=json.dumps(document).encode())
    with fault_registry(fault) as registry, pytest.raises(InvalidContent):
        store_at(registry).referrers(sha256_digest(SMALL))


def test_a_damaged_referrer_does_not_hide_the_others():
    good = layer(SMALL).to_dict()
    body = json.dumps({"manifests": [5, {}, good, {**good, "size": "5"}, {**good, "annotations": 5}]}).encode()
    with fault_registry(Fault("GET", "/referrers/", status=200, body=body)) as registry:
        assert store_at(registry).referrers(sha256_digest(SMALL)) == [layer(SMALL)]


@pytest.mark.parametrize(
    "document", [{"token": 5}, {"access_token": ["a"]}, {"token": "a\nb"}, {"token": "\u00e9"}, {}]
)
def test_a_token_that_is_none(document):
    fault = Fault("GET", "/token", status=200, body=json.dumps(document).encode(), times=9)
    with fault_registry(fault, auth="bearer") as registry, pytest.raises(InvalidContent):
        store_at(registry).get_manifest("1")


@pytest.mark.parametrize("token", ["s3cret-t0ken\n", "s3cret-t0ken\u00e9\u4e2d"])
def test_a_token_that_cannot_be_sent_is_not_shown(token):
    with fault_registry(auth="bearer") as registry:
        source = StaticCredentials(registry.host, Credentials(registry_token=token))
        store = open_repository(Repository(registry.host, NAME, "http"), RegistrySettings(credentials=[source]))
        with pytest.raises(ConfigurationError, match="Authorization") as error:
            store.get_manifest("1")
        seen = []
        cause = error.value
        while cause is not None:
            seen.append(repr(cause) + str(cause))
            cause = cause.__cause__ or cause.__context__
        assert "s3cret" not in "".join(seen)


@pytest.mark.parametrize(
    "proxy", ["http://u:pr0xy-secret@h:99999", "http://u:pr0xy-secret@h:x", "socks5://h:1", "http://"]
)
def test_a_proxy_that_is_none(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    with fault_registry() as registry, pytest.raises(ConfigurationError, match="prox") as error:
        store_at(registry, connections=9).get_manifest("1")
    assert "pr0xy-secret" not in str(error.value)


def test_an_error_body_does_not_reach_the_terminal_or_show_a_secret():
    secret = 'p"\u00e4ss/w0rd'
    errors = [{"code": "DENIED\x1b]52;c;x\x07", "message": f"\x1b[31m{secret} is wrong\x9b"}]
    for text in (
        json.dumps({"errors": errors}),
        json.dumps({"errors": errors}, ensure_ascii=False).replace("/", "\\/"),
    ):
        with fault_registry(Fault("GET", "", status=403, body=text.encode(), times=2), auth="basic") as registry:
            source = StaticCredentials(registry.host, Credentials("alice", secret), "the test")
            store = open_repository(Repository(registry.host, NAME, "http"), RegistrySettings(credentials=[source]))
            assert store.client.authorizer.credentials
            with pytest.raises(SpackOciError, match="DENIED") as error:
                store.get_manifest("1")
        assert str(error.value).isprintable() and "w0rd" not in str(error.value) and "***" in str(error.value)


# -- what has no end --------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "100 Continue": Fault("GET", "", repeat=b"HTTP/1.1 100 Continue\r\n\r\n", times=99),
    "header fields": Fault("GET", "", raw=b"HTTP/1.1 200 OK\r\n", repeat=b"X-Y: %s\r\n" % (b"z" * 500), times=99),
    "trailers": Fault("GET", "", raw=HEAD + b"1\r\n{\r\n0\r\n", repeat=b"X-Y: z\r\n", times=99),
    "a negative chunk": Fault("GET", "", raw=HEAD + b"-1\r\n", repeat=b"x" * 1000, times=99),
    "chunks without content": Fault("GET", "", raw=HEAD, repeat=b"1;%s\r\n \r\n" % (b"x" * 900), times=99),
    "a body": Fault("GET", "", raw=b"HTTP/1.1 200 OK\r\n\r\n", repeat=b"x" * 1000, times=99),
}


@pytest.mark.parametrize("what", sorted(ENDLESS))
def test_an_endless_response_has_an_end(what):
    with fault_registry(ENDLESS[what]) as registry:
        store = store_at(registry, retry=RetryPolicy(attempts=2, sleep=Sleeps()))
        with pytest.raises((TransportError, InvalidContent, UnexpectedResponse)):
            store.get_manifest("1")
        with pytest.raises((TransportError, InvalidContent, UnexpectedResponse, ConnectionLost)):
            list(store.tags())
        assert len(registry.requests()) <= 4


def test_an_endless_list_of_tags_has_an_end(monkeypatch):
    """Each page brings new ones."""
    monkeypatch.setattr("spack_oci.registry.manifests.MAX_PAGES", 20)
    with fault_registry(page_size=1) as registry:
        for n in range(50):
            keep(registry, manifest=MANIFEST, tag=f"tag{n:03}")
        with pytest.raises(UnexpectedResponse, match="more than 20 pages"):
            list(store_at(registry).tags())
    monkeypatch.setattr("spack_oci.registry.manifests.MAX_TAGS", 5)
    with fault_registry() as registry:
        for n in range(50):
            keep(registry, manifest=MANIFEST, tag=f"tag{n:03}")
        with pytest.raises(InvalidContent, match="more than 5"):
            list(store_at(registry).tags())


@pytest.mark.parametrize("line", [b"\x1b]52;c;cm0gLXJmIH4=\x07" * 3, b"9" * 9000], ids=["escapes", "long"])
def test_what_is_no_http_is_shown_in_short_and_without_what_a_terminal_obeys(line):
    fault = Fault("GET", "", times=99, raw=line + b"\r\n\r\n")
    with fault_registry(fault) as registry, pytest.raises(SpackOciError) as raised:
        list(store_at(registry).tags())
    assert str(raised.value).isprintable() and len(str(raised.value)) < 600


@pytest.mark.parametrize("page", [b"<html><body>Please sign in</body></html>", b" \n<!DOCTYPE html>\nPlease sign in"])
def test_a_page_with_200_is_called_a_page_and_no_damaged_package(page):
    """A captive portal, the sign-in page of a proxy, a web site."""
    fault = Fault("*", "/v2/", status=200, headers={"Content-Type": "text/html"}, body=page, times=9)
    with fault_registry(fault) as registry:
        store = store_at(registry)
        for ask in (lambda: store.get_manifest("1"), lambda: store.resolve("1"), lambda: list(store.tags())):
            with pytest.raises(UnexpectedResponse, match="a page for people came back .*Please sign in") as error:
                ask()
            assert "sign in to the network" in error.value.remedy
