# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The C library's search finds what Python's finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.relocate import search
from spack_oci.relocate.search import find


@given(st.binary(max_size=40), st.sampled_from([b"ab", b"a\0b", b"", b"aaab"]), st.integers(0, 30))
def test_like_python(data, needle, start):
    for whole in (data, data * 2000, b"a" * 20000 + b"ab" + data):
        for buffer in (whole, bytearray(whole)):
            assert find(buffer, needle, start) == buffer.find(needle, start)


@pytest.mark.parametrize("at", [0, 1, 20000, 40000 - 6])
def test_at_the_edges(at, monkeypatch):
    data = bytearray(40000)
    data[at : at + 6] = b"needle"
    assert find(bytes(data), b"needle") == find(bytes(data), b"needle", at) == at
    assert find(bytes(data), b"needle", at + 1) == -1 == find(bytes(data), b"needle", 50000)
    monkeypatch.setattr(search, "_memmem", None)
    assert find(bytes(data), b"needle") == at
