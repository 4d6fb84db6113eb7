# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Heads of HTTP messages: what is read here is read as http.client reads it, and what is unusual is left to it."""

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.registry.http.connections import _Connection
from spack_oci.registry.http.heads import parse_head, request_head

USUAL = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: /v2/a/blobs/uploads/1?_state=x%3D\r\n"
    b"www-authenticate: Bearer realm=a\r\nWWW-Authenticate:Basic \r\nX-Empty:\r\nX-Latin: caf\xe9\r\n\r\n"
)


class _Socket:
    def __init__(self, data):
        self._data = data

    def makefile(self, *_):
        return io.BytesIO(self._data)


def by_http_client(data, method="GET"):
    response = http.client.HTTPResponse(_Socket(data), method=method)
    response.begin()
    return response


@pytest.mark.parametrize("body", [b"", b"body", b"\r\n\r\n"])
def test_a_usual_head(body):
    head, expected = parse_head(USUAL + body), by_http_client(USUAL)
    assert head.size == len(USUAL)
    assert (head.status, head.reason, head.length) == (expected.status, expected.reason, expected.length)
    for name in {*expected.headers, "nothing"}:
        assert head.fields.get(name.upper()) == expected.headers.get(name)
        # http.client leaves blanks after a value
        values = expected.headers.get_all(name)
        assert head.fields.get_all(name.lower()) == [value.rstrip() for value in values or ()]
    assert not head.chunked and not head.closes


@pytest.mark.parametrize(
    "fields, length, chunked, closes",
    [
        (b"", None, False, False),
        (b"Content-Length: 7\r\n", 7, False, False),
        (b"transfer-encoding: Chunked\r\n", None, True, False),
        (b"Content-Length: 7\r\nConnection: Close\r\n", 7, False, True),
        (b"Connection: keep-alive\r\nConnection: close\r\nContent-Length: 7\r\n", 7, False, True),
    ],
)
def test_where_the_body_ends(fields, length, chunked, closes):
    head = parse_head(b"HTTP/1.1 200\r\n" + fields + b"\r\n")
    assert (head.length, head.chunked, head.closes, head.reason) == (length, chunked, closes, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        USUAL[:-1],
        USUAL[:20],
        b"HTTP/1.1 100 Continue\r\n\r\n" + USUAL,
        USUAL.replace(b"1.1", b"1.0", 1),
        USUAL.replace(b"HTTP", b"HTPT", 1),
        USUAL.replace(b"202", b"99", 1),
        USUAL.replace(b"\r\n", b"\n"),
        USUAL.replace(b"X-Empty:\r\n", b"X-Folded: a\r\n b\r\n"),
        USUAL.replace(b"X-Empty:", b"X Empty:"),
        USUAL.replace(b"X-Empty:", b"X-Empty: \0"),
        USUAL.replace(b"X-Empty:", b"Content-Length: 0"),
        USUAL.replace(b"X-Empty:", b"Transfer-Encoding: chunked"),
        USUAL.replace(b"Length: 0", b"Length: -1"),
        USUAL.replace(b"Length: 0", b"Length: 1_0"),
        USUAL.replace(b"Length: 0", b"Length: "),
        USUAL.replace(b"X-Empty:\r\n", b"X-Empty:\r\n" * 101),
    ],
)
def test_what_is_unusual_is_left_to_http_client(data):
    assert parse_head(data) is None


FIELD = st.tuples(
    st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"Link", b"x-a"]),
    st.sampled_from([b": ", b":", b" : ", b":\t"]),
    st.sampled_from([b"0", b"12", b"-1", b"+1", b"chunked", b"gzip, chunked", b"close", b"", b"a\xff", b"a, b "]),
    st.sampled_from([b"\r\n", b"\n", b"\r\n "]),
)


@given(st.sampled_from([b"200 OK", b"204 ", b"304", b"404 Not Found"]), st.lists(FIELD, max_size=6))
def test_it_is_read_as_http_client_does(status, fields):
    data = b"HTTP/1.1 " + status + b"\r\n" + b"".join(b"".join(field) for field in fields) + b"\r\nbody"
    head = parse_head(data)
    if head is None:
        return
    expected = by_http_client(data)
    assert (head.status, head.reason, head.chunked) == (expected.status, expected.reason, bool(expected.chunked))
    if head.status not in (204, 304):
        assert head.length == expected.length
        assert (head.closes or (head.length is None and not head.chunked)) == expected.will_close
    for name in expected.headers:
        assert head.fields.get_all(name) == [value.rstrip() for value in expected.headers.get_all(name)]


def test_a_request():
    fields = {"User-Agent": "me", "Content-Length": "3"}
    assert request_head("PUT", "/v2/a?b=c", "host:5000", fields, 3) == (
        b"PUT /v2/a?b=c HTTP/1.1\r\nHost: host:5000\r\nAccept-Encoding: identity\r\nUser-Agent: me\r\n"
        b"Content-Length: 3\r\n\r\n"
    )
    assert b"Content-Length" not in request_head("GET", "/", "h", {}, 0)
    assert b"\r\nContent-Length: 0\r\n\r\n" in request_head("POST", "/", "h", {}, 0)
    assert b"\r\nContent-Length: 5\r\n\r\n" in request_head("POST", "/", "h", {}, 5)


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\u00e9", "/\x7f"])
def test_a_target_that_cannot_be_asked_for(target):
    with pytest.raises(http.client.InvalidURL):
        request_head("GET", target, "h", {}, 0)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0", "\u4e2d"])
def test_a_field_that_would_be_two_does_not_show_its_value(value):
    with pytest.raises(ValueError) as error:
        request_head("GET", "/", "h", {"Authorization": f"secret {value}"}, 0)
    assert not isinstance(error.value, UnicodeError) or "secret" not in str(error.value)
    assert "secret" not in str(error.value)


class _Recorder:
    def __init__(self):
        self.writes = []

    def sendall(self, data):
        self.writes.append(bytes(data))


def test_a_small_body_goes_with_its_head_and_a_large_one_is_not_waited_for():
    small, large = _Recorder(), _Recorder()
    _Connection(small).send(b"head", iter([b"a", b"b"]), 2)
    assert small.writes == [b"headab"]
    seen_before_body = []

    def body():
        seen_before_body.extend(large.writes)
        yield from (b"x" * 50_000, b"y" * 50_000)

    _Connection(large).send(b"head", body(), 100_000)
    assert seen_before_body == [b"head"] and len(large.writes) == 3
