# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""From a layer to a prefix: content, modes, links, relocation, and nothing left when it fails."""

import gzip
import io
import os
import py_compile
import re
import stat
import subprocess
import sys
import tarfile

import pytest
import zstandard
from spack_oci.archive.unpack import extraction
from spack_oci.archive.unpack import layer as layer_module
from spack_oci.archive.unpack.extraction import PrefixAccess
from spack_oci.archive.unpack.layer import install_layer
from spack_oci.archive.unpack.limits import size_limit
from spack_oci.archive.unpack.staging import remove_stale
from spack_oci.descriptor import Descriptor, VerifyingReader
from spack_oci.errors import CorruptArchive, DigestMismatch, PrefixTooLong, StorageError, UnsafeArchive
from support.packages.layers import (
    GZIP,
    HASH,
    OLD_PREFIX,
    OLD_ROOT,
    OTHER_HASH,
    OTHER_OLD_PREFIX,
    Layer,
    new_prefix,
    relocation,
)


@pytest.fixture
def store(tmp_path):
    """A store whose root is as long as the old one, so that strings of every kind fit."""
    short = tmp_path / "s"
    short.mkdir()
    return str(short)


def install(layer, store, **kwargs):
    data = layer if isinstance(layer, bytes) else layer.gzip()
    kwargs.setdefault("media_type", GZIP)
    media_type = kwargs.pop("media_type")
    where = kwargs.pop("relocation", None) or relocation(store)
    kwargs.setdefault("dag_hash", HASH)
    return install_layer(io.BytesIO(data), media_type, new_prefix(store), where, **kwargs)


def tree(prefix):
    """Relative path -> (kind and mode, content or target)."""
    result = {}
    for directory, directories, files in os.walk(prefix):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISDIR(status.st_mode):
                content = None
            else:
                with open(path, "rb") as f:
                    content = f.read()
            result[os.path.relpath(path, prefix)] = (stat.filemode(status.st_mode), content)
    return result


def leftovers(store):
    return [n for n in os.listdir(os.path.dirname(new_prefix(store))) if n.startswith(".")]


def test_everything_that_a_prefix_can_hold(store):
    layer = (
        Layer()
        .file("README", b"hello", 0o644)
        .file("bin/run", b"#!/bin/sh\n", 0o755)
        .file("bin/secret", b"x", 0o600)
        .file("empty", b"")
        .file("n" * 200 + "/" + "m" * 200, b"long")
        .file("share/naïve 文件\n", b"utf-8")
        .directory("var/empty")
        .directory("private", 0o700)
        .symlink("bin/link", "run")
        .symlink("dangling", "../nowhere")
        .symlink("absolute", "/usr/bin/env")
        .hard_link("bin/same", "bin/run")
    )
    summary = install(layer, store)
    found = tree(new_prefix(store))
    del found[".spack/binary_distribution"], found[".spack/spec.json"]
    assert found == {
        ".spack": ("drwxr-xr-x", None),
        "README": ("-rw-r--r--", b"hello"),
        "bin": ("drwxr-xr-x", None),
        "bin/run": ("-rwxr-xr-x", b"#!/bin/sh\n"),
        "bin/secret": ("-rw-------", b"x"),
        "bin/same": ("-rwxr-xr-x", b"#!/bin/sh\n"),
        "bin/link": ("lrwxrwxrwx", "run"),
        "dangling": ("lrwxrwxrwx", "../nowhere"),
        "absolute": ("lrwxrwxrwx", "/usr/bin/env"),
        "empty": ("-rw-r--r--", b""),
        "n" * 200: ("drwxr-xr-x", None),
        "n" * 200 + "/" + "m" * 200: ("-rw-r--r--", b"long"),
        "share": ("drwxr-xr-x", None),
        "share/naïve 文件\n": ("-rw-r--r--", b"utf-8"),
        "var": ("drwxr-xr-x", None),
        "var/empty": ("drwxr-xr-x", None),
        "private": ("drwx------", None),
    }
    prefix = new_prefix(store)
    assert os.stat(f"{prefix}/bin/run").st_ino == os.stat(f"{prefix}/bin/same").st_ino
    assert (summary.files, summary.old_prefix, leftovers(store)) == (12, OLD_PREFIX, [])


def test_the_umask_does_not_matter_and_times_are_those_of_the_tarball(store):
    before = os.umask(0o077)
    try:
        install(Layer().file("bin/run", b"", 0o755), store)
    finally:
        os.umask(before)
    status = os.stat(new_prefix(store) + "/bin/run")
    assert stat.S_IMODE(status.st_mode) == 0o755 and status.st_mtime == 0
    assert stat.S_IMODE(os.stat(new_prefix(store)).st_mode) == 0o755


def test_the_policy_sets_mode_and_group_of_the_prefix(store):
    install(Layer(), store, access=PrefixAccess(0o2750, os.getgid()))
    assert stat.S_IMODE(os.stat(new_prefix(store)).st_mode) == 0o2750


def test_text_links_and_strings_are_relocated_on_their_way(store):
    layer = (
        Layer()
        .file("x.pc", f"prefix={OLD_PREFIX}\nother=-L{OTHER_OLD_PREFIX}/lib {OLD_ROOT}/y\n", listed="text")
        .file("etc/unlisted", b"nothing here")
        .file("bin/script", f"#!/bin/sh {OLD_ROOT}/bin/sbang\n", 0o755, listed="text")
        .file(".spack/log", f"built in {OLD_PREFIX}")
        .symlink("other", OTHER_OLD_PREFIX + "/lib")
    )
    summary = install(layer, store)
    prefix = new_prefix(store)
    where = relocation(store)
    other = list(where.new_prefixes.values())[1]
    found = tree(prefix)
    assert found["x.pc"][1].decode() == f"prefix={prefix}\nother=-L{other}/lib {store}/y\n"
    assert found["bin/script"] == ("-rwxr-xr-x", f"#!/bin/sh {store}/bin/sbang\n".encode())
    assert found["other"][1] == other + "/lib"
    assert OLD_PREFIX in found[".spack/log"][1].decode(), "as in Spack, .spack is left as it is"
    assert summary.relocated.text_files == ["x.pc", "bin/script"] and summary.relocated.links == ["other"]


def test_flow_yaml_of_vanilla_spack_is_read(store):
    def dump(info):
        lists = "relocate_textfiles: ['a, b'], relocate_binaries: [], relocate_links: []"
        prefixes = f"{{{HASH}: {OLD_PREFIX}}}"
        return f"{{buildpath: {OLD_ROOT}, hash_to_prefix: {prefixes}, hardlinks_deduped: true, {lists}}}\n"

    layer = Layer().file("a, b", f"{OLD_PREFIX}/x")
    install(gzip.compress(layer.tar(dump)), store)
    assert tree(new_prefix(store))["a, b"][1].decode() == new_prefix(store) + "/x"


@pytest.mark.parametrize("large", [False, True])
def test_files_that_do_not_fit_into_memory_are_patched_where_they_are(store, monkeypatch, large):
    monkeypatch.setattr(extraction, "LARGE_FILE" if large else "MEMORY", 100)
    filler = b"\1" * 150_000
    text = b"word " * 40_000 + OLD_PREFIX.encode() + b"/share\n"
    binary = b"\x7fELF" + filler + OLD_PREFIX.encode() + b"/lib/somewhere\0" + filler
    layer = Layer().file("t", text, listed="text").file("b", binary, 0o755, listed="binary").hard_link("b2", "b")
    summary = install(layer, store)
    found = tree(new_prefix(store))
    new = new_prefix(store).encode()
    if len(new) <= len(OLD_PREFIX):
        assert new in found["b"][1]
    assert OLD_ROOT.encode() not in found["b"][1] and found["b"][1] == found["b2"][1]
    assert len(found["b"][1]) == len(binary) and found["b"][0] == "-rwxr-xr-x"
    assert found["t"][1] == text.replace(OLD_PREFIX.encode(), new)
    assert os.stat(new_prefix(store) + "/b").st_mtime == 0
    assert (summary.relocated.text_files, summary.relocated.binaries) == (["t"], ["b"])


def test_an_upstream_with_another_root_is_found_through_the_lists(store):
    layer = (
        Layer()
        .file("t", "dir=/elsewhere/up/lib-2.0/x\n", listed="text")
        .file("own", f"dir={OLD_PREFIX}/x\n", listed="text")
        .file("both", f"{OLD_PREFIX}:/elsewhere/up/lib-2.0\n", listed="text")
    )
    layer.info["hash_to_prefix"]["upstreamhash"] = "/elsewhere/up/lib-2.0"
    where = relocation(store)
    where = relocation(store, new_prefixes={**where.new_prefixes, "upstreamhash": "/here/lib"})
    install(layer, store, relocation=where)
    found, prefix = tree(new_prefix(store)), new_prefix(store).encode()
    assert found["t"][1] == b"dir=/here/lib/x\n"
    assert (found["own"][1], found["both"][1]) == (b"dir=%s/x\n" % prefix, b"%s:/here/lib\n" % prefix)


def test_a_package_that_begins_with_nested_directories(store):
    layer = Layer().file("share/doc/tool/README", b"x").file("aaa", b"y")
    install(layer, store)
    assert {"share/doc/tool/README", "aaa", ".spack/binary_distribution"} <= set(tree(new_prefix(store)))


def test_nested_directories_that_cannot_be_made_leave_nothing(store):
    fails(Layer().directory("x" * 300).file("aaa", b"y"), store, StorageError)


def test_a_store_below_a_directory_named_like_the_metadata(tmp_path):
    old = "/home/me/.spack/opt/tool-1.0"
    layer = Layer(old_prefix=old).file("README", b"x")
    prefix = str(tmp_path / "p")
    summary = install_layer(io.BytesIO(layer.gzip()), GZIP, prefix, relocation(str(tmp_path)), dag_hash=HASH)
    assert summary.old_prefix == old and os.path.exists(prefix + "/README")


@pytest.mark.parametrize("compress", ["gzip", "zstd", "none", "two gzip members"])
def test_compressions(store, compress):
    tar = Layer().file("f", os.urandom(3 << 20)).tar()
    data, media_type = {
        "gzip": (gzip.compress(tar), GZIP),
        "two gzip members": (gzip.compress(tar[: 1 << 20]) + gzip.compress(tar[1 << 20 :]), GZIP),
        "zstd": (zstandard.compress(tar), GZIP.replace("gzip", "zstd")),
        "none": (tar, "application/vnd.oci.image.layer.v1.tar"),
    }[compress]
    summary = install(data, store, media_type=media_type, compressed_size=len(data))
    assert summary.size > 3 << 20


def fails(layer, store, error, match=None, **kwargs):
    with pytest.raises(error, match=match):
        install(layer, store, **kwargs)
    assert not os.path.exists(new_prefix(store)) and leftovers(store) == []


def test_a_wrong_digest_leaves_nothing(store):
    data = Layer().file("f", b"x" * 1000).gzip()
    reader = VerifyingReader(io.BytesIO(data), Descriptor(GZIP, "sha256:" + "0" * 64, len(data)))
    with pytest.raises(DigestMismatch):
        install_layer(reader, GZIP, new_prefix(store), relocation(store), dag_hash=HASH)
    assert not os.path.exists(new_prefix(store)) and leftovers(store) == []


@pytest.mark.parametrize("size", [None, 100])
def test_a_stream_that_is_cut_short_leaves_nothing(store, size):
    data = Layer().file("f", os.urandom(2 << 20)).gzip()
    fails(data[:-1000], store, CorruptArchive, compressed_size=size)


def test_a_bomb_leaves_nothing(store, monkeypatch):
    monkeypatch.setattr(layer_module, "size_limit", lambda compressed, announced: 1 << 19)
    fails(Layer().file("f", bytes(1 << 20)), store, UnsafeArchive, compressed_size=1000)
    assert size_limit(1000, {}) > 1 << 30


def test_no_package(store):
    fails(gzip.compress(Layer().file("f", b"").tar(with_info=False)), store, CorruptArchive, "no Spack package")
    fails(gzip.compress(b"\0" * 10240), store, CorruptArchive)
    fails(b"not gzip at all", store, CorruptArchive)


def test_what_the_caller_does_at_the_end_may_fail(store):
    def no(directory, summary):
        raise PrefixTooLong("no")

    fails(Layer(), store, PrefixTooLong, before_rename=no)


def test_an_existing_prefix_is_kept_unless_it_is_to_be_replaced(store):
    install(Layer().file("one", b"1"), store)
    with pytest.raises(StorageError, match="exists"):
        install(Layer().file("two", b"2"), store)
    assert os.path.exists(new_prefix(store) + "/one")
    install(Layer().file("two", b"2"), store, replace=True)
    assert not os.path.exists(new_prefix(store) + "/one") and os.path.exists(new_prefix(store) + "/two")
    assert leftovers(store) == []


def test_a_failed_replacement_keeps_what_was_there(store):
    install(Layer().file("one", b"1"), store)
    with pytest.raises(CorruptArchive):
        install(Layer().file("two", b"2" * 1000).gzip()[:-20], store, replace=True)
    assert os.path.exists(new_prefix(store) + "/one") and leftovers(store) == []


def test_what_a_killed_install_left_is_removed_by_the_next(store):
    parent = os.path.dirname(new_prefix(store))
    os.makedirs(parent)
    name = os.path.basename(new_prefix(store))
    abandoned = os.path.join(parent, f".{name}.oci-0123")
    os.makedirs(abandoned + "/read-only/deep")
    os.chmod(abandoned + "/read-only", 0o500)
    os.mkdir(os.path.join(parent, f".{name}-other.oci-0123"))
    install(Layer(), store)
    assert leftovers(store) == [f".{name}-other.oci-0123"]


def test_what_a_running_install_makes_is_not_removed(store):
    def look(directory, summary):
        assert remove_stale(new_prefix(store)) == []

    install(Layer(), store, before_rename=look)


def test_a_read_only_directory_can_be_filled(store):
    layer = Layer().directory("ro", 0o555).file("ro/f", b"x")
    install(layer, store)
    assert tree(new_prefix(store))["ro"][0] == "dr-xr-xr-x"


def test_a_full_disk_is_a_storage_error(store, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    fails(Layer().file("f", b"x"), store, StorageError, "No space left")


def outside(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


NOT_PLAIN = "absolute, not plain, or too long"


@pytest.mark.parametrize(
    "name, match",
    [
        ("/etc/passwd", NOT_PLAIN),
        (OLD_PREFIX[1:] + "//file", NOT_PLAIN),
        (OLD_PREFIX[1:] + "/a/./file", NOT_PLAIN),
        (OLD_PREFIX[1:] + "/../escape", NOT_PLAIN),
        (OLD_PREFIX[1:] + "/a/../../escape", NOT_PLAIN),
        ("../../escape", NOT_PLAIN),
        (OLD_PREFIX[1:] + "/" + "x" * 5000, NOT_PLAIN),
        (OLD_ROOT[1:] + "/linux-x86_64/other/file", "outside of"),
        ("elsewhere", "outside of"),
        (OLD_PREFIX[1:] + "-suffix/file", "outside of"),
    ],
)
def test_members_outside_of_the_prefix(store, name, match):
    layer = Layer().file("first", b"")
    fails(layer.member(outside(name), b"evil"), store, UnsafeArchive, match)


def test_members_outside_of_the_prefix_at_the_end(store):
    """After ``binary_distribution``, which Spack writes last, nothing can make the prefix another one."""
    tar = io.BytesIO(gzip.decompress(Layer().file("first", b"").gzip()))
    with tarfile.open(fileobj=tar, mode="a") as appended:
        appended.addfile(outside(OLD_PREFIX[1:] + "-suffix/file"), io.BytesIO())
    fails(gzip.compress(tar.getvalue()), store, UnsafeArchive, "outside of")


def test_nothing_is_written_through_a_link(store, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    layer = Layer().file("first", b"").symlink("door", str(victim))
    fails(layer.member(outside(layer.name("door/evil")), b"evil"), store, UnsafeArchive)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "absent", "dir", "sym"])
def test_hard_links_lead_to_files_of_the_package(store, target):
    layer = Layer().file("first", b"").directory("dir").symlink("sym", "first")
    layer.member(outside(layer.name("hard"), tarfile.LNKTYPE, layer.name(target) if target[0] != "/" else target))
    fails(layer, store, UnsafeArchive, "hard link")


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_setuid_files_are_refused(store, mode):
    fails(Layer().file("su", b"", mode), store, UnsafeArchive, "setuid")


@pytest.mark.parametrize("again", ["file", "link", "directory"])
def test_names_that_come_twice(store, again):
    layer = Layer().file("name", b"1")
    if again == "file":
        layer.file("name", b"2")
    elif again == "link":
        layer.symlink("name", "x")
    else:
        layer.directory("name")
    fails(layer, store, UnsafeArchive, "twice")


def test_programs_run_where_they_were_installed(store, tmp_path):
    """A program and its library, compiled for one place, found and run in another."""
    build = tmp_path / "b"
    build.mkdir()
    (build / "l.c").write_text(f'const char *where(void) {{ return "{OLD_PREFIX}/share/data"; }}\n')
    (build / "m.c").write_text("#include <stdio.h>\nconst char *where(void);int main(void){return puts(where())<0;}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libl.so", "l.c"], cwd=build, check=True)
    subprocess.run(["cc", "-o", "m", "m.c", "-L.", "-ll", f"-Wl,-rpath,{OLD_PREFIX}/lib"], cwd=build, check=True)
    layer = Layer()
    layer.file("bin/m", (build / "m").read_bytes(), 0o755, listed="binary")
    layer.file("lib/libl.so", (build / "libl.so").read_bytes(), 0o755, listed="binary")
    summary = install(layer, store)
    prefix = new_prefix(store)
    output = subprocess.run([f"{prefix}/bin/m"], check=True, capture_output=True, text=True).stdout.strip()
    assert os.path.realpath(os.path.dirname(output)) == os.path.realpath(f"{prefix}/share"), output
    assert summary.relocated.binaries == ["bin/m", "lib/libl.so"]


def test_a_relative_link_into_another_package_leads_to_where_that_is_here(store):
    """With other projections, or an upstream; links that lead there anyway stay."""
    out = f"../lib-2.0-{OTHER_HASH}/lib"
    layer = (
        Layer().symlink("out", out).file("share/x", b"").symlink("share/up", "../share/x").symlink("far", "../../../x")
    )
    summary = install(layer, store)
    found = tree(new_prefix(store))
    assert [found[name][1] for name in ("out", "share/up", "far")] == [out, "../share/x", "../../../x"]
    assert summary.relocated.links == []
    where = relocation(store)
    where = relocation(store, new_prefixes={**where.new_prefixes, OTHER_HASH: "/elsewhere/lib"})
    summary = install(layer, store, relocation=where, replace=True)
    found = tree(new_prefix(store))
    assert [found[name][1] for name in ("out", "share/up", "far")] == ["/elsewhere/lib/lib", "../share/x", "../../../x"]
    assert summary.relocated.links == ["out"]


def test_compiled_python_is_used_unless_its_source_was_relocated(store, tmp_path):
    """The time of a source is what its compiled file says: at 0, as in Spack's tarballs, all would be called stale."""
    layer = Layer()
    for name, text in (("plain", "X = 1\n"), ("where", f"HERE = {OLD_PREFIX!r}\n")):
        source = tmp_path / f"{name}.py"
        source.write_text(text)
        os.utime(source, (1_600_000_000, 1_600_000_000))
        compiled = py_compile.compile(str(source), str(tmp_path / "c.pyc"), dfile=f"{OLD_PREFIX}/lib/{name}.py")
        layer.file(f"lib/{name}.py", text, listed="text" if name == "where" else None)
        with open(compiled, "rb") as file:
            layer.file(f"lib/__pycache__/{name}.{sys.implementation.cache_tag}.pyc", file.read())
    install(layer, store)
    program = "import plain, where; print(where.HERE, plain.__spec__.loader.get_code('plain').co_filename)"
    argv = [sys.executable, "-I", "-B", "-v", "-c", f"import sys; sys.path[:0] = ['.']; {program}"]
    done = subprocess.run(argv, cwd=f"{new_prefix(store)}/lib", capture_output=True, text=True)
    stale = re.findall(r"bytecode is stale for '(plain|where)'", done.stderr)
    assert stale == ["where"], done.stderr
    here, of_plain = done.stdout.split()
    assert here == new_prefix(store) and OLD_ROOT not in of_plain
