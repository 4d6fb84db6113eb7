# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real files of the kinds that Spack leaves wrong (and those that it gets right): each is used after relocation."""

import gzip
import importlib.util
import io
import json
import marshal
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spack_oci.archive.unpack.layer import install_layer
from spack_oci.formats.file_kinds import is_checked_pyc, unlisted_kind
from spack_oci.relocate.mapping import PathMapping, PrefixMap
from spack_oci.relocate.other import gunzip, relocate_gzip, relocate_opaque, relocate_pyc_strings
from spack_oci.relocate.pyc import relocate_pyc
from support.packages.layers import (
    GZIP,
    HASH,
    NO_LIMIT,
    OLD_PREFIX,
    OLD_ROOT,
    OTHER_OLD_PREFIX,
    Layer,
    new_prefix,
    relocation,
)

MAPPING = PrefixMap((PathMapping(OLD_PREFIX.encode(), b"/n/tool", "h"), PathMapping(OLD_ROOT.encode(), b"/n", None)))


def install(tmp_path, layer):
    """Install into ``tmp_path/s``; returns the prefix and what was relocated."""
    store = str(tmp_path / "s")
    summary = install_layer(io.BytesIO(layer.gzip()), GZIP, new_prefix(store), relocation(store), dag_hash=HASH)
    return summary.prefix, summary.relocated


def content(prefix, name):
    with open(os.path.join(prefix, name), "rb") as f:
        return f.read()


def test_compressed_man_page(tmp_path):
    page = gzip.compress(f".TH X 1\nSee {OLD_PREFIX}/share/doc.\n".encode(), 9, mtime=12345)
    plain = gzip.compress(b".TH Y 1\n", 9, mtime=1)
    layer = Layer().file("share/man/man1/x.1.gz", page).file("share/man/man1/y.1.gz", plain)
    prefix, relocated = install(tmp_path, layer)
    new = content(prefix, "share/man/man1/x.1.gz")
    assert gzip.decompress(new).decode() == f".TH X 1\nSee {prefix}/share/doc.\n"
    assert new[4:8] == page[4:8], "the time in the header stays"
    assert content(prefix, "share/man/man1/y.1.gz") == plain
    assert relocated.others == ["share/man/man1/x.1.gz"]


@pytest.mark.parametrize("lines", ["#!{p}/bin/python\n", "#!/bin/sh {r}/bin/sbang\n#!{p}/bin/python -s\n"])
def test_a_zip_behind_the_line_that_names_its_interpreter_is_run(tmp_path, lines):
    """As pex, shiv and zipapp make them: a program that no list has, because it is no text as a whole."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as f:
        f.writestr("__main__.py", "import sys; print('it ran as', sys.argv[1])")
    old = lines.format(p=OLD_PREFIX, r=OLD_ROOT).encode() + archive.getvalue()
    prefix, relocated = install(tmp_path, Layer().file("bin/tool", old, 0o755))
    new = content(prefix, "bin/tool")
    assert new == lines.format(p=prefix, r=tmp_path / "s").encode() + archive.getvalue()
    assert relocated.others == ["bin/tool"]
    done = subprocess.run([sys.executable, f"{prefix}/bin/tool", "x"], capture_output=True, text=True)
    assert done.stdout == "it ran as x\n", done.stderr


def test_what_is_behind_the_first_lines_of_a_script_with_data_stays(tmp_path):
    """A path may be in the data by chance, or with its length (pdm #2046: what looked like a first line there)."""
    rest = b"\0\1\2" + f"#!{OLD_PREFIX}/bin/sh\n".encode() + b"\7"
    prefix, _ = install(tmp_path, Layer().file("bin/tool", f"#!{OLD_PREFIX}/bin/x\n".encode() + rest, 0o755))
    assert content(prefix, "bin/tool") == f"#!{prefix}/bin/x\n".encode() + rest


def test_gzip_with_names_and_several_members():
    buffer = io.BytesIO()
    with gzip.GzipFile("x.1", "wb", 9, buffer, 7) as f:
        f.write(OLD_PREFIX.encode() + b" one\n")
    data = buffer.getvalue() + gzip.compress(b"two " + OLD_PREFIX.encode() + b"\n") + bytes(8)
    new = relocate_gzip(data, MAPPING, NO_LIMIT)
    assert gzip.decompress(new) == b"/n/tool one\ntwo /n/tool\n"
    assert new[:10] == data[:10] and new[10:14] == b"x.1\0"


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-9], lambda d: d[:20] + b"\xff\xff" + d[22:], lambda d: d + b"x", lambda d: d[:3]]
)
def test_damaged_gzip_stays(damage):
    data = damage(gzip.compress(OLD_PREFIX.encode() * 10))
    assert relocate_gzip(data, MAPPING, NO_LIMIT) is None and gunzip(data) is None


def test_gzip_of_binary_data_stays():
    assert relocate_gzip(gzip.compress(b"\0\1" + OLD_PREFIX.encode()), MAPPING, NO_LIMIT) is None


@pytest.mark.skipif(not shutil.which("tic"), reason="needs tic of ncurses")
def test_compiled_terminfo(tmp_path):
    source = f"oci-test|a test terminal,\n\tcols#80, if={OLD_PREFIX}/share/tabset/vt100, is1=hello,\n"
    (tmp_path / "t.ti").write_text(source)
    subprocess.run(["tic", "-o", str(tmp_path / "db"), str(tmp_path / "t.ti")], check=True)
    compiled = (tmp_path / "db/o/oci-test").read_bytes()
    prefix, relocated = install(tmp_path, Layer().file("share/terminfo/o/oci-test", compiled))
    shown = subprocess.run(
        ["infocmp", "-1", "-A", f"{prefix}/share/terminfo", "oci-test"], check=True, capture_output=True, text=True
    ).stdout
    path = next(line.strip()[3:-1] for line in shown.splitlines() if line.strip().startswith("if="))
    assert os.path.normpath("/" + path.lstrip("/")) == f"{prefix}/share/tabset/vt100" and "is1=hello" in shown
    assert relocated.others == ["share/terminfo/o/oci-test"]


@pytest.mark.parametrize("options", [[], ["-g"]])
def test_static_archive(tmp_path, options):
    build = tmp_path / "b"
    build.mkdir()
    (build / "l.c").write_text(f'const char *where(void) {{ return "{OLD_PREFIX}/share"; }}\n')
    (build / "m.c").write_text("#include <stdio.h>\nconst char *where(void);int main(void){return puts(where())<0;}\n")
    subprocess.run(["cc", *options, "-c", "l.c"], cwd=build, check=True)
    subprocess.run(["ar", "rc", "libl.a", "l.o"], cwd=build, check=True)
    prefix, relocated = install(tmp_path, Layer().file("lib/libl.a", (build / "libl.a").read_bytes()))
    assert relocated.others == ["lib/libl.a"]
    subprocess.run(["cc", "m.c", f"{prefix}/lib/libl.a", "-o", "m"], cwd=build, check=True)
    output = subprocess.run([f"{build}/m"], check=True, capture_output=True, text=True).stdout.strip()
    assert os.path.normpath("/" + output.lstrip("/")) == f"{prefix}/share"


LA = """# libtool library file - Generated by libtool 2.4.7
dlname='libx.so.1'
dependency_libs=' -L{other}/lib -R{other}/lib {other}/lib/liby.la'
libdir='{own}/lib'
"""
PC = """prefix={own}
libdir=${{prefix}}/lib
Requires.private: y
Libs: -L${{libdir}} -lx -Wl,-rpath,{other}/lib
Cflags: -I{own}/include -I"{other}/include"
"""
CMAKE = """set_target_properties(x::x PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "{own}/include;{other}/include"
  IMPORTED_LOCATION_RELEASE "${{_IMPORT_PREFIX}}/lib/libx.so"
  INTERFACE_LINK_LIBRARIES "{other}/lib/liby.so;\\$<LINK_ONLY:{other}/lib/libz.a>")
"""
PERL = """our %Config = (
    archlibexp => '{own}/lib/5.36.0/x86_64-linux-thread-multi',
    ccflags => '-I{other}/include',
    perlpath => '{own}/bin/perl',
);
"""
SYSCONFIG = """build_time_vars = {{'BINDIR': '{own}/bin',
 'CONFIG_ARGS': "'--prefix={own}' 'LDFLAGS=-Wl,-rpath={other}/lib -L{other}/lib'",
 'LIBDIR': '{own}/lib'}}
"""


@pytest.mark.parametrize(
    "name, text",
    [
        ("lib/libx.la", LA),
        ("lib/pkgconfig/x.pc", PC),
        ("lib/cmake/x/x-targets.cmake", CMAKE),
        ("lib/perl5/Config.pm", PERL),
        ("lib/python3.11/_sysconfigdata__linux_.py", SYSCONFIG),
    ],
)
def test_text_files_of_build_systems_grow_and_shrink(tmp_path, name, text):
    for depth, old in (("s", OLD_PREFIX), ("a/much/longer/store/root" * 8, OLD_PREFIX)):
        data = text.format(own=old, other=OTHER_OLD_PREFIX)
        prefix, _ = install(tmp_path / depth, Layer().file(name, data, listed="text"))
        other = os.path.dirname(prefix) + "/" + os.path.basename(OTHER_OLD_PREFIX)
        assert content(prefix, name).decode() == text.format(own=prefix, other=other)


def test_pkg_config_accepts_it(tmp_path):
    if not shutil.which("pkg-config"):
        pytest.skip("needs pkg-config")
    text = PC.replace("Requires.private: y\n", "Name: x\nDescription: x\nVersion: 1\n")
    data = text.format(own=OLD_PREFIX, other=OTHER_OLD_PREFIX)
    prefix, _ = install(tmp_path, Layer().file("lib/pkgconfig/x.pc", data, listed="text"))
    env = {**os.environ, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
    flags = subprocess.run(["pkg-config", "--cflags", "x"], env=env, check=True, capture_output=True, text=True).stdout
    assert f"-I{prefix}/include" in flags


def test_text_that_is_not_utf8(tmp_path):
    page = f".TH X 1\nSi\xf3 {OLD_PREFIX}/share \x85\n".encode("latin-1")
    prefix, relocated = install(tmp_path, Layer().file("share/man/es/x.1", page))
    assert content(prefix, "share/man/es/x.1") == page.replace(OLD_PREFIX.encode(), prefix.encode())
    assert relocated.others == ["share/man/es/x.1"]


SOURCE = f'PREFIX = "{OLD_PREFIX}"\nNESTED = ("x{OLD_PREFIX}/a", {{1, 2.5}}, None)\n\ndef f(a, *b, c=1j):\n    return [lambda: PREFIX + "é{OLD_PREFIX}", b"{OLD_PREFIX}", 10 ** 40]\n'  # noqa: E501


def compiled(tmp_path, mode):
    (tmp_path / "mod.py").write_text(SOURCE)
    path = tmp_path / "mod.pyc"
    py_compile.compile(
        str(tmp_path / "mod.py"), str(path), f"{OLD_PREFIX}/lib/mod.py", doraise=True, invalidation_mode=mode
    )
    return path.read_bytes()


@pytest.mark.parametrize("new", [b"/n", b"/a/much/longer/prefix" * 30])
def test_bytecode_that_is_not_checked_is_rewritten(tmp_path, new):
    data = compiled(tmp_path, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    result = relocate_pyc_strings(data, PrefixMap((PathMapping(OLD_PREFIX.encode(), new, "h"),)), NO_LIMIT)
    assert OLD_PREFIX.encode() not in result
    code = marshal.loads(result[16:])
    assert code.co_filename == new.decode() + "/lib/mod.py"
    scope = {}
    exec(code, scope)
    assert scope["PREFIX"] == new.decode() and scope["NESTED"][0] == "x" + new.decode() + "/a"
    values = scope["f"](1)
    assert values[0]() == new.decode() + "é" + new.decode() and values[1:] == [new, 10**40]


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_a_module_is_imported_with_the_right_paths(tmp_path, mode):
    """Whatever the kind of bytecode: constants, file name in a traceback."""
    name = f"lib/__pycache__/mod.{sys.implementation.cache_tag}.pyc"
    layer = Layer().file("lib/mod.py", SOURCE, listed="text").file(name, compiled(tmp_path, mode))
    prefix, relocated = install(tmp_path, layer)
    assert (name in relocated.others) == (mode is py_compile.PycInvalidationMode.UNCHECKED_HASH)
    script = "import mod, json; print(json.dumps([mod.PREFIX, mod.f.__code__.co_filename]))"
    env = {**os.environ, "PYTHONPATH": f"{prefix}/lib", "PYTHONDONTWRITEBYTECODE": "1"}
    output = subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True).stdout
    assert json.loads(output) == [prefix, f"{prefix}/lib/mod.py"]


def test_bytecode_without_a_source_is_rewritten(tmp_path):
    prefix, relocated = install(
        tmp_path, Layer().file("lib/mod.pyc", compiled(tmp_path, py_compile.PycInvalidationMode.TIMESTAMP))
    )
    assert relocated.others == ["lib/mod.pyc"]
    spec = importlib.util.spec_from_file_location("mod", f"{prefix}/lib/mod.pyc")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert prefix == module.PREFIX


def test_real_bytecode_of_the_standard_library_is_understood(tmp_path):
    """Everything that this Python compiles: the walk reaches the end, and an empty change changes nothing."""
    for module in ("argparse", "asyncio.events", "typing", "decimal", "dataclasses", "email.message"):
        source = importlib.util.find_spec(module).origin
        path = str(tmp_path / "x.pyc")
        py_compile.compile(source, path, f"{OLD_PREFIX}/x.py", doraise=True)
        with open(path, "rb") as f:
            data = f.read()
        result = relocate_pyc(data, lambda text: text.replace(OLD_PREFIX.encode(), b"/n") if b"/old" in text else None)
        assert result is not None and marshal.loads(result[16:]).co_filename == "/n/x.py"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytecode_never_breaks_anything(unchecked, data):
    damaged = bytearray(unchecked)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    relocate_pyc_strings(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), MAPPING, NO_LIMIT)


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("pyc"), py_compile.PycInvalidationMode.UNCHECKED_HASH)


def test_checked_bytecode_is_known_by_its_header_and_source():
    head = b"\xa7\r\r\n\0\0\0\0"
    files = {b"a/mod.py"}
    assert is_checked_pyc(b"a/__pycache__/mod.cpython-311.opt-1.pyc", head, files)
    assert is_checked_pyc(b"a/mod.pyc", head, files)
    assert not is_checked_pyc(b"a/mod.pyc", head, set())
    assert not is_checked_pyc(b"a/mod.pyc", b"\xa7\r\r\n\1\0\0\0", files), "unchecked hash"
    assert is_checked_pyc(b"a/mod.pyc", b"\xa7\r\r\n\3\0\0\0", files), "checked hash"
    assert not is_checked_pyc(b"a/mod.py", head, files)


def test_strings_in_files_of_unknown_format():
    path = OLD_PREFIX.encode() + b"/share/data"
    data = b"\1\2\0" + path + b"\0tail\0x" + path + b"\0\0" + path + b"\1\0"
    patches = relocate_opaque(data, MAPPING, lambda mapped: ()).patches
    assert [p.offset for p in patches] == [3], "whole strings only: not in the middle, not before a control character"
    assert len(patches[0].data) == len(OLD_PREFIX)


def test_sealed_files_stay(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", b"\0" + OLD_PREFIX.encode() + b"/some/data\0")
    prefix, relocated = install(tmp_path, Layer().file("x.whl", buffer.getvalue()))
    assert content(prefix, "x.whl") == buffer.getvalue() and relocated.others == []


@pytest.mark.parametrize(
    "name, data, kind",
    [
        ("a", b"\x7fELF\2\1", "binary"),
        ("a.a", b"!<arch>\nx", "strings"),
        ("share/terminfo/x/xterm", b"\x1a\x01\0", "strings"),
        ("x", b"\x1a\x01\0", "opaque"),
        ("a.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("a.pyc", b"\xa7\r\r\n\1\0\0\0", "pyc"),
        ("a.zip", b"PK\x03\x04\0", None),
        ("a.db", b"SQLite format 3\0", None),
        ("a.1", b"caf\xe9 \x85 \x1b[0m\n", "text"),
        ("a.bin", b"\0\1\2", "opaque"),
        ("a.pyz", b"#!/bin/x\nPK\x03\x04\0", "script"),
        ("a.sh", b"#!/bin/x\ntext", "text"),
    ],
)
def test_kinds(name, data, kind):
    assert unlisted_kind(name, data) == kind
