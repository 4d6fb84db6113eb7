# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Header fields and addresses: what is none is as if it were missing, or an error of ours; nothing else is raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.errors import UnexpectedResponse
from spack_oci.registry.http import fields
from spack_oci.registry.http.urls import absolute_url, host_of, without_query

NO_NUMBERS = ["", None, "\u00b2", "1" * 5000, "-1", "+1", "1_0", "1.0", "0x1", "1 1", "1,1", "\u0661"]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value):
    assert fields.parse_number(value) is None
    for pattern in ("bytes {}-9/10", "bytes 0-{}/10", "bytes 0-9/{}"):
        assert fields.parse_content_range(pattern.format(value)) is None
    assert fields.parse_upload_range(f"0-{value}") is None


def test_numbers():
    assert fields.parse_number(" 7 ") == 7
    assert fields.parse_number("9" * 18) == int("9" * 18)


@pytest.mark.parametrize(
    "value, expected",
    [("bytes 5-9/10", (5, 9, 10)), ("Bytes  5-9/*", (5, 9, None)), ("items 5-9/10", None), ("bytes 5-9", None)],
)
def test_content_range(value, expected):
    assert fields.parse_content_range(value) == expected


@pytest.mark.parametrize(
    "value, offset, size, follows",
    [
        ("bytes 5-9/10", 5, 10, True),
        ("bytes 5-9/*", 5, 10, True),
        ("bytes 5-9/11", 5, 10, False),
        ("bytes 5-10/10", 5, 10, False),
        ("bytes 4-9/10", 5, 10, False),
        ("bytes 5-4/10", 5, 10, False),
    ],
)
def test_a_part_that_continues_what_is_there(value, offset, size, follows):
    assert fields.parse_content_range(value).continues(offset, size) is follows


@pytest.mark.parametrize(
    "value, received",
    [("0-99", 100), ("bytes=0-99", 100), ("0-0", 0), ("1-99", None), ("0-", None), ("", None), (None, None)],
)
def test_range_of_an_upload(value, received):
    assert fields.parse_upload_range(value) == received


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        (" 5 ", 5),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("1.5s", 1.5),
        ("333.939671ms", 0.333939671),
        ("", None),
        (None, None),
        ("\u00b2", None),
        ("9" * 400, float("9" * 12)),
    ],
)
def test_retry_after(value, seconds):
    now = 1792567680.0  # Wed, 21 Oct 2026 07:28:00 GMT
    assert fields.parse_retry_after(value, now) == seconds


@pytest.mark.parametrize(
    "value, target",
    [
        ('</v2/a?n=1>; rel="next"', "/v2/a?n=1"),
        ("</v2/a>; REL=next", "/v2/a"),
        ('<a>; rel="prev", <b>; rel="last next"', "b"),
        ('<>; rel="next"', None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_link_to_the_next_page(value, target):
    assert fields.parse_next_link(value) == target


@pytest.mark.parametrize(
    "value, usable", [('"a"', True), ('W/"a"', False), ("a", False), ('"', False), ("", False), (None, False)]
)
def test_only_a_strong_etag_is_for_if_range(value, usable):
    assert bool(fields.parse_strong_etag(value)) is usable


@pytest.mark.parametrize(
    "value",
    [
        "https://a..b/x",
        "https://" + "a" * 64 + ".example/x",
        "https://h:99999/x",
        "https://h:x/",
        "https://[::1/x",
        "//.a",
    ],
)
def test_an_address_that_is_none(value):
    with pytest.raises(UnexpectedResponse, match="not an address"):
        absolute_url("https://registry.example/v2/", value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_error_of_ours(text):
    for function in (without_query, host_of, lambda value: absolute_url("https://registry.example/v2/", value)):
        try:
            function(text)
        except UnexpectedResponse:
            pass


PARSERS = [
    fields.parse_number,
    fields.parse_content_range,
    fields.parse_upload_range,
    fields.parse_retry_after,
    fields.parse_date,
    fields.parse_next_link,
    fields.parse_strong_etag,
    fields.parse_media_type,
]


@given(st.text(max_size=80), st.sampled_from(PARSERS))
def test_no_value_makes_a_parser_fail(text, parse):
    parse(text)
