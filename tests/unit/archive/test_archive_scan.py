# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The scan against a plain statement of Spack's rules."""

import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spack_oci.archive.scan import BINARY, OTHER, TEXT, FileScan, PrefixSearch
from spack_oci.formats.magic import is_elf, is_macho

ROOT = "/opt/store"
PREFIXES = [f"{ROOT}/linux/zlib-1.3-abc", f"{ROOT}/linux/zlib-1.3", "/opt/spack/bin/sbang", ROOT, "/up/str/pkg-1-x"]


def expected(data: bytes):
    """(kind, is it listed) as Spack's readers and writers of 1.0 to 1.3 have it; kind of unlisted files is not told."""
    if len(data) >= 8 and (is_elf(data) or is_macho(data)):
        return BINARY, any(prefix.encode() in data for prefix in PREFIXES)
    regex = b"(?<![\\w\\-_/])([\\w\\-_]*?)(%s)([\\w\\-_/]*)" % b"|".join(re.escape(p.encode()) for p in PREFIXES)
    if len(data) < 8:
        return OTHER, False
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="strict")
        while text.read(1024):
            pass
        is_text = True
    except UnicodeError:
        is_text = not re.search(b"[\x00\x7f-\x9f]", data)
    return (TEXT, bool(re.search(regex, data))) if is_text else (OTHER, False)


def listed(scan: FileScan):
    return scan.kind if scan.kind != OTHER and scan.found else None


def check(data: bytes, cuts) -> None:
    kind, found = expected(data)
    search = PrefixSearch(PREFIXES)
    whole = FileScan(search).whole(b"##" + data + b"/opt/store", 2, 2 + len(data))
    assert listed(whole) == (kind if found else None)
    pieces = FileScan(search)
    positions = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    pieces.begin(data[:8])
    for start, end in zip(positions, positions[1:]):
        pieces.feed(bytearray(b"~" + data), start + 1, end + 1)
    pieces.finish()
    assert listed(pieces) == listed(whole)
    assert pieces.hits == whole.hits


fragments = st.sampled_from(
    [
        *(prefix.encode() for prefix in PREFIXES),
        b"/opt/st",
        b"ore",
        b"/",
        b"/include",
        b"-I",
        b"=",
        b" ",
        b"\n",
        b"a",
        b"word",
        b"-",
        b"_",
        b"\0",
        b"\x7f",
        b"\xe9",
        "é€😀".encode(),
        b"#!",
        b"\x7fELF",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe\0\0\0\2",
        b"\xca\xfe\xba\xbe\0\0\0\x34",
    ]
)


@settings(max_examples=400)
@given(data=st.lists(fragments, max_size=25).map(b"".join), cuts=st.lists(st.integers(0, 300), max_size=6))
@example(data=b"x" * 8 + b"/opt/store", cuts=[12])
@example(data=b"prefix=foo/opt/store is no path of ours", cuts=[9, 11, 14])
@example(data=b"padding-/word-word" + b"/opt/store", cuts=[9, 12, 20])
@example(data=b"\x7fELF\0\0\0\0/opt/store/opt/store/opt/stor", cuts=[8, 17, 19, 28])
@example(data="12345678é/opt/store".encode(), cuts=[9])
@example(data="12345678/opt/store é".encode()[:-1], cuts=[9, 20])
def test_as_spack_would(data, cuts):
    check(data, cuts)


def test_only_the_shortest_prefixes_are_searched():
    assert PrefixSearch(PREFIXES).needles == (b"/opt/spack/bin/sbang", b"/opt/store", b"/up/str/pkg-1-x")
    assert PrefixSearch([]).needles == ()
    assert not FileScan(PrefixSearch([])).whole(b"\x7fELF" + b"/opt/store" * 3, 0, 34).found


@pytest.mark.parametrize(
    "target, relocated",
    [
        ("/opt/store/linux/x", True),
        ("/opt/store", True),
        ("/opt/storage", False),
        ("/opt/spack/bin/sbang", True),
        ("../opt/store", False),
        ("opt/store", False),
        ("/usr/opt/store", False),
        ("/opt/store-two", True),  # as Spack: prefixes are compared as strings
    ],
)
def test_links(target, relocated):
    assert PrefixSearch(PREFIXES).matches_link(target.encode()) is relocated


def test_a_file_that_is_neither_text_nor_binary_is_noted_but_not_listed():
    data = b"\x1a\x01\x00\x99 terminfo /opt/store/x\0"
    scan = FileScan(PrefixSearch(PREFIXES)).whole(data, 0, len(data))
    assert (scan.kind, scan.found) == (OTHER, True)


def test_hits_of_a_large_binary_are_counted_once_each():
    data = b"\x7fELF\0\0\0\0" + (b"/opt/store/lib\0" * 1000)
    scan = FileScan(PrefixSearch(PREFIXES))
    scan.begin(data[:8])
    for start in range(0, len(data), 64):
        scan.feed(data, start, min(len(data), start + 64))
    scan.finish()
    assert scan.hits == [8 + 15 * number for number in range(1000)]
