# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Joining compressed layers, leaving files out, and layers of small files."""

import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
import tarfile
from typing import Dict, List

import pytest
import zstandard
from spack_oci import descriptor as d
from spack_oci.archive.codec import Compression, open_decompressor
from spack_oci.archive.pack import pack_prefix
from spack_oci.errors import CorruptArchive, DigestMismatch, ImageError
from spack_oci.image.compose import LayerSource, compose_layers
from spack_oci.image.directories import SHARED
from spack_oci.image.exclusions import BUILD_INFO, Exclusions
from spack_oci.image.files import FileEntry, files_layer, filter_layer

INFO = {"buildpath": "/store", "sbang_install_path": "/store/sbang", "hash_to_prefix": {}, "hardlinks_deduped": True}


def source(data: bytes, media_type: str) -> LayerSource:
    descriptor = d.Descriptor.of(data, media_type)
    return LayerSource(descriptor, lambda: d.VerifyingReader(io.BytesIO(data), descriptor))


def packed(tmp_path, name: str, files: Dict[str, bytes], compression: Compression) -> LayerSource:
    prefix = tmp_path / name
    for path, content in files.items():
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_bytes(content)
    sink = io.BytesIO()
    result = pack_prefix(str(prefix), build_info=INFO, old_prefixes=["/store"], compression=compression, sink=sink)
    made = source(sink.getvalue(), compression.media_type)
    assert made.descriptor == result.descriptor
    return made


def plain_tar(files: Dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def in_two(data: bytes, at: int) -> bytes:
    return gzip.compress(data[:at], mtime=0) + gzip.compress(data[at:], mtime=0)


def uncompressed(data: bytes, media_type: str) -> bytes:
    return open_decompressor(media_type, io.BytesIO(data)).read()


def names(data: bytes, media_type: str) -> List[str]:
    with tarfile.open(fileobj=io.BytesIO(uncompressed(data, media_type))) as archive:
        return archive.getnames()


def check(layer, data: bytes) -> None:
    """What a client checks: digest, size and diff ID."""
    assert layer.descriptor == d.Descriptor.of(data, layer.descriptor.media_type)
    assert layer.diff_id == d.sha256_digest(uncompressed(data, layer.descriptor.media_type))


NOISE = random.Random(7).randbytes(3 << 20)


@pytest.mark.parametrize("algorithm", ["gzip", "gzip:6", "zstd"])
def test_layers_of_ours_are_joined_without_compressing_them(tmp_path, algorithm):
    compression = Compression.parse(algorithm)
    sources = [
        packed(tmp_path, "a", {"bin/a": NOISE, "share/zeros": bytes(5000)}, compression),
        packed(tmp_path, "b", {"bin/b": b"text\n" * 1000, "last": bytes(1 << 20)}, compression),
        packed(tmp_path, "c", {"bin/c": b"c"}, compression),
    ]
    sink = io.BytesIO()
    composed = compose_layers(sources, compression, sink, "three")
    data = sink.getvalue()
    check(composed.layer, data)
    assert composed.layer.label == "three"
    assert composed.compressed < 600, "only parent directories and the end of the archive"
    assert len(data) <= sum(s.descriptor.size for s in sources)
    expected = dict.fromkeys(n for s in sources for n in names(s.open().read(), s.descriptor.media_type))
    assert names(data, compression.media_type) == list(expected), "no name twice: podman refuses that"
    again = io.BytesIO()
    compose_layers(sources, compression, again)
    assert again.getvalue() == data


def test_the_tar_is_the_one_that_one_pack_would_have_written(tmp_path):
    compression = Compression()
    sources = [packed(tmp_path, n, {"f": NOISE[: i * 700]}, compression) for i, n in enumerate("abc")]
    sink = io.BytesIO()
    compose_layers(sources, compression, sink)
    whole = uncompressed(sink.getvalue(), d.OCI_LAYER_GZIP)
    assert len(whole) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        for member in archive:
            assert archive.extractfile(member) is None or member.isfile()
    if shutil.which("tar"):
        listed = subprocess.run(["tar", "-tzf", "-"], input=sink.getvalue(), capture_output=True, check=True)
        assert listed.stdout.count(b"/f\n") == 3 and not listed.stderr


@pytest.mark.parametrize(
    "data, media_type",
    [
        (gzip.compress(plain_tar({"x/one": b"1" * 3000}), mtime=0), d.OCI_LAYER_GZIP),
        (gzip.compress(plain_tar({"x/one": b"1" * 3000}), mtime=0), d.DOCKER_LAYER_GZIP),
        (zstandard.ZstdCompressor().compress(plain_tar({"x/one": b"1"})), d.OCI_LAYER_ZSTD),
        (plain_tar({"x/one": b"1"}), d.OCI_LAYER),
        # two members, but the end of the archive is not in the second alone
        (in_two(plain_tar({"x/one": b"1"}), 512), d.OCI_LAYER_GZIP),
        # the second has zeros only, but some belong to the file
        (in_two(plain_tar({"x/one": bytes(900)}), 600), d.OCI_LAYER_GZIP),
    ],
)
def test_other_layers_are_compressed_again(tmp_path, data, media_type):
    compression = Compression()
    ours = packed(tmp_path, "a", {"bin/a": NOISE[:5000]}, compression)
    for sources in ([source(data, media_type), ours], [ours, source(data, media_type)]):
        sink = io.BytesIO()
        composed = compose_layers(sources, compression, sink)
        check(composed.layer, sink.getvalue())
        assert composed.copied and composed.compressed > 100
        found = names(sink.getvalue(), d.OCI_LAYER_GZIP)
        assert "x/one" in found and len(found) == len(set(found))
        assert any(n.endswith("bin/a") for n in names(sink.getvalue(), d.OCI_LAYER_GZIP))


def test_a_layer_of_no_compression(tmp_path):
    compression = Compression.parse("none")
    sources = [packed(tmp_path, n, {"f": NOISE[:700]}, Compression()) for n in "ab"]
    sink = io.BytesIO()
    check(compose_layers(sources, compression, sink).layer, sink.getvalue())


def test_damaged_sources_are_noticed(tmp_path):
    ours = packed(tmp_path, "a", {"bin/a": NOISE[:5000]}, Compression())
    content = bytearray(ours.open().read())
    content[len(content) // 2] ^= 1
    damaged = LayerSource(ours.descriptor, lambda: d.VerifyingReader(io.BytesIO(bytes(content)), ours.descriptor))
    with pytest.raises((DigestMismatch, CorruptArchive)):
        compose_layers([ours, damaged], Compression(), io.BytesIO())
    with pytest.raises(CorruptArchive):
        compose_layers([source(gzip.compress(b"no tar" * 1000), d.OCI_LAYER_GZIP)], Compression(), io.BytesIO())
    with pytest.raises(ImageError):
        compose_layers([], Compression(), io.BytesIO())


def test_memory_and_order_do_not_depend_on_the_chunks(tmp_path):
    ours = packed(tmp_path, "a", {"bin/a": NOISE, "bin/b": NOISE[:70000]}, Compression())

    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1000) if size > 0 else size)

    data = ours.open().read()
    results = []
    for kind in (io.BytesIO, Slow):
        sink = io.BytesIO()
        compose_layers([LayerSource(ours.descriptor, lambda kind=kind: kind(data))], Compression(), sink)
        results.append(hashlib.sha256(sink.getvalue()).hexdigest())
    assert results[0] == results[1]


# leaving files out


@pytest.mark.parametrize(
    "pattern, out, kept",
    [
        ("*.a", ["lib/libx.a", "lib/deep/liby.a"], ["lib/libx.so", "bin/a"]),
        ("include", ["include", "include/x.h", "lib/include/y.h"], ["bin/include-all"]),
        ("share/man/*", ["share/man/man1/x.1", "share/man/x"], ["share/man", "share/manual", "lib/share/man/x"]),
        ("/share/man", ["share/man"], ["share/manx"]),
    ],
)
def test_globs(pattern, out, kept):
    excluded = Exclusions((pattern,)).compiled()
    assert [path for path in out if not excluded(path)] == []
    assert [path for path in kept if excluded(path)] == []


def test_leaving_files_out(tmp_path):
    compression = Compression()
    files = {"bin/app": NOISE[:9000], "lib/libx.a": b"!<arch>\n", "include/x.h": b"#define", "share/man/man1/a.1": b"."}
    ours = packed(tmp_path, "app", files, compression)
    sink = io.BytesIO()
    prefix = str(tmp_path / "app")
    layer = filter_layer(ours, prefix, Exclusions(BUILD_INFO), compression, sink, "app")
    check(layer, sink.getvalue())
    left = [n[len(prefix.lstrip("/")) + 1 :] for n in names(sink.getvalue(), d.OCI_LAYER_GZIP) if n in n]
    assert {n for n in left if n.count("/") >= 1} == {"bin/app", "share/man"}
    with tarfile.open(fileobj=io.BytesIO(uncompressed(sink.getvalue(), d.OCI_LAYER_GZIP))) as archive:
        assert archive.extractfile(prefix.lstrip("/") + "/bin/app").read() == NOISE[:9000]
    # it can be joined as it is
    joined = io.BytesIO()
    assert compose_layers([source(sink.getvalue(), d.OCI_LAYER_GZIP)], compression, joined).compressed < 600


def test_a_hard_link_takes_over_what_is_left_out(tmp_path):
    prefix = tmp_path / "app"
    (prefix / "a-include").mkdir(parents=True)
    (prefix / "a-include" / "data").write_bytes(NOISE[:3000])
    (prefix / "lib").mkdir()
    for name in ("first", "second"):
        os.link(prefix / "a-include" / "data", prefix / "lib" / name)
    ours = packed(tmp_path, "app", {"bin/x": b""}, Compression())
    sink = io.BytesIO()
    filter_layer(ours, str(prefix), Exclusions(("a-include", ".spack")), Compression(), sink)
    with tarfile.open(fileobj=io.BytesIO(uncompressed(sink.getvalue(), d.OCI_LAYER_GZIP))) as archive:
        root = str(prefix).lstrip("/")
        assert archive.getmember(f"{root}/lib/first").isfile()
        second = archive.getmember(f"{root}/lib/second")
        assert second.islnk() and second.linkname == f"{root}/lib/first"
        assert archive.extractfile(second).read() == NOISE[:3000]
        assert f"{root}/a-include/data" not in archive.getnames()


def test_exclusions_as_a_key():
    assert Exclusions(("b", "a", "a")).key == Exclusions(("a", "b")).key
    assert not Exclusions()


# small files


def test_the_mode_of_tmp_is_put_right():
    """A store below /tmp: the packages' layers make it 0755, and a user who is not root could not write there."""
    sink = io.BytesIO()
    files = {"/tmp/spack/opt/bin/sbang": FileEntry(b"#!/bin/sh\n", 0o755)}
    files_layer(files, Compression(), sink, directories={"/tmp": SHARED["/tmp"]})
    with tarfile.open(fileobj=io.BytesIO(uncompressed(sink.getvalue(), d.OCI_LAYER_GZIP))) as archive:
        assert archive.getmember("tmp").mode == 0o1777 and archive.getmember("tmp/spack").mode == 0o755


def test_small_files():
    sink = io.BytesIO()
    files = {
        "/view/bin/app": FileEntry(link="/store/app/bin/app"),
        "/opt/spack-environment/spack.lock": FileEntry(b"{}"),
        "/view/bin-extra": FileEntry(b"#!/bin/sh\n", 0o755),
    }
    layer = files_layer(files, Compression(), sink, "environment")
    check(layer, sink.getvalue())
    with tarfile.open(fileobj=io.BytesIO(uncompressed(sink.getvalue(), d.OCI_LAYER_GZIP))) as archive:
        assert archive.getnames() == [
            "opt",
            "opt/spack-environment",
            "opt/spack-environment/spack.lock",
            "view",
            "view/bin",
            "view/bin/app",
            "view/bin-extra",
        ]
        assert archive.getmember("view/bin/app").linkname == "/store/app/bin/app"
        assert archive.getmember("view/bin-extra").mode == 0o755
        assert all((m.uid, m.gid, m.mtime) == (0, 0, 0) for m in archive)
    again = io.BytesIO()
    files_layer(dict(reversed(list(files.items()))), Compression(), again)
    assert again.getvalue() == sink.getvalue()
