# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Mach-O goes through Spack's own functions: what our adapter hands to them, and what they do with it.

Spack reads the headers with the macholib that it brings along, and calls Apple's ``install_name_tool`` and
``codesign``, in whose places are scripts that write down their arguments.
"""

import json
import os

import pytest
from support.packages.macho import dylib

HASH = "abcdefghijklmnopqrstuvwxyz234567"
OLD, OTHER = f"/old/store/darwin/tool-1.0-{HASH}", f"/old/store/darwin/lib-2.0-{HASH[::-1]}"
NEW, NEW_OTHER = OLD.replace("/old", "/new/and/longer"), OTHER.replace("/old", "/new/and/longer")

SCRIPT = f"""
import sys, types
from spack_oci.relocate.mapping import PathMapping, PrefixMap
from spack_oci.spack.hooks import install
spec = types.SimpleNamespace(platform=sys.argv[1])
relocate = install._macho_relocator(spec)
print("relocator" if relocate else "none")
if relocate:
    pairs = [({OLD!r}, {NEW!r}, "a"), ({OTHER!r}, {NEW_OTHER!r}, "b"), ("/old/store", "/new/and/longer/store", None)]
    relocate(sys.argv[2:], PrefixMap(tuple(PathMapping(o.encode(), n.encode(), h) for o, n, h in pairs)))
"""

SIGN = """
import sys, types
from spack_oci.spack.hooks import install
install.sys = types.SimpleNamespace(platform=sys.argv[1])
install._sign(sys.argv[2:])
"""


@pytest.fixture
def spack(destination):
    return destination()


@pytest.fixture
def tools(spack):
    """Programs of macOS; ``tools()``: the arguments of each call so far."""
    directory = spack.home / "tools"
    directory.mkdir()
    log = directory / "log"
    for name in ("install_name_tool", "codesign"):
        tool = directory / name
        tool.write_text(
            f"#!{spack.python}\nimport json, sys\nargv = sys.argv[1:]\n"
            f"with open({str(log)!r}, 'a') as f: f.write(json.dumps([{name!r}, *argv]) + '\\n')\n"
            f"with open(argv[-1], 'ab') as f: f.write({name.encode()!r})\n"
        )
        tool.chmod(0o755)
    spack.environment["PATH"] = f"{directory}:{os.environ['PATH']}"
    return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def run(spack, script, *arguments):
    file = spack.home / "macho.py"
    file.write_text(script)
    return spack.run("python", file, *arguments).stdout


def test_spack_changes_load_commands(spack, tools, tmp_path):
    library = tmp_path / "libtool.dylib"
    library.write_bytes(
        dylib(
            f"{OLD}/lib/libtool.dylib",
            ["/usr/lib/libSystem.B.dylib", f"{OTHER}/lib/libother.dylib", "@rpath/libplain.dylib"],
            [f"{OTHER}/lib", "@loader_path/../lib"],
        )
    )
    inode = library.stat().st_ino
    assert run(spack, SCRIPT, "darwin", library).strip() == "relocator"
    ((tool, *arguments, path),) = tools()
    assert tool == "install_name_tool"
    assert arguments == [
        *("-id", f"{NEW}/lib/libtool.dylib"),
        *("-change", f"{OTHER}/lib/libother.dylib", f"{NEW_OTHER}/lib/libother.dylib"),
        *("-rpath", f"{OTHER}/lib", f"{NEW_OTHER}/lib"),
    ]
    assert library.read_bytes().endswith(b"install_name_tool") and library.stat().st_ino == inode


@pytest.mark.one_spack
def test_what_names_no_old_path_is_left_alone(spack, tools, tmp_path):
    library = tmp_path / "libtool.dylib"
    library.write_bytes(dylib("@rpath/libtool.dylib", ["/usr/lib/libSystem.B.dylib"], ["@loader_path"]))
    run(spack, SCRIPT, "darwin", library)
    assert tools() == []


@pytest.mark.one_spack
def test_elsewhere_there_is_no_such_thing(spack, tools):
    assert run(spack, SCRIPT, "linux", "/no/file").strip() == "none"


@pytest.mark.one_spack
def test_changed_files_are_signed_again_on_macos_alone(spack, tools, tmp_path):
    library = tmp_path / "libtool.dylib"
    library.write_bytes(b"changed ")
    inode = library.stat().st_ino
    run(spack, SIGN, "linux", library)
    assert tools() == []
    run(spack, SIGN, "darwin", library)
    ((tool, how, _),) = tools()
    assert (tool, how) == ("codesign", "-fs-")
    assert library.read_bytes() == b"changed codesign" and library.stat().st_ino == inode
