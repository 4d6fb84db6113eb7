# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Files that real programs have written, used by these programs where they are installed.

Each file is made for a prefix of the length of a store with padding, installed into a shorter and into a longer store,
and then read by the program that it is for: CMake, pkg-config, libtool, perl, python, man, tic.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from spack_oci.archive.unpack.layer import install_layer
from support.packages.layers import GZIP, HASH, OLD_PREFIX, Layer, new_prefix, relocation


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


@pytest.fixture(params=["shorter", "longer"])
def install(request, tmp_path):
    """``install(layer)``: the new prefix."""
    more = -10 if request.param == "shorter" else 10
    root = str(tmp_path / "s")
    store = root + "s" * (len(OLD_PREFIX) + more - len(new_prefix(root)))
    prefix = new_prefix(store)
    assert len(prefix) == len(OLD_PREFIX) + more

    def make(layer):
        install_layer(io.BytesIO(layer.gzip()), GZIP, prefix, relocation(store), dag_hash=HASH)
        return Path(prefix)

    return make


def run(*argv, cwd=None, **environment):
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def plain(path):
    """Without the slashes that pad a shorter path in front."""
    return re.sub("^/+", "/", path)


@needs("cmake")
def test_cmake_package_files(tmp_path, install):
    """What install(EXPORT) writes for a library, with an absolute include directory of the package in it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "x.c").write_text("int x(void) { return 1; }\n")
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.10)\nproject(x C)\nadd_library(x STATIC x.c)\n"
        f"target_include_directories(x INTERFACE {OLD_PREFIX}/include)\n"
        f'target_compile_definitions(x INTERFACE DATA="{OLD_PREFIX}/share")\n'
        "install(TARGETS x EXPORT x-targets ARCHIVE DESTINATION lib)\n"
        "install(EXPORT x-targets NAMESPACE x:: FILE x-config.cmake DESTINATION lib/cmake/x)\n"
    )
    run("cmake", "-S", source, "-B", tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={OLD_PREFIX}")
    run("cmake", "--build", tmp_path / "build")
    run("cmake", "--install", tmp_path / "build", DESTDIR=str(tmp_path / "image"))
    layer = Layer().file("include/x.h", "int x(void);\n")
    image = Path(f"{tmp_path}/image{OLD_PREFIX}")
    found = [path for path in sorted(image.rglob("*")) if path.is_file()]
    assert any(OLD_PREFIX.encode() in path.read_bytes() for path in found)
    for path in found:
        listed = "text" if path.suffix == ".cmake" else None
        layer.file(str(path.relative_to(image)), path.read_bytes(), listed=listed)
    prefix = install(layer)

    user = tmp_path / "user"
    user.mkdir()
    (user / "m.c").write_text("#include <stdio.h>\n#include <x.h>\nint main(void) { return x() && puts(DATA) < 0; }\n")
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.10)\nproject(user C)\nfind_package(x REQUIRED)\n"
        "add_executable(m m.c)\ntarget_link_libraries(m x::x)\n"
    )
    run("cmake", "-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", user / "build")
    assert run(user / "build" / "m").strip() == f"{prefix}/share"


@needs("cmake", "pkg-config")
def test_pkg_config_file(tmp_path, install):
    """As configure_file makes it."""
    (tmp_path / "x.pc.in").write_text(
        "prefix=@CMAKE_INSTALL_PREFIX@\nlibdir=${prefix}/lib\nName: x\nDescription: x\nVersion: 1\n"
        "Libs: -L${libdir} -Wl,-rpath,@CMAKE_INSTALL_PREFIX@/lib -lx\nCflags: -I@CMAKE_INSTALL_PREFIX@/include\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.10)\nproject(x NONE)\nconfigure_file(x.pc.in x.pc @ONLY)\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_INSTALL_PREFIX={OLD_PREFIX}")
    prefix = install(Layer().file("lib/pkgconfig/x.pc", (tmp_path / "b" / "x.pc").read_bytes(), listed="text"))
    flags = run("pkg-config", "--cflags", "--libs", "x", PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig"))
    assert flags.split() == [f"-I{prefix}/include", f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-lx"]


@pytest.mark.slow
@needs("libtoolize", "aclocal", "autoconf")
def test_libtool_archive(tmp_path, install):
    """Made and used by libtool itself, which a configure script makes."""
    (tmp_path / "configure.ac").write_text("AC_INIT([x], [1])\nAC_CONFIG_MACRO_DIRS([m4])\nLT_INIT\nAC_OUTPUT\n")
    for command in (["libtoolize", "--copy", "--install"], ["aclocal", "-I", "m4"], ["autoconf"]):
        run(*command, cwd=tmp_path)
    for name in ("install-sh", "missing"):  # automake would bring them along
        (tmp_path / name).write_text("#!/bin/sh\n")
    run("./configure", cwd=tmp_path)
    (tmp_path / "x.c").write_text("int x(void) { return 7; }\n")
    run("./libtool", "--mode=compile", "cc", "-c", "x.c", cwd=tmp_path)
    run("./libtool", "--mode=link", "cc", "-o", "libx.la", "x.lo", "-rpath", f"{OLD_PREFIX}/lib", cwd=tmp_path)
    image = Path(f"{tmp_path}/image{OLD_PREFIX}/lib")
    image.mkdir(parents=True)
    run("./libtool", "--mode=install", "cp", "libx.la", image / "libx.la", cwd=tmp_path)
    layer = Layer()
    for path in sorted(image.iterdir()):
        if path.is_symlink():
            layer.symlink(f"lib/{path.name}", os.readlink(path))
        else:
            layer.file(f"lib/{path.name}", path.read_bytes(), 0o755, "text" if path.suffix == ".la" else None)
    prefix = install(layer)
    (tmp_path / "m.c").write_text("int x(void);\nint main(void) { return x() - 7; }\n")
    run("./libtool", "--mode=link", "cc", "-o", "m", "m.c", prefix / "lib" / "libx.la", cwd=tmp_path)
    dynamic = run("readelf", "-d", tmp_path / "m")
    assert f"[{prefix}/lib]" in dynamic, "libtool links with the directory that the archive names"
    run(tmp_path / "m")


@needs("perl")
def test_perls_config(tmp_path, install):
    """The real Config.pm and Config_heavy.pl of this machine's perl, as if it had been built in the old prefix."""
    directory, old = run("perl", "-MConfig", "-e", "print qq($INC{q(Config.pm)}\n$Config{prefixexp})").split("\n")
    directory = os.path.dirname(directory)
    layer = Layer()
    for name in ("Config.pm", "Config_heavy.pl"):
        found = [directory, *run("perl", "-e", "print join qq(\n), @INC").split("\n")]
        path = next((Path(d, name) for d in found if os.path.isfile(os.path.join(d, name))), None)
        if path is None:
            pytest.skip(f"this perl has no {name}")
        layer.file(f"lib/perl5/{name}", path.read_text().replace(old, OLD_PREFIX), listed="text")
    prefix = install(layer)
    script = "print join qq(\n), $Config{privlibexp}, $Config{installprefix}, Config::myconfig() =~ /osname/ ? 1 : 0"
    said = run("perl", f"-I{prefix}/lib/perl5", "-MConfig", "-e", script).split("\n")
    assert said[0].startswith(f"{prefix}/") and said[1] == str(prefix) and said[2] == "1"


def test_pythons_sysconfig(install):
    """The real _sysconfigdata of this Python, as if it had been built in the old prefix."""
    name = sysconfig._get_sysconfigdata_name()
    module = __import__(name)
    text = Path(module.__file__).read_text(encoding="utf-8")
    prefix_here = module.build_time_vars["prefix"]
    if prefix_here in ("", "/"):
        pytest.skip("this Python has no prefix")
    layer = Layer().file(f"lib/python/{name}.py", text.replace(prefix_here, OLD_PREFIX), listed="text")
    prefix = install(layer)
    script = f"import importlib, json; print(json.dumps(importlib.import_module({name!r}).build_time_vars))"
    found = json.loads(run(sys.executable, "-c", script, PYTHONPATH=str(prefix / "lib" / "python")))
    expected = {
        key: value.replace(prefix_here, str(prefix)) if isinstance(value, str) else value
        for key, value in module.build_time_vars.items()
    }
    assert found == expected and found["prefix"] == str(prefix)


@needs("man", "gzip")
def test_compressed_manual_page(tmp_path, install):
    """Compressed by gzip -9, as package managers do it, and shown by man."""
    page = tmp_path / "x.1"
    page.write_text(f".TH X 1\n.SH FILES\n.nh\n.nf\n{OLD_PREFIX}/etc/x.conf\n.fi\n")
    run("gzip", "-9n", page)
    prefix = install(Layer().file("share/man/man1/x.1.gz", (tmp_path / "x.1.gz").read_bytes()))
    shown = run("man", "-P", "cat", prefix / "share" / "man" / "man1" / "x.1.gz", MANWIDTH="1000", LC_ALL="C")
    assert f"{prefix}/etc/x.conf" in shown


@needs("tic", "infocmp")
def test_compiled_terminal_description(tmp_path, install):
    """Compiled by tic, read by infocmp; in a longer tree it holds the short name of the package."""
    (tmp_path / "t.ti").write_text(f"oci-test|a terminal,\n\tcols#80, if={OLD_PREFIX}/share/tabset/x,\n")
    run("tic", "-o", tmp_path / "db", tmp_path / "t.ti")
    data = (tmp_path / "db" / "o" / "oci-test").read_bytes()
    prefix = install(Layer().file("share/terminfo/o/oci-test", data).file("share/tabset/x", "tabs"))
    shown = run("infocmp", "-1", "-A", prefix / "share" / "terminfo", "oci-test")
    path = next(line.strip()[3:-1] for line in shown.splitlines() if line.strip().startswith("if="))
    assert os.path.realpath(plain(path)) == f"{prefix}/share/tabset/x"
