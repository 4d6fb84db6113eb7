# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Blobs that are sent while they are made: what goes up when, and what comes of it when a registry does not like it."""

import io

import pytest
from spack_oci.content import BytesSource
from spack_oci.descriptor import sha256_digest
from spack_oci.errors import ConfigurationError, TLSFailure, UnexpectedResponse, Unreachable
from spack_oci.registry import UploadPolicy
from spack_oci.registry.uploads import Uploader
from support.registries.fault_registry import Fault, fault_registry
from support.registries.registry_cases import LARGE, NAME, keep, layer, store_at

PIECE = 1 << 20
POLICY = UploadPolicy(chunk_size=PIECE, attempts=3)
#: 3.5 pieces
DATA = LARGE + LARGE[: PIECE // 2]


class Growing:
    """Has as much as is asked for, until there is no more. ``sizes``: what was asked for."""

    def __init__(self, data=DATA):
        self.data, self.sizes = data, []

    def open(self):
        return io.BytesIO(self.data)

    def wait_for(self, size):
        self.sizes.append(size)
        return min(size, len(self.data))


def send(registry, data=DATA, growing=None):
    """Ahead, and then the rest; how often which bytes were reported."""
    store, moved = store_at(registry, upload=POLICY), []
    part = store.send_growing(growing or Growing(data), moved.append)
    ahead = sum(moved)
    if part is not None:
        part.belongs_to(sha256_digest(data))
    store.put_blob(layer(data), BytesSource(data), moved.append)
    store.close()
    assert registry.repository(NAME).blobs[sha256_digest(data)] == data
    return ahead, sum(moved)


def test_whole_pieces_go_up_before_the_blob_is_complete_and_the_rest_after():
    with fault_registry() as registry:
        growing = Growing()
        assert send(registry, growing=growing) == (3 * PIECE, len(DATA)) and registry.uploads == {}
        assert registry.methods() == ["POST 202", *["PATCH 202"] * 3, "HEAD 404", "PATCH 202", "PUT 201"]
        assert growing.sizes == [PIECE, *[n * PIECE for n in range(1, 5)]], "each piece is sent as soon as it is there"


def test_a_blob_of_less_than_a_piece_opens_no_upload():
    with fault_registry() as registry:
        send(registry, DATA[:1000])
        assert registry.methods() == ["HEAD 404", "POST 202", "PUT 201"]


@pytest.mark.parametrize("status", [400, 404, 405, 416, 501])
def test_a_registry_that_takes_no_pieces_is_asked_once_and_gets_blobs_whole(status):
    with fault_registry(Fault("PATCH", status=status, times=99)) as registry:
        store = store_at(registry, upload=POLICY)
        assert store.send_growing(Growing()) is None
        assert store.send_growing(Growing()) is None
        assert store.put_blob(layer(DATA), BytesSource(DATA))
        whole = ["HEAD 404", "POST 202", "PUT 201"]
        assert registry.methods() == ["POST 202", f"PATCH {status}", "DELETE 204", *whole]


def test_pieces_get_smaller_where_they_are_too_large():
    with fault_registry(max_body=PIECE // 2) as registry:
        assert send(registry)[0] >= 3 * PIECE
        assert registry.methods().count("PATCH 413") == 1


def test_after_a_lost_connection_it_goes_on_where_the_registry_is():
    with fault_registry(Fault("PATCH", reset_after=300_000, skip=1)) as registry:
        send(registry)
        starts = [int(h["Content-Range"].split("-")[0]) for m, _, h in registry.seen if m == "PATCH"]
        assert starts == [0, PIECE, PIECE + 300_000, 2 * PIECE + 300_000, 3 * PIECE + 300_000]


@pytest.mark.parametrize("status", [416, 500, 503])
def test_after_a_refused_piece_it_goes_on_where_the_registry_is(status):
    with fault_registry(Fault("PATCH", status=status, skip=1)) as registry:
        assert send(registry) == (3 * PIECE, len(DATA))
        assert registry.methods().count("PATCH 202") == 4


@pytest.mark.parametrize("status", [403, 429, 503])
def test_where_pieces_are_refused_again_and_again_the_blob_is_sent_in_the_usual_way(status):
    with fault_registry(Fault("PATCH", status=status, skip=1, times=99)) as registry:
        send(registry)
        assert registry.uploads == {}
        assert registry.methods()[-4:] == ["DELETE 204", "HEAD 404", "POST 202", "PUT 201"]


def test_an_upload_that_the_registry_forgot_is_begun_anew():
    with fault_registry() as registry:
        store = store_at(registry, upload=POLICY)
        part = store.send_growing(Growing())
        part.belongs_to(sha256_digest(DATA))
        registry.uploads.clear()
        assert store.put_blob(layer(DATA), BytesSource(DATA))
        assert registry.repository(NAME).blobs[sha256_digest(DATA)] == DATA


def test_a_blob_that_became_another_one_is_sent_from_its_start():
    """What was packed again because the disk was full, while somebody wrote to the prefix."""
    with fault_registry() as registry:
        send(registry, growing=Growing(b"x" * len(DATA)))
        assert [m for m in registry.methods() if m.startswith("PUT")] == ["PUT 400", "PUT 201"]


def test_a_blob_that_turns_out_to_be_there_is_not_stored_and_its_upload_is_closed():
    with fault_registry() as registry:
        keep(registry, DATA)
        send(registry)
        assert registry.methods()[-2:] == ["HEAD 200", "DELETE 204"] and registry.uploads == {}


def test_what_will_not_be_complete_is_thrown_away():
    with fault_registry() as registry:
        store_at(registry, upload=POLICY).send_growing(Growing()).discard()
        assert registry.uploads == {}


@pytest.mark.parametrize("error", [Unreachable("refused"), TLSFailure("expired"), ConfigurationError("no credentials")])
@pytest.mark.parametrize("pieces", [0, 1])
def test_what_cannot_be_survived_on_the_way_is_left_to_the_blob_itself(monkeypatch, error, pieces):
    patch, calls = Uploader.patch, []

    def broken(self, *args):
        calls.append(args)
        if len(calls) == pieces + 1:
            raise error
        patch(self, *args)

    monkeypatch.setattr(Uploader, "patch", broken)
    with fault_registry() as registry:
        assert send(registry) == (pieces * PIECE, len(DATA)) and registry.uploads == {}


def test_a_registry_that_loses_again_and_again_what_it_has_got_is_not_fed_for_ever():
    """It takes a piece, has all but nothing of it with the next one, and so on."""
    ranges = [f"0-{PIECE}", "0-0"] * 30
    faults = [Fault("PATCH", status=202, headers={"Range": end}) for end in ranges]
    with fault_registry(*faults) as registry:
        store_at(registry, upload=POLICY).send_growing(Growing())
        assert registry.methods().count("PATCH 202") < 15
    faults = [
        Fault("PUT", "/blobs/uploads/", status=413),
        *(Fault("PATCH", status=202, headers={"Range": e}) for e in ranges),
    ]
    with fault_registry(*faults) as registry:
        with pytest.raises(UnexpectedResponse, match="takes no bytes"):
            store_at(registry, upload=POLICY).put_blob(layer(DATA), BytesSource(DATA))
        assert registry.methods().count("PATCH 202") < 15
