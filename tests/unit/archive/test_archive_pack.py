# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Packing a prefix, against an archive written with Python's tarfile by the rules of Spack's format."""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from spack_oci.archive import pack, stream
from spack_oci.archive.codec import Compression
from spack_oci.archive.fingerprint import prefix_fingerprint
from spack_oci.archive.pack import build_info_bytes, pack_prefix
from spack_oci.errors import PrefixChanged, StorageError
from spack_oci.util.concurrency.cancellation import Cancelled

NONE = Compression("none")


def make_prefix(root: Path) -> Path:
    """Everything that a prefix may hold."""
    prefix = root / "linux-x86_64" / "demo-1.0-abcdef"
    (prefix / ".spack").mkdir(parents=True)
    (prefix / ".spack" / "spec.json").write_text(json.dumps({"path": str(prefix)}))
    (prefix / ".spack" / "binary_distribution").write_text("old")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "script").write_text(f"#!/bin/sh\nexec {prefix}/bin/tool\n")
    (prefix / "bin" / "script").chmod(0o4711)
    (prefix / "bin" / "tool").write_bytes(b"\x7fELF\2\1\1\0" + str(root).encode() + b"/lib\0")
    (prefix / "bin" / "clean").write_bytes(b"\x7fELF\2\1\1\0 nothing here")
    (prefix / "lib").mkdir()
    (prefix / "lib" / "libz.so.1.0").write_bytes(b"\x7fELF\2\1\1\0" + b"z" * 3000)
    (prefix / "lib" / "libz.so.1").symlink_to("libz.so.1.0")
    (prefix / "lib" / "absolute").symlink_to(str(prefix / "lib" / "libz.so.1.0"))
    (prefix / "lib" / "outside").symlink_to("/usr/lib/libc.so")
    (prefix / "lib" / "dangling").symlink_to("nowhere")
    (prefix / "lib" / "dir-link").symlink_to("../share", target_is_directory=True)
    (prefix / "lib" / "hard-b").write_text("same content")
    os.link(prefix / "lib" / "hard-b", prefix / "lib" / "hard-a")
    (prefix / "share").mkdir()
    os.link(prefix / "lib" / "hard-b", prefix / "share" / "hard-c")
    (prefix / "share" / "empty-file").touch(mode=0o600)
    (prefix / "share" / "empty-directory").mkdir()
    (prefix / "share" / "naïve-€-😀.txt").write_text(f"{prefix}: text of eight or more")
    (prefix / "share" / ("long-" + "n" * 200)).mkdir()
    (prefix / "share" / ("long-" + "n" * 200) / "leaf").write_bytes(os.urandom(10))
    (prefix / "share" / "terminfo").write_bytes(b"\x1a\1\0\x99" + str(prefix).encode() + b"\0")
    (prefix / "share" / "latin1").write_bytes(b"caf\xe9 " + str(prefix).encode())
    with open(os.fsencode(prefix / "share") + b"/not-\xff-utf8", "wb") as f:
        f.write(str(prefix).encode() + b" text\n")
    os.mkfifo(prefix / "share" / "pipe")
    (prefix / "a-file").write_text("in front of the directories")
    return prefix


def reference_tar(prefix: Path, build_info: bytes) -> bytes:
    """The same archive, file by file with tarfile."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:

        def add(path: str, kind: bytes, mode: int, link: str = "", data: bytes = b"") -> None:
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
            archive.addfile(info, io.BytesIO(data))

        for parent in list(reversed(prefix.parents))[1:]:
            add(str(parent), tarfile.DIRTYPE, 0o755)
        seen = {}

        def visit(directory: str) -> None:
            add(directory, tarfile.DIRTYPE, 0o755)
            names = sorted(os.listdir(directory))
            paths = [os.path.join(directory, name) for name in names]
            for path in paths:
                found = os.lstat(path)
                mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
                if path == str(prefix / ".spack" / "binary_distribution"):
                    continue
                if stat.S_ISLNK(found.st_mode):
                    add(path, tarfile.SYMTYPE, 0o755, os.readlink(path))
                elif stat.S_ISREG(found.st_mode) and found.st_ino in seen:
                    add(path, tarfile.LNKTYPE, mode, seen[found.st_ino].lstrip("/"))
                elif stat.S_ISREG(found.st_mode):
                    seen[found.st_ino] = path
                    with open(path, "rb") as f:
                        add(path, tarfile.REGTYPE, mode, data=f.read())
            for path in paths:
                if os.path.isdir(path) and not os.path.islink(path):
                    visit(path)

        visit(str(prefix))
        add(str(prefix / ".spack" / "binary_distribution"), tarfile.REGTYPE, 0o644, data=build_info)
    return buffer.getvalue()


def packed(prefix, root, compression=NONE, **kwargs):
    sink = io.BytesIO()
    layer = pack_prefix(
        str(prefix),
        build_info={"buildpath": str(root), "hash_to_prefix": {"abcdef": str(prefix)}},
        old_prefixes=[str(prefix), "/opt/spack/bin/sbang", str(root)],
        compression=compression,
        sink=sink,
        **kwargs,
    )
    return layer, sink.getvalue()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


def build_info_of(data: bytes):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        name = next(name for name in archive.getnames() if name.endswith(".spack/binary_distribution"))
        return archive.extractfile(name).read()


def test_the_archive_is_byte_for_byte_what_tarfile_writes(root):
    prefix = make_prefix(root)
    layer, data = packed(prefix, root)
    assert data == reference_tar(prefix, build_info_of(data))
    assert layer.tar_size == len(data) == layer.descriptor.size
    assert layer.diff_id == layer.descriptor.digest == "sha256:" + hashlib.sha256(data).hexdigest()


def test_relocation_lists(root):
    prefix = make_prefix(root)
    layer, data = packed(prefix, root)
    assert layer.relocate_binaries == ("bin/tool",)
    assert layer.relocate_textfiles == ("bin/script", "share/latin1", "share/naïve-€-😀.txt", "share/not-\udcff-utf8")
    assert layer.relocate_links == ("lib/absolute",)
    document = json.loads(build_info_of(data))
    assert document["relocate_links"] == ["lib/absolute"]
    assert document["relocate_textfiles"] == list(layer.relocate_textfiles)
    assert document["hash_to_prefix"] == {"abcdef": str(prefix)}
    assert layer.summary.prefix_length == len(str(prefix))
    assert layer.summary.unknown_files == 1
    assert layer.summary.unpacked_size == layer.tar_size
    assert (layer.summary.binaries, layer.summary.strings) == (1, 1)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "gzip:6"])
def test_compressed(root, compression):
    prefix = make_prefix(root)
    plain, data = packed(prefix, root)
    layer, compressed = packed(prefix, root, Compression.parse(compression))
    assert layer.diff_id == plain.diff_id
    assert layer.descriptor.digest == "sha256:" + hashlib.sha256(compressed).hexdigest()
    assert layer.descriptor.size == len(compressed)
    assert layer.descriptor.media_type == Compression.parse(compression).media_type
    if compression.startswith("gzip"):
        assert gzip.decompress(compressed) == data


def test_large_files_go_in_pieces_with_the_same_result(root, monkeypatch):
    prefix = make_prefix(root)
    text = b"word " * 1000 + str(prefix).encode() + b"/share\n" * 500
    (prefix / "share" / "large.txt").write_bytes(text)
    (prefix / "lib" / "large.so").write_bytes(b"\x7fELF\2\1\1\0" + bytes(5000) + str(root).encode() + b"/x\0" * 2000)
    whole, data = packed(prefix, root)
    assert "share/large.txt" in whole.relocate_textfiles and "lib/large.so" in whole.relocate_binaries
    for block in (64, 1000, 4096):
        monkeypatch.setattr(stream, "BLOCK_SIZE", block)
        layer, again = packed(prefix, root)
        assert again == data
        assert layer == whole


def test_neither_umask_modes_times_nor_directory_order_matter(root, tmp_path):
    prefix = make_prefix(root)
    expected, _ = packed(prefix, root)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
    shutil.rmtree(root)
    # another order of creation, other permissions and times; hard links are hard links again
    for directory, names, files in os.walk(copy, topdown=False):
        target = root / os.path.relpath(directory, copy)
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(files + [n for n in names if os.path.islink(os.path.join(directory, n))], reverse=True):
            shutil.copy2(os.path.join(directory, name), target / name, follow_symlinks=False)
            if not (target / name).is_symlink():
                mode = stat.S_IMODE((target / name).stat().st_mode)
                (target / name).chmod(0o700 if mode & 0o100 else 0o640)
                os.utime(target / name, (1, 1))
    for name in ("lib/hard-a", "share/hard-c"):
        (prefix / name).unlink()
        os.link(prefix / "lib" / "hard-b", prefix / name)
    layer, _ = packed(prefix, root)
    assert layer == expected


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_number_of_threads_does_not_matter(root, compression):
    prefix = make_prefix(root)
    (prefix / "lib" / "big").write_bytes(bytes(range(256)) * 20000)
    expected, _ = packed(prefix, root, Compression(compression))
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            assert packed(prefix, root, Compression(compression), pool=pool, threads=workers)[0] == expected


def test_build_info_is_yaml_too():
    document = {"relocate_links": ["del\x7f", "nel\x85", "ls\u2028", "bom\ufeff", "tab\t", "raw\udcff", "é😀"]}
    data = build_info_bytes(document)
    assert json.loads(data) == document
    for character in "\x7f\x85\u2028\ufeff\t":
        assert character.encode() not in data
    assert "é😀".encode() in data


def test_progress_adds_up_to_the_bytes_of_the_files(root, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_SIZE", 1000)
    prefix = make_prefix(root)
    counts = []
    packed(prefix, root, progress=counts.append)
    names = [p for p in prefix.rglob("*") if p.is_file() and not p.is_symlink() and p.name != "binary_distribution"]
    unique = {p.stat().st_ino: p.stat().st_size for p in names}
    assert sum(counts) == sum(unique.values())


def change_while_packing(prefix, root, monkeypatch, act):
    """Run ``act`` when the file ``lib/large`` was looked at for the header, and not yet read."""
    (prefix / "lib" / "large").write_bytes(b"l" * 5000)
    look, acted = os.fstat, []

    def looking(descriptor):
        status = look(descriptor)
        if not acted and os.readlink(f"/dev/fd/{descriptor}") == str(prefix / "lib" / "large"):
            acted.append(act())
        return status

    monkeypatch.setattr(os, "fstat", looking)
    with pytest.raises(PrefixChanged) as error:
        packed(prefix, root)
    assert str(prefix / "lib" / "large") in str(error.value)


def test_a_file_that_grows_while_it_is_read(root, monkeypatch):
    prefix = make_prefix(root)
    change_while_packing(prefix, root, monkeypatch, lambda: os.truncate(prefix / "lib" / "large", 6000))


def test_a_file_that_shrinks_while_it_is_read(root, monkeypatch):
    prefix = make_prefix(root)
    change_while_packing(prefix, root, monkeypatch, lambda: os.truncate(prefix / "lib" / "large", 100))


def test_a_file_that_is_rewritten_while_it_is_read(root, monkeypatch):
    prefix = make_prefix(root)
    change_while_packing(prefix, root, monkeypatch, lambda: (prefix / "lib" / "large").write_bytes(b"m" * 5000))


def test_a_file_that_vanishes(root, monkeypatch):
    prefix = make_prefix(root)
    prefix_files = pack.prefix_files

    def removing(top):
        for directory, entries in prefix_files(top):
            if directory == b"lib":
                (prefix / "lib" / "libz.so.1.0").unlink()
            yield directory, entries

    monkeypatch.setattr(pack, "prefix_files", removing)
    with pytest.raises(PrefixChanged, match="libz.so.1.0"):
        packed(prefix, root)


def test_a_prefix_that_is_not_there(tmp_path):
    with pytest.raises(PrefixChanged, match="nothing-here"):
        packed(tmp_path / "nothing-here", tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(root):
    prefix = make_prefix(root)
    (prefix / "a-file").chmod(0)
    with pytest.raises(StorageError, match="a-file"):
        packed(prefix, root)


def test_a_full_disk(root):
    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "No space left on device")

    prefix = make_prefix(root)
    with pytest.raises(StorageError, match="free some space"):
        pack_prefix(str(prefix), build_info={}, old_prefixes=[], compression=Compression(), sink=Full())


def test_cancelled(root):
    prefix = make_prefix(root)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        packed(prefix, root, cancelled=stop.is_set)


class TestState:
    def test_equal_until_something_changes(self, root):
        prefix = make_prefix(root)

        def state(info=None):
            return prefix_fingerprint(str(prefix), info or {}).fingerprint

        seen = [state()]
        assert state() == seen[0]

        def rewrite_keeping_the_time():
            path = prefix / "a-file"
            before = path.stat()
            path.write_bytes(path.read_bytes()[::-1])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        def point_link_elsewhere():
            (prefix / "lib" / "dangling").unlink()
            (prefix / "lib" / "dangling").symlink_to("nowher2")

        changes = [
            rewrite_keeping_the_time,
            point_link_elsewhere,
            lambda: (prefix / "bin" / "script").chmod(0o644),
            lambda: (prefix / "share" / "new-directory").mkdir(),
            lambda: (prefix / "share" / "empty-file").unlink(),
        ]
        for change in changes:
            change()
            assert state() not in seen
            seen.append(state())
        assert state({"hash_to_prefix": {"a": "/b"}}) not in seen

    def test_size_is_that_of_the_files(self, root):
        prefix = make_prefix(root)
        before = prefix_fingerprint(str(prefix), {}).size
        (prefix / "more").write_bytes(bytes(12345))
        assert prefix_fingerprint(str(prefix), {}).size == before + 12345


class TestFacts:
    """Counted on a real program: the C compiler decides where strings go."""

    @pytest.fixture
    def program(self, root):
        if not shutil.which("gcc"):
            pytest.skip("needs gcc")
        prefix = root / "linux-x86_64" / "demo-1.0-abcdef"
        (prefix / "bin").mkdir(parents=True)
        source = root / "demo.c"
        source.write_text(
            "#include <stdio.h>\n"
            f'const char *data = "{prefix}/share/data"; const char *other = "{root}/etc";\n'
            "int main(void) { puts(data); puts(other); return 0; }\n"
        )
        rpath = f"-Wl,-rpath,{prefix}/lib"
        subprocess.run(["gcc", "-g", "-o", str(prefix / "bin" / "demo"), str(source), rpath], check=True, cwd=root)
        return prefix

    def test_what_cannot_grow(self, root, program):
        summary = packed(program, root)[0].summary
        assert summary.binaries == 1
        # the two strings; neither the RPATH nor the source's directory in the debug information
        assert summary.fixed_strings == 2
        assert summary.strings > summary.fixed_strings + 1
        # of the two, only the first is a package's
        assert summary.shortest_fixed == len(str(program))
        assert summary.prefix_length == len(str(program))

    def test_a_damaged_binary_counts_as_fixed(self, root):
        prefix = make_prefix(root)
        summary = packed(prefix, root)[0].summary
        assert (summary.fixed_strings, summary.shortest_fixed) == (1, 0)
