# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Which path becomes which, and the metadata that says so."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.errors import CorruptArchive, UnsafeArchive
from spack_oci.relocate import build_info
from spack_oci.relocate.build_info import BuildInfo, parse_document
from spack_oci.relocate.mapping import PathMapping, PrefixMap, Relocation, build_mapping

INFO = BuildInfo(
    {"h1": "/old/store/linux/a-1", "h2": "/old/store/linux/b-2", "h3": "/old/store/linux/gone-3"},
    "/old/store",
    "/old/store/bin/sbang",
    "linux/a-1",
)
HERE = Relocation({"h1": "/new/a", "h2": "/up/b", "h9": "/new/unrelated"}, "/new", "/new/bin/sbang")


def test_the_order_of_the_map():
    assert [(p.old, p.new, p.dag_hash) for p in build_mapping(INFO, HERE).mappings] == [
        (b"/old/store/bin/sbang", b"/new/bin/sbang", None),
        (b"/old/store/linux/a-1", b"/new/a", "h1"),
        (b"/old/store/linux/b-2", b"/up/b", "h2"),
        (b"/old/store", b"/new", None),
    ]


def test_a_prefix_that_begins_another_one_does_not_hide_it():
    info = BuildInfo({"h1": "/old/foo", "h2": "/old/foo-bar"}, "/old")
    mapping = build_mapping(info, Relocation({"h1": "/n/1", "h2": "/n/2"}, "/n", ""))
    assert mapping.match(b"/old/foo-bar/lib").new == b"/n/2" and mapping.match(b"/old/foo/lib").new == b"/n/1"


def test_several_roots_are_found_from_the_left():
    mappings = (PathMapping(b"/bb/x", b"/1", "x"), PathMapping(b"/aa", b"/2", None), PathMapping(b"/bb", b"/3", None))
    data = b"/bb/x /aa /bb /aa/bb/x"
    assert [(at, p.new) for at, p in PrefixMap(mappings).find(data)] == [
        (0, b"/1"), (6, b"/2"), (10, b"/3"), (14, b"/2"), (17, b"/1")
    ]  # fmt: skip


def test_identity():
    same = Relocation({"h1": "/old/store/linux/a-1"}, "/old/store", "/old/store/bin/sbang")
    assert build_mapping(INFO, same).is_identity and not build_mapping(INFO, HERE).is_identity


VANILLA = """{sbang_install_path: /o/bin/sbang, buildpath: /o, spackprefix: /s, relative_prefix: a/b,
  hash_to_prefix: {fwtx: /o/x
    y/z, '12345678': "/o/\\xE9\\u20AC"}, hardlinks_deduped: true,
  relocate_textfiles: [bin/a b, 'lib/it''s, [ok]', "a\\nb", 'null', l', x:y, a#b],
  relocate_binaries: [], relocate_links: null}
"""


def test_flow_yaml():
    info = BuildInfo.parse(VANILLA.encode())
    assert info.text_files == ("bin/a b", "lib/it's, [ok]", "a\nb", "null", "l'", "x:y", "a#b")
    assert info.hash_to_prefix == {"fwtx": "/o/x y/z", "12345678": "/o/é€"}
    assert (info.store_root, info.hardlinks_deduped, info.binaries, info.links) == ("/o", True, (), ())


_WORDS = ("a-1", "/o/x", "null", "'x'", "b-c:", "x:", "-", "@v", "?", ",", "[", "]", "{", "}", "true", "a,b", "12")


@given(st.lists(st.sampled_from(_WORDS), max_size=14))
def test_what_is_read_at_once_is_what_is_read_one_by_one(words):
    """Runs of plain scalars take a shorter way: every document must come out the same without it."""
    never = re.compile("(?!)")
    for text in (f"[{', '.join(words)}]", f"{{k: [{' '.join(words)}], h: 1}}", f"{{k: 1, {' '.join(words)}}}"):
        with pytest.MonkeyPatch.context() as patch:
            found = outcome(text)
            patch.setattr(build_info, "_ITEMS", never)
            patch.setattr(build_info, "_PAIRS", never)
            assert outcome(text) == found


def outcome(text):
    try:
        return parse_document(b"{d: %s}" % text.encode())
    except CorruptArchive:
        return None


def test_metadata_of_old_spack():
    info = BuildInfo.from_dict({"buildpath": "/o", "prefix_to_hash": {"/o/x": "h"}, "relocate_textfiles": ["a"]})
    assert info.hash_to_prefix == {"h": "/o/x"} and not info.hardlinks_deduped


@pytest.mark.parametrize(
    "text",
    ["", "[]", "x", "{a: 1", "{a}", "{a: 1} b", "{" * 100 + "}" * 100, '{"buildpath": "/o"}', '{"hash_to_prefix": {}}',
     '{"hash_to_prefix": {"a": 1}, "buildpath": "/o"}',
     '{"hash_to_prefix": {}, "buildpath": "/o", "relocate_links": "x"}',
     '{"hash_to_prefix": {}, "buildpath": "/o", "sbang_install_path": {"a": 1}}',
     '{"hash_to_prefix": {}, "buildpath": "/o", "relative_prefix": 1}',
     '{"hash_to_prefix": {"a": "/o/\\ud800"}, "buildpath": "/o"}',
     '{"hash_to_prefix": {}, "buildpath": "/o", "relocate_binaries": ["\\udeac"]}',
     "[" * 100000],
)  # fmt: skip
def test_what_is_no_metadata(text):
    with pytest.raises(CorruptArchive):
        BuildInfo.parse(text.encode())


@given(st.text(alphabet="{}[],:'\" \n\\#abc0", max_size=60))
def test_metadata_never_crashes(text):
    try:
        parse_document(text.encode())
    except CorruptArchive:
        pass


@pytest.mark.parametrize("path", ["a", "opt/store/x", "/", "/opt", "//opt//", "/opt/" + "x" * 5000])
def test_an_old_prefix_that_is_no_path_of_a_package_is_refused(path):
    """It would be found in every second word."""
    with pytest.raises(UnsafeArchive, match="no path of a package"):
        build_mapping(BuildInfo({"h1": path}, "/old/store"), HERE)
    with pytest.raises(UnsafeArchive):
        build_mapping(BuildInfo({}, "/old/store", sbang_path=path), HERE)


@pytest.mark.parametrize("root", ["a", "", "/", "//", "sw/x"])
def test_an_old_store_root_that_is_no_path_is_refused(root):
    with pytest.raises((UnsafeArchive, CorruptArchive)):
        build_mapping(BuildInfo.from_dict({"hash_to_prefix": {}, "buildpath": root}), HERE)


def test_a_store_in_a_directory_of_the_root_and_prefixes_that_are_not_relocated_are_accepted():
    """Old Spacks name externals (/usr) among the prefixes; nothing here has their hash."""
    info = BuildInfo({"h1": "/sw/a-1", "external": "/usr"}, "/sw")
    assert [m.old for m in build_mapping(info, HERE).mappings] == [b"/sw/a-1", b"/sw"]
