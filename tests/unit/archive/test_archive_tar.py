# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Headers against Python's tarfile, which is what Spack writes with."""

import io
import os
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spack_oci.archive import tar

KINDS = {
    tar.REGULAR: tarfile.REGTYPE,
    tar.HARD_LINK: tarfile.LNKTYPE,
    tar.SYMLINK: tarfile.SYMTYPE,
    tar.DIRECTORY: tarfile.DIRTYPE,
}


def reference(name: bytes, kind: bytes, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type, info.mode, info.size, info.linkname = KINDS[kind], mode, size, os.fsdecode(link)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("length", [1, 99, 100, 101, 154, 155, 256, 300, 1000, 4096])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_names_of_every_length(kind, length):
    name = b"opt/" + b"n" * (length - 4) if length > 4 else b"n" * length
    link = b"t" * length if kind in (tar.SYMLINK, tar.HARD_LINK) else b""
    assert tar.header(name, kind, 0o755, 0, link) == reference(name, kind, 0o755, 0, link)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11, 10**13])
def test_sizes_beyond_eleven_octal_digits(size):
    assert tar.header(b"a/b", tar.REGULAR, 0o644, size) == reference(b"a/b", tar.REGULAR, 0o644, size)


path_bytes = st.one_of(
    st.text(min_size=1, max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(min_size=1, max_size=200),
).map(lambda data: data.replace(b"\0", b"x").strip(b"/") or b"x")


@given(name=path_bytes, link=path_bytes, kind=st.sampled_from(sorted(KINDS)), size=st.integers(0, 10**12))
@example(name="é".encode(), link=b"\xff", kind=tar.SYMLINK, size=0)
@example(name=b"n" * 99 + "é".encode(), link=b"", kind=tar.REGULAR, size=3)
def test_any_name(name, link, kind, size):
    link = link if kind in (tar.SYMLINK, tar.HARD_LINK) else b""
    size = size if kind == tar.REGULAR else 0
    assert tar.header(name, kind, 0o644, size, link) == reference(name, kind, 0o644, size, link)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 10240, 123456])
def test_the_end(size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("f")
        info.size = size
        archive.addfile(info, io.BytesIO(bytes(size)))
    ours = tar.header(b"f", tar.REGULAR, 0o644, size) + bytes(size) + tar.padding(size)
    assert ours + tar.end_of_archive(len(ours)) == buffer.getvalue()
