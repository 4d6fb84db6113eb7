# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Mach-O is recognised, listed as a binary, and given to the caller's function before its strings are relocated.

The function of the adapter, which is Spack's own: ``tests/spack/prefixes/test_macho.py``.
"""

import io

import pytest
from spack_oci.archive.scan import BINARY, FileScan, PrefixSearch
from spack_oci.archive.unpack.layer import install_layer
from spack_oci.formats.magic import is_macho
from support.packages.layers import GZIP, HASH, OLD_PREFIX, OTHER_OLD_PREFIX, Layer, new_prefix, relocation
from support.packages.macho import dylib

LIBRARY = dylib(
    f"{OLD_PREFIX}/lib/libtool.dylib",
    ["/usr/lib/libSystem.B.dylib", f"{OTHER_OLD_PREFIX}/lib/libother.dylib"],
    [f"{OTHER_OLD_PREFIX}/lib"],
    [f"{OLD_PREFIX}/share/tool", "nothing"],
)


@pytest.mark.parametrize("magic", ["cffaedfe", "feedfacf", "cefaedfe", "feedface"])
def test_all_magic_numbers_are_known(magic):
    assert is_macho(bytes.fromhex(magic) + LIBRARY[4:64])


def test_a_universal_file_is_no_java_class():
    """Both begin with 0xcafebabe; then come the number of architectures, or a version that is at least 45."""
    assert is_macho(bytes.fromhex("cafebabe00000002") + bytes(56))
    assert not is_macho(bytes.fromhex("cafebabe00000037") + bytes(56))


def test_the_scan_takes_it_for_a_binary():
    scan = FileScan(PrefixSearch([OLD_PREFIX])).whole(LIBRARY, 0, len(LIBRARY))
    assert scan.kind == BINARY and len(scan.hits) == 2


def test_the_callers_function_sees_the_complete_file_and_strings_come_after_it(tmp_path):
    store = tmp_path / "s"
    store.mkdir()
    layer = Layer().file("lib/libtool.dylib", LIBRARY, 0o755, listed="binary").file("share/text", "x")
    calls = []

    def macho(paths, mapping):
        """As install_name_tool does it: other load commands of another length."""
        (path,) = paths
        with open(path, "rb") as f:
            calls.append((path, f.read()))
        changes = mapping.changes()
        assert changes[OLD_PREFIX] == new_prefix(str(store))
        with open(path, "wb") as f:
            f.write(dylib("@rpath/libtool.dylib", [], [changes[OTHER_OLD_PREFIX]], [f"{OLD_PREFIX}/share/tool"]))

    where = relocation(str(store))
    summary = install_layer(io.BytesIO(layer.gzip()), GZIP, new_prefix(str(store)), where, dag_hash=HASH, macho=macho)
    ((path, seen),) = calls
    assert path.endswith("/lib/libtool.dylib") and not path.startswith(summary.prefix + "/"), "before it is in place"
    assert seen == LIBRARY
    result = (store / summary.prefix / "lib" / "libtool.dylib").read_bytes()
    assert OLD_PREFIX.encode() not in result
    assert result.endswith(f"/{summary.prefix}/share/tool\0".encode()), "the strings of the code are ours"
    assert b"@rpath/libtool.dylib" in result
    assert summary.relocated.binaries == ["lib/libtool.dylib"], "what has to be signed again"
