# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Caches in one file: written, read, and written again with more."""

import io
import os
import signal
import subprocess
import sys
import tarfile

import pytest
from spack_oci.errors import ConfigurationError, CorruptArchive, StorageError, UnsafeArchive
from spack_oci.index.update.loop import update_index
from spack_oci.layout import open_layout
from spack_oci.layout.gc import collect_garbage
from spack_oci.operations.lifecycle.bundles import BundleWriter, is_bundle, unpacked
from spack_oci.operations.lifecycle.contents import read_contents
from spack_oci.operations.lifecycle.copy import Selection, compare, execute_copy, plan_copy
from spack_oci.reference import LayoutDirectory
from support.memory_store import MemoryStore
from support.packages.cache_builder import QUICK, chain, node, push_package, tag_of


@pytest.fixture
def nodes():
    return chain("p", 2)


@pytest.fixture
def store(nodes):
    store = MemoryStore()
    for number in range(2):
        push_package(store, nodes[number:])
    push_package(store, [node("other")])
    update_index(store, QUICK)
    return store


def add(store, path, roots):
    with BundleWriter(str(path)) as bundle:
        target = open_layout(LayoutDirectory(bundle.directory), create=True)
        both = compare(store, target)
        plan = plan_copy(both, Selection(roots=frozenset(roots), tags=frozenset()))
        execute_copy(store, target, both.found, plan, QUICK)
        bundle.write()
        return plan


@pytest.mark.parametrize("is_there", [False, True])
def test_of_two_who_write_a_bundle_at_once_the_second_is_told_and_loses_nothing(store, nodes, tmp_path, is_there):
    path = tmp_path / "cache.tar"
    if is_there:
        add(store, path, [nodes[1]["hash"]])
    writer = BundleWriter(str(path))
    with pytest.raises(StorageError, match="somebody else meanwhile.*run the command again"), writer:
        add(store, path, [nodes[0]["hash"]])
        open_layout(LayoutDirectory(writer.directory), create=True)
        writer.write()
    assert [p.name for p in tmp_path.iterdir()] == ["cache.tar"]
    first = read_contents(open_layout(LayoutDirectory(unpacked(str(path), str(tmp_path / "work")))))
    assert first.packages == {tag_of(n) for n in nodes}


def test_a_bundle_is_a_cache_and_gets_more(store, nodes, tmp_path):
    path = tmp_path / "new" / "cache.tar"
    assert add(store, path, [nodes[0]["hash"]]).packages
    first = read_contents(open_layout(LayoutDirectory(unpacked(str(path), str(tmp_path / "work")))))
    assert first.packages == {tag_of(n) for n in nodes} and len(first.index) == 2
    second = add(store, path, [nodes[0]["hash"], node("other")["hash"]])
    assert second.packages == (tag_of(node("other")),) and len(second.present) == 2
    again = read_contents(open_layout(LayoutDirectory(unpacked(str(path), str(tmp_path / "work")))))
    assert len(again.packages) == 3
    assert [p.name for p in path.parent.iterdir()] == ["cache.tar"]


def test_a_bundle_behind_a_link_is_written_where_it_is(store, nodes, tmp_path):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "cache.tar", tmp_path / "cache.tar"
    link.symlink_to(real)
    for roots in ([nodes[1]["hash"]], [nodes[0]["hash"]]):  # made, and replaced
        add(store, link, roots)
        assert link.is_symlink()
    first = read_contents(open_layout(LayoutDirectory(unpacked(str(real), str(tmp_path / "work")))))
    assert first.packages == {tag_of(n) for n in nodes}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache.tar", "disk", "work"]


def test_a_bundle_has_nothing_but_what_is_named(store, nodes, tmp_path):
    path = tmp_path / "cache.tar"
    for roots in ([nodes[1]["hash"]], [nodes[0]["hash"]]):
        add(store, path, roots)
    layout = open_layout(LayoutDirectory(unpacked(str(path), str(tmp_path / "work"))))
    assert collect_garbage(layout, grace=-10) == (0, 0)


def _with_holes(path, size):
    """A file of ``size`` bytes, of which the bundle holds none (pax, GNU's sparse format 1.0)."""
    info = tarfile.TarInfo("blobs/sha256/" + "a" * 64)
    stored = b"0\n".ljust(512, b"\0")
    info.size = len(stored)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(stored))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tar: tar.addfile(tarfile.TarInfo("../x")),
        lambda tar: tar.addfile(tarfile.TarInfo("/etc/x")),
        lambda tar: tar.addfile(tarfile.TarInfo("blobs/sha256/../../x")),
        lambda tar: tar.addfile(link("blobs/sha256/" + "a" * 64)),
        lambda tar: tar.addfile(link("index.json")),
    ],
)
def test_a_bundle_with_anything_else_in_it_is_refused(tmp_path, spoil):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        spoil(tar)
    with pytest.raises(UnsafeArchive, match="has no business in it"):
        unpacked(str(tmp_path / "x.tar"), str(tmp_path / "work"))
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [tmp_path / "x.tar"]


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def test_a_small_bundle_does_not_fill_the_disk(tmp_path):
    _with_holes(tmp_path / "x.tar", 1 << 40)
    with pytest.raises(CorruptArchive, match="not supported"):
        unpacked(str(tmp_path / "x.tar"), str(tmp_path / "work"))


def _record(keyword, value):
    """Of a pax header; ``LENGTH`` counts itself."""
    text = b" %s=%s\n" % (keyword, value)
    return b"%d%s" % (len(text) + 2 if len(text) < 98 else len(text) + 3, text)


def _extended(kind, data):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    "header",
    [
        _extended(b"x", _record(b"comment", b"a")) * 2000,
        _extended(b"L", b"oci-layout\0") * 2000,
        _extended(b"x", _record(b"GNU.sparse.map", b"1,2,x")),
        _extended(b"x", _record(b"GNU.sparse.major", b"1") + _record(b"GNU.sparse.minor", b"0")),
        _extended(b"x", _record(b"GNU.sparse.size", b"z")),
        _extended(b"x", _record(b"size", b"-5")),
        _extended(b"x", b"no record"),
    ],
    ids=["2000 headers", "2000 names", "a map", "a map in the content", "a size of holes", "a size", "no record"],
)
def test_a_bundle_with_what_would_break_a_reader_is_refused_by_its_name(tmp_path, header):
    """All of them are exceptions of Python's tarfile that are not its own, or recursion without end."""
    info = tarfile.TarInfo("oci-layout")
    (tmp_path / "x.tar").write_bytes(header + info.tobuf() + bytes(10240))
    with pytest.raises((UnsafeArchive, CorruptArchive), match="x.tar"):
        unpacked(str(tmp_path / "x.tar"), str(tmp_path / "work"))


UNPACK_AND_DIE = """
import os, signal, sys
from spack_oci.operations.lifecycle.bundles import unpacked
unpacked(*sys.argv[1:])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_unpacked_goes_with_the_next_one(store, nodes, tmp_path):
    """Some gigabytes each time; what one that runs has unpacked stays."""
    path, work = tmp_path / "cache.tar", tmp_path / "work"
    add(store, path, [nodes[0]["hash"]])
    mine = unpacked(str(path), str(work))
    # where the library is not installed, as with the lowest versions of what it needs
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", UNPACK_AND_DIE, path, work], env=env)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(work.iterdir())) == 2
    beside = [tmp_path / ".cache.tar.oci-0123456789ab", tmp_path / ".other.tar.oci-0123456789ab"]
    for directory in beside:
        directory.mkdir()
    again = unpacked(str(path), str(work))
    assert {str(p) for p in work.iterdir()} == {mine, again}
    add(store, path, [node("other")["hash"]])
    assert [p.exists() for p in beside] == [False, True]


WRITE_AND_BE_STOPPED = """
import os, signal, sys, time
from spack_oci.operations.lifecycle.bundles import BundleWriter
with BundleWriter(sys.argv[1]) as bundle:
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    time.sleep(60)
"""


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", -signal.SIGINT)])
def test_a_writer_that_is_stopped_takes_away_what_it_has_unpacked(store, nodes, tmp_path, name, code):
    path = tmp_path / "cache.tar"
    add(store, path, [nodes[1]["hash"]])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    stopped = subprocess.run([sys.executable, "-c", WRITE_AND_BE_STOPPED, path, name], env=env, stderr=subprocess.PIPE)
    assert stopped.returncode == code and [p.name for p in tmp_path.iterdir()] == ["cache.tar"]


def test_a_bundle_that_fails_on_the_way_stays_as_it_was(store, nodes, tmp_path):
    path = tmp_path / "cache.tar"
    add(store, path, [nodes[1]["hash"]])
    before = path.read_bytes()
    with pytest.raises(RuntimeError), BundleWriter(str(path)) as bundle:
        push_package(open_layout(LayoutDirectory(bundle.directory)), [node("more")])
        raise RuntimeError
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["cache.tar"]


def test_what_is_no_bundle_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "cache.tar").write_bytes(b"no tar")
    with pytest.raises(CorruptArchive), BundleWriter(str(tmp_path / "cache.tar")):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["cache.tar"]


def test_what_is_a_bundle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror").write_text("a file with the name of a mirror")
    (tmp_path / "directory.tar").mkdir()
    assert is_bundle("new.tar") and is_bundle("./mirror")
    assert not any(map(is_bundle, ("mirror", "oci://host/x.tar", "directory.tar", "./nothing")))
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(ConfigurationError, match="is no file"):
        BundleWriter("pipe.tar")
    with pytest.raises(ConfigurationError, match="is a directory"):
        BundleWriter(str(tmp_path / "directory.tar"))
