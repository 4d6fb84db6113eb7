# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""C libraries: what a base image has, what a prefix needs, and what is said when they do not fit."""

import gzip
import io
import os
import random
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import pytest
import zstandard
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.errors import CorruptArchive, DigestMismatch, ImageError
from spack_oci.image.base import layers as base_layers
from spack_oci.image.base.layers import libcs_of_base
from spack_oci.image.manifest import Base
from spack_oci.image.needs import libc as lc
from spack_oci.image.needs.prefix import cached_needs, needs_of_prefix
from support.memory_store import MemoryStore

BANNER = b"\x7fELF..\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright\0"
MUSL_BANNER = b"\x7fELF\x001.2.4\0musl libc (x86_64)\nVersion %s\n\0"


def tarball(files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return out.getvalue()


def base_of(store: MemoryStore, *layers: bytes, media_type: str = d.OCI_LAYER_GZIP, compress=gzip.compress) -> Base:
    blobs = [put_bytes(store, compress(layer), media_type) for layer in layers]
    return Base(
        {"mediaType": d.OCI_MANIFEST, "layers": [blob.to_dict() for blob in blobs]},
        {"rootfs": {"diff_ids": [d.sha256_digest(layer) for layer in layers]}},
        "base:1",
    )


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"usr/lib/x86_64-linux-gnu/libc.so.6": BANNER}, ["glibc 2.36"]),
        ({"./usr/lib64/libc.so.6": BANNER}, ["glibc 2.36"]),
        (
            {
                "lib/x86_64-linux-gnu/libc.so.6": None,
                "lib/x86_64-linux-gnu/libc-2.31.so": b"\0GNU C Library 2 version 2.31",
            },
            ["glibc 2.31"],
        ),
        ({"lib/ld-musl-x86_64.so.1": MUSL_BANNER, "lib/libc.musl-x86_64.so.1": None}, ["musl 1.2.4"]),
        ({"lib/ld-musl-x86_64.so.1": MUSL_BANNER, "lib64/libc.so.6": BANNER}, ["glibc 2.36", "musl 1.2.4"]),
        # a cross compiler's, not the one that the loader takes
        ({"opt/sysroot/lib/libc.so.6": BANNER, "usr/lib/libc.so": b"/* GNU ld script */"}, []),
    ],
)
def test_the_library_of_a_base(files, expected):
    store = MemoryStore()
    base = base_of(store, tarball({"etc/passwd": b"root", **files}))
    assert [str(libc) for libc in libcs_of_base(store, base)] == expected


@pytest.mark.parametrize(
    "media_type, compress",
    [
        (d.OCI_LAYER, bytes),
        (d.DOCKER_LAYER_GZIP, gzip.compress),
        (d.OCI_LAYER_ZSTD, zstandard.ZstdCompressor().compress),
        (d.OCI_LAYER_ZSTD, lambda x: b"".join(zstandard.ZstdCompressor().compress(p) for p in (x[:700], x[700:]))),
    ],
)
def test_every_kind_of_layer(media_type, compress):
    store = MemoryStore()
    base = base_of(store, tarball({"lib/libc.so.6": BANNER}), media_type=media_type, compress=compress)
    assert [str(libc) for libc in libcs_of_base(store, base)] == ["glibc 2.36"]


def test_the_uppermost_layer_counts_and_no_more_are_read():
    store = MemoryStore()
    old = tarball({"lib/libc.so.6": BANNER})
    new = tarball({"lib/libc.so.6": BANNER.replace(b"2.36", b"2.41")})
    top = tarball({"etc/motd": b"hello"})
    assert [str(libc) for libc in libcs_of_base(store, base_of(store, old, new, top))] == ["glibc 2.41"]
    assert store.calls["open_blob"] == 2


def large_base(store, size=5 << 20):
    noise = random.Random(1).randbytes(1 << 20)
    return base_of(store, tarball({"lib/libc.so.6": BANNER, "usr/share/noise": noise * (size >> 20)}))


def opened_blobs(store):
    """The readers that the store gives out from now on."""
    opened = []
    store.open_blob = lambda descriptor, real=store.open_blob: opened.append(real(descriptor)) or opened[-1]
    return opened


def test_a_layer_is_read_to_its_end_for_its_digest():
    """What is remembered has to be true."""
    store, cache = MemoryStore(), {}
    base = large_base(store)
    opened = opened_blobs(store)
    assert [str(libc) for libc in libcs_of_base(store, base, cache)] == ["glibc 2.36"]
    assert opened[0]._seen == base.layers[0]["size"] and opened[0]._checked and cache


def test_a_large_layer_is_read_up_to_its_library_and_not_remembered(monkeypatch):
    store, cache = MemoryStore(), {}
    base = large_base(store, 8 << 20)
    monkeypatch.setattr(base_layers, "LARGE", 1 << 20)
    opened = opened_blobs(store)
    assert [str(libc) for libc in libcs_of_base(store, base, cache)] == ["glibc 2.36"]
    assert opened[0]._seen < base.layers[0]["size"] / 2 and not cache


def test_a_large_layer_that_is_damaged_behind_its_library():
    store, cache = MemoryStore(), {}
    base = large_base(store)
    digest = base.layers[0]["digest"]
    store.blobs[digest] = store.blobs[digest][:-9] + bytes(9)
    with pytest.raises(DigestMismatch):
        libcs_of_base(store, base, cache)
    assert not cache


def test_what_was_found_is_remembered_by_digest():
    store, cache = MemoryStore(), {}
    base = base_of(store, tarball({"lib/libc.so.6": BANNER}), tarball({"etc/motd": b""}))
    first = libcs_of_base(store, base, cache)
    store.reset()
    assert libcs_of_base(store, base, cache) == first and store.requests == 0
    # a config may say of its layers what it likes
    liar = base_of(store, tarball({"lib/libc.so.6": BANNER.replace(b"2.36", b"2.17")}), tarball({"etc/motd": b""}))
    liar.config["rootfs"]["diff_ids"] = base.diff_ids
    assert [str(libc) for libc in libcs_of_base(store, liar, cache)] == ["glibc 2.17"]


def test_damaged_layers():
    store = MemoryStore()
    with pytest.raises(CorruptArchive, match="cannot be read"):
        libcs_of_base(store, base_of(store, b"this is no tar" * 100))
    base = base_of(store, tarball({"lib/libc.so.6": BANNER}))
    digest = base.layers[0]["digest"]
    store.blobs[digest] = gzip.compress(tarball({"lib/libc.so.6": BANNER.replace(b"2.36", b"2.99")}))
    store.blobs[digest] = store.blobs[digest].ljust(base.layers[0]["size"], b"\0")[: base.layers[0]["size"]]
    cache = {}
    with pytest.raises((DigestMismatch, CorruptArchive)):
        libcs_of_base(store, base, cache)
    assert not cache


needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def compile_elf(path, source: str, *flags: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run(["gcc", "-x", "c", "-", "-x", "none", "-o", path, *flags], input=source.encode(), check=True)


@needs_gcc
def test_the_need_of_a_prefix_is_the_newest_symbol_version(tmp_path):
    prefix = str(tmp_path)
    assert needs_of_prefix(prefix).libc is None
    (tmp_path / "script").write_text("#!/bin/sh\n" * 20)
    (tmp_path / "truncated").write_bytes(b"\x7fELF" + b"\xff" * 60)
    os.symlink("/lib/x86_64-linux-gnu/libc.so.6", tmp_path / "link")
    assert needs_of_prefix(prefix).libc is None
    compile_elf(f"{prefix}/lib/none.so", "int f(void) { return 1; }", "-shared", "-nostdlib")
    assert needs_of_prefix(prefix).libc is None
    # two versions of one glibc, as its linker would bind them: written with a stub that defines the versions
    versions = "GLIBC_2.2.5 { global: old; local: *; }; GLIBC_2.34 { global: new; } GLIBC_2.2.5;"
    (tmp_path / "stub.map").write_text(versions)
    stub = f"{prefix}/../stub-{os.getpid()}/libc.so.6"
    compile_elf(
        stub,
        "void old(void) {} void new(void) {}",
        "-shared",
        "-nostdlib",
        "-Wl,-soname,libc.so.6",
        f"-Wl,--version-script={tmp_path}/stub.map",
    )
    compile_elf(f"{prefix}/lib/old.so", "void old(void); void f(void) { old(); }", "-shared", "-nostdlib", stub)
    assert needs_of_prefix(prefix).libc == lc.Need(lc.Libc("glibc", (2, 2)), "lib/old.so")
    compile_elf(f"{prefix}/bin/new", "void new(void); void _start(void) { new(); }", "-nostdlib", stub)
    assert needs_of_prefix(prefix).libc == lc.Need(lc.Libc("glibc", (2, 34)), "bin/new")


@needs_gcc
def test_a_feature_of_the_loader_counts_as_its_version(tmp_path):
    compile_elf(f"{tmp_path}/bin/hello", "int main(void) { return 0; }")
    plain = needs_of_prefix(str(tmp_path)).libc
    assert plain is not None and plain.libc.name == "glibc"
    done = subprocess.run(
        ["gcc", "-x", "c", "-", "-o", f"{tmp_path}/bin/relr", "-Wl,-z,pack-relative-relocs"],
        input=b"int x; int *y = &x; int main(void) { return *y; }",
        capture_output=True,
    )
    if done.returncode or b"unrecognized" in done.stderr or b"ignored" in done.stderr:
        pytest.skip("this linker does not pack relocations")
    need = needs_of_prefix(str(tmp_path)).libc
    assert need.libc.version >= (2, 36) and need.file == "bin/relr"


@needs_gcc
def test_programs_for_musl(tmp_path):
    stub = f"{tmp_path}/stub/libc.so"
    compile_elf(stub, "void f(void) {}", "-shared", "-nostdlib", "-Wl,-soname,libc.so")
    compile_elf(f"{tmp_path}/prefix/lib/x.so", "void f(void); void g(void) { f(); }", "-shared", "-nostdlib", stub)
    assert needs_of_prefix(f"{tmp_path}/prefix").libc == lc.Need(lc.Libc("musl"), "lib/x.so")
    loader = "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"
    compile_elf(f"{tmp_path}/other/bin/x", "void f(void); void _start(void) { f(); }", "-nostdlib", loader, stub)
    assert needs_of_prefix(f"{tmp_path}/other").libc == lc.Need(lc.Libc("musl"), "bin/x")


@needs_gcc
def test_hard_links_are_read_once_and_results_are_remembered(tmp_path, monkeypatch):
    compile_elf(f"{tmp_path}/bin/hello", "int main(void) { return 0; }")
    os.link(f"{tmp_path}/bin/hello", f"{tmp_path}/bin/hello2")
    read, really_open = [], open
    monkeypatch.setattr("builtins.open", lambda path, *args: read.append(path) or really_open(path, *args))
    cache = {}
    need = cached_needs("need-x", str(tmp_path), cache)
    assert len(read) == 1
    assert cached_needs("need-x", str(tmp_path), cache) == need and len(read) == 1
    assert cached_needs("need-y", str(tmp_path / "bin"), None).libc.libc == need.libc.libc
    os.makedirs(tmp_path / "empty")
    assert cached_needs("need-z", str(tmp_path / "empty"), cache).libc is None
    assert cached_needs("need-z", "/does/not/exist", cache).libc is None


def need(version: str, file: str = "bin/x", name: str = "glibc") -> lc.Need:
    return lc.Need(lc.Libc.parse(name, version), file)


def test_a_base_that_is_new_enough():
    has = [lc.Libc("glibc", (2, 36))]
    lc.check_libc("debian:12", has, {"a@1/aaaaaaa": need("2.36"), "b@1/bbbbbbb": need("2.3"), "c@1/ccccccc": None})
    lc.check_libc("debian:12", [], {"c@1/ccccccc": None})
    lc.check_libc("alpine:3", [lc.Libc("musl", (1, 2, 4))], {"a@1/aaaaaaa": need("", name="musl")})


def test_a_base_that_is_too_old_names_versions_packages_and_a_way_out():
    needs = {
        "htop@3.3.0/aaaaaaa": need("2.38", "bin/htop"),
        "zlib@1.3/bbbbbbb": need("2.14"),
        "nano@8/ccccccc": need("2.34", "bin/nano"),
        "tmux@3/ddddddd": need("2.34", "bin/tmux"),
    }
    with pytest.raises(ImageError) as e:
        lc.check_libc("debian:11", [lc.Libc("glibc", (2, 31))], needs)
    assert e.value.message == (
        "base image debian:11 has glibc 2.31, but htop@3.3.0/aaaaaaa (bin/htop) needs glibc 2.38; "
        "nano@8/ccccccc (bin/nano), tmux@3/ddddddd (bin/tmux) need glibc 2.34"
    )
    assert "zlib" not in str(e.value)
    assert "glibc 2.38 or newer, for example Ubuntu 24.04" in e.value.remedy
    assert "--skip-libc-check" in e.value.remedy


def test_the_other_kind_of_library_and_none_at_all():
    with pytest.raises(ImageError, match=r"alpine:3 has musl 1.2.4, but a@1/aaaaaaa \(bin/x\) needs glibc 2.17"):
        lc.check_libc("alpine:3", [lc.Libc("musl", (1, 2, 4))], {"a@1/aaaaaaa": need("2.17")})
    with pytest.raises(ImageError, match="debian:12 has glibc 2.36, but a@1/aaaaaaa needs musl 1.2.4"):
        lc.check_libc("debian:12", [lc.Libc("glibc", (2, 36))], {"a@1/aaaaaaa": lc.Need(lc.Libc("musl", (1, 2, 4)))})
    with pytest.raises(ImageError, match="static has no C library, but a@1/aaaaaaa needs musl"):
        lc.check_libc("static", [], {"a@1/aaaaaaa": lc.Need(lc.Libc("musl"))})
    with pytest.raises(ImageError, match="and 1 more packages need a newer one, too"):
        lc.check_libc("x", [], {f"p{i}": need("2.17") for i in range(7)})


class Elf:
    """Of pyelftools, what is asked for versions of symbols."""

    def __init__(self, *names):
        self.names = names

    def get_section_by_name(self, name):
        return self if name == ".gnu.version_r" else None

    def iter_versions(self):
        return [(None, [SimpleNamespace(name=name) for name in self.names])]


def test_versions_have_as_many_digits_as_somebody_gives_them():
    """More than Python reads: the package needs what there is not, and nothing else fails."""
    many = "9" * 5000
    assert str(lc.libc_of_elf(Elf("GLIBC_2.17", f"GLIBC_2.{many}", f"GLIBC_{many}.1"))) == "glibc 2.17"
    for needed in (
        lc.Libc.parse("glibc", f"2.{many}"),
        lc.libc_in("lib/libc.so.6", BANNER.replace(b"n 2.36", b"n 2." + many.encode())),
    ):
        assert not lc.Libc.parse("glibc", "2.41").serves(needed) and needed.serves(lc.Libc.parse("glibc", "2.41"))
