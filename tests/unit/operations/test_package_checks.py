# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What is wrong with the packages of an image is said before it is made."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.errors import ImageError
from spack_oci.image.base import layers as base_layers
from spack_oci.image.exclusions import Exclusions
from spack_oci.image.manifest import EMPTY_BASE, Base
from spack_oci.image.needs.libraries import missing_libraries
from spack_oci.image.needs.prefix import PrefixNeeds, needs_of_prefix
from spack_oci.image.results import ResultDirectory
from spack_oci.operations.images.package_checks import check_whiteouts, warning_of_libraries
from support.memory_store import MemoryStore
from support.packages.prefixes import make_package

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def compile_elf(path, source, *flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-x", "c", "-", "-x", "none", "-o", path, *flags], input=source.encode(), check=True)


def library(path, name):
    compile_elf(
        path / f"lib{name}.so.1", f"void {name}(void) {{}}", "-shared", "-nostdlib", f"-Wl,-soname,lib{name}.so.1"
    )


@pytest.fixture(scope="module")
def binaries(tmp_path_factory):
    """``bin/tool`` needs libown.so.1 and libmagic.so.1."""
    root = tmp_path_factory.mktemp("binaries")
    library(root, "own")
    library(root, "magic")
    source = "void own(void); void magic(void); void _start(void) { own(); magic(); }"
    compile_elf(root / "tool", source, "-nostdlib", str(root / "libown.so.1"), str(root / "libmagic.so.1"))
    return root


def base_with(store, *names):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"usr/lib/{name}"))
    blob = put_bytes(store, gzip.compress(layer.getvalue()), d.OCI_LAYER_GZIP)
    return Base({"mediaType": d.OCI_MANIFEST, "layers": [blob.to_dict()]}, {}, "debian:12")


@pytest.fixture
def tool(tmp_path, binaries):
    """A program, and the package with one of the two libraries that it needs."""
    own = make_package(tmp_path, "own", files={"lib/libown.so.1": (binaries / "libown.so.1").read_bytes()})
    return own, make_package(tmp_path, "tool", [own], files={"bin/tool": (binaries / "tool").read_bytes()})


@needs_gcc
def test_a_library_that_is_in_no_package_and_not_in_the_base_is_named_with_who_needs_it(tool, tmp_path):
    store = MemoryStore()
    cache = ResultDirectory(str(tmp_path / "results"))
    warning = warning_of_libraries(store, base_with(store, "libc.so.6"), tool, cache=cache)
    assert warning.startswith("Shared libraries that are in no package of the image, nor in the base image debian:12: ")
    assert f"libmagic.so.1 ({tool[1].label}: bin/tool" in warning and "libown" not in warning
    assert warning_of_libraries(store, base_with(store, "libmagic.so.1"), tool, cache=cache) == ""


@needs_gcc
def test_nothing_is_said_of_libraries_where_it_is_not_known(tool, monkeypatch):
    store = MemoryStore()
    assert warning_of_libraries(store, EMPTY_BASE, tool) == ""
    # the package with the other library is pushed already
    assert warning_of_libraries(store, base_with(store, "libc.so.6"), tool[1:]) == ""
    monkeypatch.setattr(base_layers, "LARGE", 10)
    assert warning_of_libraries(store, base_with(store, "libc.so.6"), tool) == ""


def test_the_package_of_the_distribution_is_named_where_it_is_known(tmp_path):
    (tmp_path / "libmagic1:amd64.list").write_text("/.\n/usr/lib/x86_64-linux-gnu/libmagic.so.1\n")
    (tmp_path / "libother.list").write_text("/usr/share/doc/libmagic.so.1\n")
    needs = {"nano@8/abc": PrefixNeeds(libraries={"libmagic.so.1": "bin/nano", "linux-vdso.so.1": "bin/nano"})}
    missing = missing_libraries(needs, [], str(tmp_path))
    assert list(map(str, missing)) == ["libmagic.so.1 (nano@8/abc: bin/nano, libmagic1 has it on this machine)"]
    assert missing_libraries(needs, [], "/does/not/exist")[0].distribution_package == ""
    assert not missing_libraries(needs, ["libmagic.so.1"], str(tmp_path))


def test_a_file_that_engines_take_for_a_whiteout_is_refused_by_name(tmp_path):
    package = make_package(tmp_path, "odd", files={"share/.wh.x": b"", "share/a.wh.b": b"", "share/.wh.d/y": b""})
    os.symlink("x", os.path.join(package.prefix, "bin", ".wh.link"))
    cache = ResultDirectory(str(tmp_path / "results"))
    for _ in range(2):
        with pytest.raises(ImageError, match="--exclude-files '.wh.*'") as caught:
            check_whiteouts([package], Exclusions(), cache=cache)
        for path in ("bin/.wh.link", "share/.wh.d", "share/.wh.x"):
            assert f"{path} of {package.label}" in caught.value.message
    check_whiteouts([package], Exclusions((".wh.*",)), cache=cache)


def test_a_prefix_without_programs_needs_nothing(tmp_path):
    package = make_package(tmp_path, "data", files={"share/x": b"\x7fELF" + bytes(100)})
    assert needs_of_prefix(package.prefix) == PrefixNeeds()
