# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The C library's search finds what Python's finds."""

import ctypes
import importlib.util
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.relocate import search
from spack_oci.relocate.mapping import PathMapping, PrefixMap
from spack_oci.relocate.search import find, find_all


@pytest.fixture
def without_c_library():
    """The module as it is where the C library cannot be asked."""

    def refuse(name):
        raise OSError(name)

    spec = importlib.util.spec_from_file_location("search_without_c_library", search.__file__)
    module = importlib.util.module_from_spec(spec)
    module.__package__ = search.__package__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctypes, "CDLL", refuse)
        spec.loader.exec_module(module)
    return module


@given(st.binary(max_size=40), st.sampled_from([b"ab", b"a\0b", b"", b"aaab"]), st.integers(0, 30))
def test_like_python(data, needle, start):
    for whole in (data, data * 2000, b"a" * 20000 + b"ab" + data):
        for buffer in (whole, bytearray(whole)):
            assert find(buffer, needle, start) == buffer.find(needle, start)


@pytest.mark.parametrize("at", [0, 1, 20000, 40000 - 6])
def test_at_the_edges(at, without_c_library):
    data = bytearray(40000)
    data[at : at + 6] = b"needle"
    assert find(bytes(data), b"needle") == find(bytes(data), b"needle", at) == at
    assert find(bytes(data), b"needle", at + 1) == -1 == find(bytes(data), b"needle", 50000)
    assert without_c_library.find(bytes(data), b"needle") == at


@given(st.binary(max_size=40), st.sampled_from([b"ab", b"a\0b", b"aa", b"aaab"]))
def test_all_of_them(data, needle):
    for whole in (data, data * 2000, b"a" * 20000 + b"ab" + data):
        for buffer in (whole, bytearray(whole), memoryview(bytearray(whole + needle))[: len(whole)]):
            found = find_all(buffer, needle)
            assert found == [at for at in range(len(whole)) if whole.startswith(needle, at)]


def test_a_view_without_the_c_library(without_c_library):
    data = memoryview(bytearray(b"-needle" * 5000 + b"needle"))[:-6]
    assert without_c_library.find_all(data, b"needle") == list(range(1, 35000, 7))


_PATHS = st.lists(st.text("/ab", min_size=1, max_size=6).map(lambda t: "/" + t), max_size=8, unique=True)


@given(_PATHS, st.text("/ab", max_size=40))
def test_the_longest_of_all_old_paths_is_found(paths, text):
    """Compared with what a regular expression finds, the longest alternatives first."""
    mappings = tuple(PathMapping(p.encode(), b"/new", None) for p in sorted(paths, key=len, reverse=True))
    mapping, data = PrefixMap(mappings), text.encode()
    pattern = re.compile(b"|".join(re.escape(mapped.old) for mapped in mappings) if mappings else b"(?!)")
    expected = [(at, match.group()) for at in range(len(data)) for match in [pattern.match(data, at)] if match]
    assert [(at, mapped.old) for at, mapped in mapping.find(data)] == expected
    for at in range(len(data)):
        match = pattern.match(data, at)
        mapped = mapping.match(bytearray(data), at)
        assert (mapped and mapped.old) == (match and match.group())
