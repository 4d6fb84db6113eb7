# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The map, the metadata it is made of, and the relocation of a prefix that is on the disk already."""

import os
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spack_oci.errors import CorruptArchive, PrefixTooLong, UnsafeArchive
from spack_oci.relocate import build_info
from spack_oci.relocate import prefix as prefix_module
from spack_oci.relocate.aliases import Aliases
from spack_oci.relocate.build_info import BuildInfo, parse_document
from spack_oci.relocate.mapping import PathMapping, PrefixMap, Relocation, build_mapping
from spack_oci.relocate.prefix import relocate_prefix

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


@pytest.fixture
def prefix(tmp_path):
    root = tmp_path / "p"
    (root / "bin").mkdir(parents=True)
    (root / "bin/script").write_text("#!/old/store/linux/a-1/bin/sh\n")
    (root / "bin/script").chmod(0o755)
    (root / "bin/prog").write_bytes(b"\x7fELF" + b"\0" * 60 + b"/old/store/linux/a-1/share/x\0")
    os.link(root / "bin/prog", root / "bin/prog2")
    os.symlink("/old/store/linux/b-2/lib", root / "lib")
    os.symlink("/old/store/linux/a-1/x", root / "rel")
    (root / "other").write_text("/old/store")
    return root


def lists(**changes):
    values = {"text_files": ("bin/script",), "binaries": ("bin/prog", "bin/prog2"), "links": ("lib", "rel")}
    return BuildInfo(INFO.hash_to_prefix, INFO.store_root, INFO.sbang_path, **{**values, **changes})


def test_a_prefix_on_the_disk(prefix):
    relocated = relocate_prefix(str(prefix), build_mapping(INFO, HERE), lists())
    assert (prefix / "bin/script").read_text() == "#!/new/a/bin/sh\n"
    assert stat.S_IMODE((prefix / "bin/script").stat().st_mode) == 0o755
    assert (prefix / "bin/prog").read_bytes().endswith(b"\0" + b"/" * 14 + b"/new/a/share/x\0")
    assert (prefix / "bin/prog").stat().st_nlink == 2, "rewritten in place, under both names, once"
    assert os.readlink(prefix / "lib") == "/up/b/lib" and os.readlink(prefix / "rel") == "/new/a/x"
    assert (prefix / "other").read_text() == "/old/store", "only what is listed"
    assert (relocated.text_files, relocated.binaries, relocated.links) == (["bin/script"], ["bin/prog"], ["lib", "rel"])


def test_mach_o_goes_through_the_callers_function_first(prefix):
    calls = []
    relocate_prefix(str(prefix), build_mapping(INFO, HERE), lists(), macho=lambda paths, m: calls.append(paths))
    assert calls == [[f"{prefix}/bin/prog"]]


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside", "..", "door/x", "bin/link"])
def test_lists_do_not_lead_out_of_the_prefix(prefix, tmp_path, name):
    (tmp_path / "outside").write_text("/old/store")
    (tmp_path / "x").write_text("/old/store")
    os.symlink(tmp_path, prefix / "door")
    os.symlink(tmp_path / "x", prefix / "bin/link")
    with pytest.raises(UnsafeArchive):
        relocate_prefix(str(prefix), build_mapping(INFO, HERE), lists(text_files=(name,)))
    assert (tmp_path / "outside").read_text() == (tmp_path / "x").read_text() == "/old/store"


def test_what_does_not_fit_names_file_and_lengths(prefix, tmp_path):
    long = Relocation({"h1": "/new" * 30}, "/new", "/new/bin/sbang")
    with pytest.raises(PrefixTooLong, match="bin/prog of a@1.*100 characters longer"):
        relocate_prefix(str(prefix), build_mapping(INFO, long), lists(), what="a@1")
    aliases = Aliases(Relocation(long.new_prefixes, str(tmp_path / ("s" * 90)), ""))
    with pytest.raises(PrefixTooLong, match=r"bin/prog: it was built with .*\(20 characters\)"):
        relocate_prefix(str(prefix), build_mapping(INFO, long), lists(), what="a@1", aliases=aliases)


@pytest.mark.parametrize(("worth", "large"), [(0, 0), (0, 20000), (1 << 40, 0), (0, 1 << 40)])
def test_many_files_in_threads_and_without(tmp_path, monkeypatch, worth, large):
    """Every file once, large ones and small ones, in the order of the lists."""
    monkeypatch.setattr(prefix_module, "_LARGE", large)
    monkeypatch.setattr(prefix_module, "_WORTH_THREADS", worth)
    monkeypatch.setattr(prefix_module.os, "cpu_count", lambda: 4)
    names = [f"f{i}" for i in range(40)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(b"\x7fELF" + b"\0" * (i * 7919 % 40000) + b"/old/store/share/data\0" * (i % 2))
    relocated = relocate_prefix(
        str(tmp_path), build_mapping(INFO, HERE), lists(text_files=(), links=(), binaries=names)
    )
    assert relocated.binaries == names[1::2]
    assert all(b"///////new/share/data\0" in (tmp_path / name).read_bytes() for name in relocated.binaries)


def test_a_failure_in_a_thread_is_the_failure_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(prefix_module, "_LARGE", 0)
    monkeypatch.setattr(prefix_module, "_WORTH_THREADS", 0)
    monkeypatch.setattr(prefix_module.os, "cpu_count", lambda: 4)
    names = [f"f{i}" for i in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(b"\x7fELF" + b"\0" * 60 + b"/old/store/linux/a-1/x\0")
    long = Relocation({"h1": "/new" * 30}, "/new", "/new/bin/sbang")
    with pytest.raises(PrefixTooLong):
        relocate_prefix(str(tmp_path), build_mapping(INFO, long), lists(text_files=(), links=(), binaries=names))
