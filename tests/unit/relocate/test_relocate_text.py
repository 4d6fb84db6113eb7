# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in text, against a slow and obvious reference."""

import io
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spack_oci.errors import UnsafeArchive
from spack_oci.relocate import text
from spack_oci.relocate.mapping import PathMapping, PrefixMap
from spack_oci.relocate.text import GrowthLimit, relocate_large_text, relocate_text
from support.packages.layers import NO_LIMIT


def mapping(**pairs):
    return PrefixMap(tuple(PathMapping(old.encode(), new.encode(), None) for old, new in pairs.get("pairs", [])))


SIMPLE = mapping(pairs=[("/old/store/pkg-1", "/n/pkg"), ("/old/store", "/new/and/much/longer")])


@pytest.mark.parametrize(
    "before, after",
    [
        ("/old/store/pkg-1/lib", "/n/pkg/lib"),
        ("prefix=/old/store/pkg-1", "prefix=/n/pkg"),
        ("-L/old/store/pkg-1/lib -I/old/store/x", "-L/n/pkg/lib -I/new/and/much/longer/x"),
        ("a:/old/store/a:/old/store/b", "a:/new/and/much/longer/a:/new/and/much/longer/b"),
        ("/mnt/old/store/pkg-1", None),
        ("//old/store/pkg-1", None),
        ("/a-b/old/store", None),
        ("x /mnt/old/store /old/store", "x /mnt/old/store /new/and/much/longer"),
        ("/old/store/old/store", "/new/and/much/longer/old/store"),
        ("/old/store.d", "/new/and/much/longer.d"),
        ("file:///old/store", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_where_a_path_counts(before, after):
    assert relocate_text(before.encode(), SIMPLE, NO_LIMIT) == (None if after is None else after.encode())


def test_a_path_that_stays_is_not_taken_for_something_under_the_old_root():
    upstream = mapping(pairs=[("/old/store/up-1", "/old/store/up-1"), ("/old/store", "/new")])
    assert relocate_text(b"/old/store/up-1/x /old/store/y", upstream, NO_LIMIT) == b"/old/store/up-1/x /new/y"
    assert relocate_text(b"/old/store/up-1/x", upstream, NO_LIMIT) is None


def reference(data, pairs):
    """One regular expression, as Spack has it."""
    paths = b"|".join(re.escape(old) for old, _ in pairs)
    pattern = re.compile(rb"(?<![\w\-_/])([\w\-_]*?)(" + paths + rb")([\w\-_/]*)")
    return pattern.sub(lambda m: m.group(1) + dict(pairs)[m.group(2)] + m.group(3), data)


PAIRS = [(b"/ab/c", b"/x"), (b"/ab", b"/yy/zzzzz"), (b"/q", b"/r")]
pieces = st.lists(
    st.sampled_from([b"/ab", b"/c", b"/q", b"/", b"a", b"-", b" ", b".", b"\xc3\xa9", b"_1"]), max_size=30
)


@given(pieces)
@example([b"/ab", b"/c", b"/ab"])
def test_like_one_regular_expression(parts):
    data = b"".join(parts)
    mappings = PrefixMap(tuple(PathMapping(old, new, None) for old, new in PAIRS))
    new = relocate_text(data, mappings, NO_LIMIT)
    assert (data if new is None else new) == reference(data, PAIRS)


@given(pieces, st.integers(1, 40))
@settings(deadline=None)
def test_in_parts_of_any_size(parts, chunk):
    data = b"".join(parts) * 3
    mappings = PrefixMap(tuple(PathMapping(old, new, None) for old, new in PAIRS))
    file = io.BytesIO(data)
    before, text.CHUNK = text.CHUNK, chunk
    try:
        changed = relocate_large_text(file, mappings, NO_LIMIT)
    finally:
        text.CHUNK = before
    assert file.getvalue() == reference(data, PAIRS)
    assert changed == (file.getvalue() != data)


def test_no_file_of_long_lines_takes_long(monkeypatch):
    monkeypatch.setattr(text, "LONGEST_RUN", 1000)
    data = b"a" * 100_000 + b" /ab/c/x"
    file = io.BytesIO(data)
    assert relocate_large_text(file, PrefixMap(tuple(PathMapping(old, new, None) for old, new in PAIRS)), NO_LIMIT)
    assert file.getvalue() == b"a" * 100_000 + b" /x/x"


def test_text_of_a_package_grows_to_a_limit_and_no_further():
    growth = GrowthLimit(30, "tool@1")
    longer = mapping(pairs=[("/o/p", "/new/prefix")])
    assert relocate_text(b"/o/p /o/p", longer, growth) == b"/new/prefix /new/prefix"
    assert relocate_text(b"/new/p", mapping(pairs=[("/new/p", "/n")]), growth) == b"/n"
    with pytest.raises(UnsafeArchive, match="tool@1 longer by over 30 bytes"):
        relocate_text(b"/o/p /o/p /o/p", longer, growth)


def test_the_time_for_text_full_of_paths_is_proportional_to_its_length():
    paths = mapping(pairs=[("/a/b", "/c/d"), ("/a/b" * 1000, "/e/f")])

    def seconds(count):
        data = b"/a/b" * count
        started = time.process_time()
        relocate_text(data, paths, NO_LIMIT)
        return time.process_time() - started

    seconds(1000)
    assert seconds(80_000) < 40 * max(seconds(10_000), 0.001)
