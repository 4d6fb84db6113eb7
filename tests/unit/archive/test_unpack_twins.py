# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packages with names that differ in capitals alone, on a file system that takes them for the same (conda/conda #6514,
conda/rattler #460, mamba-org/mamba #2328: ncurses, in a directory of macOS that is mounted into a container)."""

import io
import os

import pytest
from spack_oci.archive.unpack import extraction, twins
from spack_oci.archive.unpack.layer import install_layer
from spack_oci.errors import StorageError, UnsafeArchive
from support.packages.layers import GZIP, HASH, OLD_PREFIX, Layer, new_prefix, relocation


class Folding:
    """``os`` (and ``os.path``) of a file system below ``root`` that has no capitals."""

    def __init__(self, module, root):
        self._module, self._root = module, root

    def __getattr__(self, name):
        found = getattr(self._module, name)
        if name == "path":
            return Folding(found, self._root)
        return (lambda *args, **more: found(*map(self.fold, args), **more)) if callable(found) else found

    def fold(self, argument):
        is_below = isinstance(argument, (str, bytes)) and os.fsdecode(argument).startswith(self._root)
        return argument.lower() if is_below else argument


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store on such a file system."""
    root = tmp_path / "store"
    folding = Folding(os, str(root))
    for module in (extraction, twins):
        monkeypatch.setattr(module, "os", folding)
    monkeypatch.setattr(twins, "open", Folding(io, str(root)).open, raising=False)
    return str(root)


def install(layer, store):
    summary = install_layer(io.BytesIO(layer.gzip()), GZIP, new_prefix(store), relocation(store), dag_hash=HASH)
    return {
        os.path.relpath(os.path.join(directory, name), summary.prefix)
        for directory, directories, names in os.walk(summary.prefix)
        for name in names + directories
        if ".spack" not in os.path.join(directory, name)
    }


def test_what_means_the_same_is_there_once(store):
    text = f"prefix={OLD_PREFIX}\n"
    layer = Layer().file("t/2621a", b"terminal").file("t/2621A", b"terminal").file("t/x", text).file("T/X", text)
    layer.symlink("t/link", f"{OLD_PREFIX}/t/x").symlink("t/LINK", f"{OLD_PREFIX}/t/x").hard_link("t/2621b", "t/2621a")
    layer.hard_link("t/2621B", "t/2621a").hard_link("t/2621C", "t/2621a").hard_link("t/2621c", "t/2621A")
    assert install(layer, store) == {"t", "t/2621a", "t/x", "t/link", "t/2621b", "t/2621c"}
    with open(f"{new_prefix(store)}/t/x") as file:
        assert file.read() == f"prefix={new_prefix(store)}\n"


@pytest.mark.parametrize(
    "add",
    [
        lambda layer: layer.file("README", b"another"),
        lambda layer: layer.symlink("README", "x"),
        lambda layer: layer.directory("README"),
        lambda layer: layer.file("other", b"").hard_link("README", "other"),
        lambda layer: layer.file("DIR", b""),
        lambda layer: layer.symlink("DIR", "x"),
        lambda layer: layer.symlink("LINK", "y"),
    ],
)
def test_what_means_something_else_is_named_and_is_no_hostile_package(store, add):
    layer = Layer().file("readme", b"one").directory("dir").symlink("link", "x")
    add(layer)
    with pytest.raises(StorageError, match="(README|DIR|LINK) and another file.*file system that tells them apart"):
        install(layer, store)
    assert not os.path.exists(new_prefix(store))


@pytest.mark.parametrize("again", ["name", "dir", "link"])
@pytest.mark.parametrize("how", ["file", "symlink", "hard_link"])
def test_one_name_that_comes_twice_is_hostile_there_too(store, again, how):
    layer = Layer().file("name", b"1").directory("dir").symlink("link", "name")
    layer.file(again, b"1") if how == "file" else getattr(layer, how)(again, "name")
    with pytest.raises(UnsafeArchive, match="is in it twice"):
        install(layer, store)
