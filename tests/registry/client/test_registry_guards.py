# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Guards of the registry client, each of which can be taken away without anything else noticing."""

import os

import pytest
from spack_oci.content import BytesSource
from spack_oci.errors import DigestMismatch, UnexpectedResponse
from spack_oci.reference import Repository
from spack_oci.registry import open_repository
from spack_oci.registry.downloads import SMALL_BLOB
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, SMALL, keep, layer, store_at


def test_credentials_for_a_host_are_not_for_one_whose_name_it_begins():
    client = open_repository(Repository("registry.example", "a/b")).client
    assert client.is_registry("https://registry.example/v2/") and client.is_registry("https://registry.example:443?x")
    others = ["https://registry.example.evil/", "https://registry.example:444/", "http://registry.example/"]
    for url in [*others, "https://registry.example@evil.example/", "https://registry.examples/"]:
        assert not client.is_registry(url)


def test_an_upload_is_not_sent_to_another_host_over_http():
    with fault_registry() as elsewhere, fault_registry(tls=True) as registry:
        location = f"http://localhost:{elsewhere.host.rpartition(':')[2]}/v2/x/blobs/uploads/1"
        registry.faults.append(Fault("POST", "/uploads/", status=202, headers={"Location": location}))
        with pytest.raises(UnexpectedResponse, match="away from https"):
            store_at(registry).put_blob(layer(SMALL), BytesSource(SMALL))
        assert elsewhere.requests() == []


@pytest.mark.parametrize("size, is_small", [(SMALL_BLOB, True), (SMALL_BLOB + 1, False)])
def test_only_a_small_blob_is_verified_before_its_first_byte(size, is_small):
    data = os.urandom(size)
    with fault_registry(Fault("GET", "/blobs/", corrupt=True)) as registry:
        keep(registry, data)
        with store_at(registry).open_blob(layer(data)) as reader:
            if is_small:
                assert reader.read() == data
                assert registry.methods() == ["GET 200", "GET 200"]
            else:
                with pytest.raises(DigestMismatch):
                    reader.read()


@pytest.mark.parametrize("etag, is_sent", [('"abc"', True), ('W/"abc"', False), ("abc", False)])
def test_a_weak_validator_is_not_sent_with_a_range(etag, is_sent):
    """It does not promise the same bytes."""
    raw = f"HTTP/1.1 200 OK\r\nContent-Length: {len(LARGE)}\r\nETag: {etag}\r\n\r\n".encode() + LARGE[:1000]
    with fault_registry(Fault("GET", "/blobs/", raw=raw)) as registry:
        keep(registry, LARGE)
        with store_at(registry).open_blob(layer(LARGE)) as reader:
            assert reader.read() == LARGE
        second = registry.seen[1][2]
        assert second["Range"] == "bytes=1000-" and ("If-Range" in second) is is_sent


@pytest.mark.parametrize("part", ["bytes 1000-{end}/{more}", "bytes 999-{end}/{size}", "bytes 1000-{size}/{size}"])
def test_a_part_of_something_else_is_not_joined(part):
    size = len(LARGE)
    value = part.format(end=size - 1, size=size, more=size + 1)
    first = Fault("GET", "/blobs/", truncate=1000)
    other = Fault("GET", "/blobs/", status=206, headers={"Content-Range": value}, body=LARGE[1000:])
    with fault_registry(first, other) as registry:
        keep(registry, LARGE)
        with store_at(registry).open_blob(layer(LARGE)) as reader, pytest.raises(UnexpectedResponse, match="asked for"):
            reader.read()
