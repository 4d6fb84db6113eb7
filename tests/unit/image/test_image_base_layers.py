# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Layers of base images are read as leniently as Go's archive/tar reads them, whatever tool has written them."""

import gzip
import io
import tarfile

import pytest
from spack_oci import descriptor as d
from spack_oci.content import put_bytes
from spack_oci.errors import CorruptArchive
from spack_oci.image.base import layers as base_layers
from spack_oci.image.base.layers import directories_of_base, libcs_of_base, libraries_of_base
from spack_oci.image.manifest import Base
from support.memory_store import MemoryStore

BANNER = b"\x7fELF..\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n"


def tarball(files) -> bytes:
    """Name -> content; a name that ends in a slash is a directory, None a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.size = len(content or b"")
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o1777
            elif content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
            archive.addfile(member, io.BytesIO(content or b""))
    return out.getvalue()


def base_of(store, *layers, media_type=d.OCI_LAYER_GZIP, compress=gzip.compress) -> Base:
    blobs = [put_bytes(store, compress(layer), media_type) for layer in layers]
    return Base({"mediaType": d.OCI_MANIFEST, "layers": [blob.to_dict() for blob in blobs]}, {}, "base:1")


#: without the blocks of zeros at the end, and without the last padding, as umoci 0.4.7 "insert" writes layers
BARE = tarball({"tmp/": None, "lib/libc.so.6": BANNER}).rstrip(b"\0")
PADDED = BARE.ljust(-(-len(BARE) // 512) * 512, b"\0")


@pytest.mark.parametrize("media_type, compress", [(d.OCI_LAYER_GZIP, gzip.compress), (d.OCI_LAYER, bytes)])
@pytest.mark.parametrize(
    "layer", [BARE, PADDED, PADDED + bytes(512)], ids=["no padding", "no end of archive", "half of the end"]
)
def test_a_layer_without_its_end_is_read_as_engines_read_it(layer, media_type, compress):
    store = MemoryStore()
    base = base_of(store, layer, media_type=media_type, compress=compress)
    assert [str(libc) for libc in libcs_of_base(store, base)] == ["glibc 2.36"]
    assert directories_of_base(store, base, ["/tmp"])["/tmp"].mode == 0o1777


def test_a_layer_that_ends_behind_a_directory_is_read():
    store = MemoryStore()
    layer = tarball({"lib/libc.so.6": BANNER, "tmp/": None})
    base = base_of(store, layer[: layer.rindex(b"ustar") - 257 + 512])
    assert libcs_of_base(store, base) and directories_of_base(store, base, ["/tmp"])["/tmp"].mode == 0o1777


def test_an_empty_layer_is_read():
    store = MemoryStore()
    assert libcs_of_base(store, base_of(store, b"", tarball({}))) == []


def test_a_file_that_is_cut_short_is_an_error():
    store = MemoryStore()
    with pytest.raises(CorruptArchive, match="cannot be read.*choose another base image"):
        libcs_of_base(store, base_of(store, tarball({"etc/motd": b"x" * 1000})[:1400]))


def test_the_libraries_of_a_base_are_those_of_all_its_layers():
    store, cache = MemoryStore(), {}
    base = base_of(
        store,
        tarball({"usr/lib/libmagic.so.1": None, "usr/lib/libmagic.so.1.0.0": b"", "lib/libc.so.6": BANNER}),
        tarball({"opt/x/libx.so": b"x", "usr/bin/so": b"", "usr/share/lib.so/": None}),
    )
    found = {"libmagic.so.1", "libmagic.so.1.0.0", "libc.so.6", "libx.so"}
    assert libraries_of_base(store, base, cache) == found
    store.reset()
    assert libraries_of_base(store, base, cache) == found and store.requests == 0


def test_the_libraries_of_a_base_with_large_layers_are_not_known(monkeypatch):
    store = MemoryStore()
    base = base_of(store, tarball({"lib/libc.so.6": BANNER}))
    monkeypatch.setattr(base_layers, "LARGE", 10)
    assert libraries_of_base(store, base) is None and store.calls["open_blob"] == 0
