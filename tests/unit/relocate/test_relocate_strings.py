# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Old paths in C strings: Spack's rule where the new path fits, other names where it does not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.relocate.binary import apply, relocate_at, relocate_bytes
from spack_oci.relocate.cstring import relocate_strings
from spack_oci.relocate.mapping import PathMapping, PrefixMap

HASH = "abcdefghijklmnopqrstuvwxyz234567"
OLD = f"/old/store/linux/zlib-1.3-{HASH}".encode()
ROOT = b"/old/store"


def one(new, dag_hash=HASH, old=OLD):
    return PrefixMap((PathMapping(old, new, dag_hash), PathMapping(ROOT, b"/new", None)))


def reader(data):
    def read_into(at, view):
        part = data[at : at + len(view)]
        view[: len(part)] = part
        return len(part)

    return read_into


def run(data, mapping, *names):
    patches, unplaced, _ = relocate_strings(data, mapping, lambda mapped: names if mapped.dag_hash else ())
    return apply(data, patches), unplaced


def test_a_shorter_path_is_padded_in_front():
    new = b"/n/zlib-1.3-" + HASH.encode()
    data = b"\0" + OLD + b"/share/data\0rest"
    changed, unplaced = run(data, one(new))
    assert changed == b"\0" + b"/" * (len(OLD) - len(new)) + new + b"/share/data\0rest" and not unplaced


def test_the_end_of_a_string_stays_for_those_that_share_it():
    new = b"/n/zlib-1.3-" + HASH.encode()
    changed, _ = run(OLD + b"\0", one(new))
    assert changed.endswith(HASH.encode() + b"\0") and changed.startswith(b"/////")


def test_another_end_is_possible_where_it_is_much_shorter():
    changed, _ = run(OLD + b"/x\0", one(b"/short"))
    assert changed.startswith(b"/short/x\0") and changed[9:] == (OLD + b"/x\0")[9:]


def test_another_end_that_is_a_little_shorter_is_not_possible():
    new = OLD[:-8] + b"7654321"
    changed, unplaced = run(OLD + b"\0", one(new))
    assert changed == OLD + b"\0" and [(u.offset, u.too_long) for u in unplaced] == [(0, False)]


def test_a_longer_path_takes_another_name():
    name = b"/a/long/new/store/.a/" + HASH[-7:].encode()
    changed, unplaced = run(b"x=" + OLD + b"/lib\0" + OLD + b"\0", one(b"/very" * 30), name)
    padded = b"/" * (len(OLD) - len(name)) + name
    assert changed == b"x=" + padded + b"/lib\0" + padded + b"\0" and not unplaced


def test_a_longer_path_without_another_name_is_reported():
    changed, unplaced = run(OLD + b"/lib/xyz\0", one(b"/very" * 30))
    assert changed == OLD + b"/lib/xyz\0" and unplaced[0].too_long


@pytest.mark.parametrize("suffix", [b"\0", b"/linux/gmake-4.4/bin/make\0", b"/x\0"])
def test_a_dead_path_is_buried_where_nobody_but_root_can_put_anything(suffix):
    mapping = PrefixMap((PathMapping(ROOT, b"/a/longer/new/store", None),))
    data = b"\0" + ROOT + suffix
    changed, unplaced = run(data, mapping)
    assert len(changed) == len(data) and not unplaced
    path = changed[1:].split(b"\0")[0]
    assert ROOT not in path and path.startswith(b"/-")
    assert changed[-8:] == data[-8:] or suffix == b"\0", "what may be shared stays"


def test_a_dead_path_where_the_new_root_fits_is_mapped_as_in_spack():
    changed, _ = run(ROOT + b"/linux/gone\0", PrefixMap((PathMapping(ROOT, b"/new", None),)))
    assert changed == b"//////" + b"/new/linux/gone\0"


def test_another_root_that_begins_alike_is_left_alone():
    data = b"/old/store-of-somebody/else\0"
    assert run(data, PrefixMap((PathMapping(ROOT, b"/a/longer/new/store", None),)))[0] == data


def reference(data, old, new, safety=7):
    """Spack's rule, as one regular expression and a decision."""
    result = bytearray(data)
    for match in re.finditer(b"(" + re.escape(old) + b")([^\0]{0,7}\0)?", data):
        shorter = len(old) - len(new)
        suffix = match.group(2)
        length = None if suffix is None else len(suffix) - 1
        if shorter < 0:
            raise ValueError
        if length is None or length >= safety or old[length - safety :] == new[length - safety :]:
            replacement = b"/" * shorter + new
        elif shorter > safety:
            replacement = new + suffix
        else:
            raise ValueError
        result[match.start() : match.start() + len(replacement)] = replacement
    return bytes(result)


LONG = b"/build/root/with/padding"
parts = st.lists(st.sampled_from([LONG, b"\0", b"/lib", b"a", b"/usr", b"xyz", b" ", b"-L"]), max_size=25)


@given(parts, st.sampled_from([b"/n", b"/build/root/with/padding", b"/other/root/with/padding", b"/xuild/root"]))
def test_like_spack_where_spack_succeeds(items, new):
    data = b"".join(items)
    mapping = PrefixMap((PathMapping(LONG, new, "h"),))
    try:
        expected = reference(data, LONG, new) if new != LONG else data
    except ValueError:
        return
    changed, unplaced = run(data, mapping)
    assert changed == expected and not unplaced


@given(parts, st.integers(1, 60))
def test_in_parts_of_any_size(items, chunk):
    data = b"".join(items) * 2
    mapping = PrefixMap((PathMapping(LONG, b"/n", "h"), PathMapping(b"/usr", b"/u", None)))
    changes = relocate_at(reader(data), mapping, part=chunk)
    assert apply(data, changes.patches) == apply(data, relocate_bytes(data, mapping).patches)


def test_an_old_path_within_another_one_is_left_to_that_one():
    """Two roots, the second of which stands in the middle of the first, and of what was written for it."""
    mapping = PrefixMap(
        (PathMapping(b"/old/store/pkg-one", b"/n/p", "h"), PathMapping(b"/store/pkg-one", b"/other/place12", None))
    )
    changed, unplaced = run(b"/old/store/pkg-one/share/data\0/store/pkg-one/share/x\0", mapping)
    assert changed == b"/" * 14 + b"/n/p/share/data\0/other/place12/share/x\0" and not unplaced
    shortened = PrefixMap((PathMapping(b"/old/store/pkg-one", b"/n", "h"), PathMapping(b"/x/y", b"/z/z", None)))
    changed, _ = run(b"/old/store/pkg-one/x/y\0", shortened)
    assert changed.startswith(b"/n/x/y\0"), "the end that was moved is written once"
