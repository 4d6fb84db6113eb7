# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""RPATH, RUNPATH and the interpreter, in real programs made by the compiler; pyelftools is the witness."""

import io
import subprocess

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.errors import RelocationError
from spack_oci.formats import elf
from spack_oci.relocate.aliases import Aliases
from spack_oci.relocate.binary import apply, relocate_at, relocate_bytes
from spack_oci.relocate.build_info import BuildInfo
from spack_oci.relocate.files import FileRelocator
from spack_oci.relocate.mapping import PathMapping, PrefixMap, Relocation, build_mapping
from support.packages.layers import NO_LIMIT

HASH = "abcdefghijklmnopqrstuvwxyz234567"
OLD = f"/old/store/linux/zlib-1.3-{HASH}"
OTHER = f"/old/store/linux/other-1.3-{HASH[::-1]}"


def read(data):
    return elf.read_paths(lambda offset, length: data[offset : offset + length])


def witness(data):
    """(rpath or runpath, interpreter) as pyelftools sees them."""
    rpath = interpreter = None
    for segment in ELFFile(io.BytesIO(data)).iter_segments():
        if segment.header.p_type == "PT_INTERP":
            interpreter = segment.get_interp_name()
        elif segment.header.p_type == "PT_DYNAMIC":
            for tag in segment.iter_tags():
                rpath = getattr(tag, "rpath", None) or getattr(tag, "runpath", None) or rpath
    return rpath, interpreter


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    directory = tmp_path_factory.mktemp("elf")
    (directory / "m.c").write_text("int main(void) { return 0; }\n")

    def make(*options, output="out"):
        subprocess.run(["cc", "m.c", "-o", output, *options], cwd=directory, check=True)
        return (directory / output).read_bytes()

    return make


def mapping(*pairs):
    mappings = [PathMapping(old.encode(), new.encode(), None if old == "/old/store" else old) for old, new in pairs]
    return PrefixMap(tuple(sorted(mappings, key=lambda p: -len(p.old))))


RPATH = f"{OLD}/lib:$ORIGIN/../lib:{OTHER}/lib64"


@pytest.mark.parametrize("tags", ["--disable-new-dtags", "--enable-new-dtags"])
def test_reads_what_pyelftools_reads(build, tags):
    data = build(f"-Wl,-rpath,{RPATH},{tags}", f"-Wl,--dynamic-linker,{OLD}/lib/ld.so")
    paths = read(data)
    assert (paths.rpath.value.decode(), paths.interpreter.value.decode()) == witness(data)
    assert data[paths.rpath.offset :].startswith(RPATH.encode() + b"\0")


def test_entries_and_interpreter_are_rewritten_in_place(build):
    data = build(f"-Wl,-rpath,{RPATH}", f"-Wl,--dynamic-linker,{OLD}/lib/ld.so")
    changes = relocate_bytes(data, mapping((OLD, "/n/zlib"), (OTHER, "/n/other")))
    changed = apply(data, changes.patches)
    assert witness(changed) == ("/n/zlib/lib:$ORIGIN/../lib:/n/other/lib64", "/n/zlib/lib/ld.so")
    assert b"/old/store" not in changed and len(changed) == len(data) and not changes.unplaced
    # the rest of the old string is zeroed, so that `strings` shows no pieces of it
    offset = read(changed).rpath.offset
    assert changed[offset : offset + len(RPATH)].rstrip(b"\0") == b"/n/zlib/lib:$ORIGIN/../lib:/n/other/lib64"


def test_an_entry_may_grow_while_all_fit(build):
    data = build(f"-Wl,-rpath,{RPATH}")
    new = OLD.replace("/old/store", "/new/store/1")
    changed = apply(data, relocate_bytes(data, mapping((OLD, new), (OTHER, "/n"))).patches)
    assert witness(changed)[0] == f"{new}/lib:$ORIGIN/../lib:/n/lib64"


def test_entries_that_do_not_fit_take_their_alias_and_dead_ones_go(build):
    rpath = f"{OLD}/lib:/old/store/dead/lib:{OTHER}/lib"
    data = build(f"-Wl,-rpath,{rpath}", f"-Wl,--dynamic-linker,{OLD}/lib/ld.so")
    mappings = mapping((OLD, "/new" * 30), (OTHER, "/n/other"), ("/old/store", "/new" * 20))
    alias = b"/alias/.a/" + HASH[-7:].encode()
    changes = relocate_bytes(data, mappings, lambda mapped: (alias,) if mapped.dag_hash == OLD else ())
    changed = apply(data, changes.patches)
    assert witness(changed) == (f"{alias.decode()}/lib:/n/other/lib", f"{alias.decode()}/lib/ld.so")
    assert not changes.unplaced and b"/old/store" not in changed


def test_an_rpath_of_dead_entries_alone_does_not_become_the_current_directory(build):
    data = build("-Wl,-rpath,/old/store/dead/lib")
    changed = apply(data, relocate_bytes(data, mapping(("/old/store", "/new" * 20))).patches)
    rpath = witness(changed)[0]
    assert rpath.startswith("/---") and ":" not in rpath


def test_what_does_not_fit_is_reported_once(build):
    data = build(f"-Wl,-rpath,{OLD}/lib")
    changes = relocate_bytes(data, mapping((OLD, "/new" * 30)))
    assert [u.mapped.old.decode() for u in changes.unplaced] == [OLD]


def test_a_stream_gives_the_same(build):
    data = build(f"-Wl,-rpath,{RPATH}", f"-Wl,--dynamic-linker,{OLD}/lib/ld.so")
    mappings = mapping((OLD, "/n/zlib"), (OTHER, "/n/other"))
    expected = apply(data, relocate_bytes(data, mappings).patches)

    def read_into(at, view):
        part = data[at : at + len(view)]
        view[: len(part)] = part
        return len(part)

    for part in (100, len(data), 1 << 20):
        assert apply(data, relocate_at(read_into, mappings, part=part).patches) == expected


def test_debug_information_never_makes_an_install_fail(build, tmp_path):
    """The directory of the compilation is in the debug information, and nowhere else."""
    data = build("-g", f"-fdebug-prefix-map={tmp_path.parent}={OLD}", f"-ffile-prefix-map=/={OLD}/", output="g")
    assert OLD.encode() in data
    changes = relocate_bytes(data, mapping((OLD, "/new" * 30)))
    changed = apply(data, changes.patches)
    assert not changes.unplaced and OLD.encode() not in changed and len(changed) == len(data)


def test_programs_without_these_fields(build):
    static = build("-static", output="static")
    assert read(static).rpath is None and read(static).interpreter is None
    objects = build("-c", output="m.o")
    assert read(objects) == elf.ElfPaths()
    assert read(b"") == read(b"\x7fELF") == read(b"#!/bin/sh\n" * 100) == elf.ElfPaths()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_refused_but_never_break_anything(build_once, data):
    damaged = bytearray(build_once)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, 1200))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for candidate in (bytes(damaged), cut):
        changes = relocate_bytes(candidate, mapping((OLD, "/n/zlib"), (OTHER, "/n/other")))
        assert len(apply(candidate, changes.patches)) == len(candidate)


@pytest.fixture(scope="module")
def build_once(build):
    return build(f"-Wl,-rpath,{RPATH}", f"-Wl,--dynamic-linker,{OLD}/lib/ld.so")


# --- what the reader believes of a header


def header_of(data):
    """(offset, size, number) of the program headers of a 64-bit file; its dynamic section as {tag: offset of value}."""
    offset = int.from_bytes(data[32:40], "little")
    size, count = (int.from_bytes(data[at : at + 2], "little") for at in (54, 56))
    for at in range(offset, offset + size * count, size):
        if int.from_bytes(data[at : at + 4], "little") == 2:
            start, length = (int.from_bytes(data[at + i : at + i + 8], "little") for i in (8, 32))
    tags = {int.from_bytes(data[at : at + 8], "little"): at + 8 for at in range(start, start + length, 16)}
    return offset, size, count, tags


def changed(data, at, value, length=8):
    return data[:at] + value.to_bytes(length, "little") + data[at + length :]


STRTAB, STRSZ, RUNPATH_TAG = 5, 10, 29


@pytest.fixture(scope="module")
def program(build):
    return build("-g", "-Wl,--enable-new-dtags", f"-Wl,-rpath,{RPATH}")


def loaded_by_pyelftools(data):
    segments = [s.header for s in ELFFile(io.BytesIO(data)).iter_segments() if s.header.p_type == "PT_LOAD"]
    return {at for s in segments for at in range(s.p_offset, s.p_offset + s.p_filesz)}


def test_what_is_loaded_is_what_pyelftools_says_to_the_byte(program):
    paths, loaded = read(program), loaded_by_pyelftools(program)
    assert {at for at in range(len(program)) if paths.is_loaded(at)} == loaded
    assert loaded and len(loaded) < len(program)


def test_what_cannot_grow_is_loaded_and_no_path_field(program):
    paths = read(program)
    start, end = paths.rpath.offset, paths.rpath.offset + len(RPATH)
    assert [paths.is_fixed(at) for at in (start - 1, start, end - 1, end)] == [True, False, False, True]
    assert paths.is_fixed(0) and not paths.is_fixed(len(program) - 1)
    assert elf.ElfPaths().is_fixed(5), "of a file that is not understood, nothing can grow"


def test_a_string_outside_of_its_table_is_not_read(program):
    tags = header_of(program)[3]
    size = int.from_bytes(program[tags[STRSZ] : tags[STRSZ] + 8], "little")
    for at, value in (
        (tags[RUNPATH_TAG], size),
        (tags[RUNPATH_TAG], 1 << 62),
        (tags[STRSZ], 1),
        (tags[STRSZ], 1 << 40),
    ):
        assert read(changed(program, at, value)) == elf.ElfPaths()


def test_a_table_outside_of_what_is_loaded_is_not_read(program):
    tags = header_of(program)[3]
    for address in (0xFFFF_FFFF_FFFF, 1 << 63, len(program) + (1 << 20)):
        assert read(changed(program, tags[STRTAB], address)) == elf.ElfPaths()


def test_a_table_in_front_of_what_is_loaded_is_not_read(build):
    """Where the first segment is not at address 0."""
    data = build("-no-pie", f"-Wl,-rpath,{RPATH}")
    tags = header_of(data)[3]
    string = int.from_bytes(data[tags[RUNPATH_TAG] : tags[RUNPATH_TAG] + 8], "little")
    segments = ELFFile(io.BytesIO(data)).iter_segments()
    first = min(s.header.p_vaddr for s in segments if s.header.p_type == "PT_LOAD")
    assert read(data).rpath is not None and first > 0
    for address in (16, first - string - 64):  # the second one as an offset from the end of the file
        assert read(changed(data, tags[STRTAB], address)) == elf.ElfPaths()


def test_headers_of_another_size_or_number_are_not_read(program):
    for size in (0, 32, 57):
        assert read(changed(program, 54, size, 2)) == elf.ElfPaths()
    assert read(changed(program, 56, 60_000, 2)) == elf.ElfPaths()
    assert read(changed(program, 32, 1 << 63)) == elf.ElfPaths()


def test_a_file_without_section_headers_is_read_as_the_loader_reads_it(program):
    """sstrip and some packers remove them; the dynamic section says where the strings are."""
    assert read(changed(changed(program, 40, 0), 60, 0, 2)) == read(program)


@pytest.mark.parametrize("longer", [0, 1])
def test_a_run_path_takes_the_room_it_has_and_no_byte_more(build, longer):
    data = build(f"-Wl,-rpath,{OLD}/lib:{OTHER}/lib")
    new = "/n" + "e" * (len(OLD) + len(OTHER) - len("/n") - len("/short/x") + longer)
    changes = relocate_bytes(data, mapping((OLD, "/short/x"), (OTHER, new)))
    if longer:
        assert [u.mapped.old.decode() for u in changes.unplaced] == [OTHER]
    else:
        assert witness(apply(data, changes.patches))[0] == f"/short/x/lib:{new}/lib" and not changes.unplaced


@pytest.mark.parametrize("there", [False, True])
def test_a_run_path_into_a_package_that_is_not_known_here_is_an_error_unless_it_leads_somewhere(build, tmp_path, there):
    """Dropping it would give a program that does not start; a build dependency's is dead and may go."""
    data = build(f"-Wl,-rpath,{OLD}/lib64:{OTHER}/lib:/old/store/build-tool/lib")
    info = BuildInfo({"own": OLD, "lost": OTHER}, "/old/store")
    here = Relocation({"own": "/n/own"}, str(tmp_path), "")
    relocator = FileRelocator(build_mapping(info, here), "tool@1", Aliases(here), NO_LIMIT)
    if there:
        (tmp_path / OTHER[len("/old/store/") :]).mkdir(parents=True)
    try:
        relocator.in_memory("bin/tool", "binary", data)
        assert there
    except RelocationError as e:
        assert not there and "bin/tool of tool@1" in str(e) and OTHER[len("/old/store/") :] in str(e)
