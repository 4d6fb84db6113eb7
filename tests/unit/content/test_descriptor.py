# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import hashlib
import io

import pytest
from spack_oci.content import BytesSource, FileSource
from spack_oci.descriptor import Descriptor, VerifyingReader, canonical_json, check_digest, parse_json
from spack_oci.errors import DigestMismatch, InvalidContent, InvalidReference

DATA = bytes(range(256)) * 5000
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def reader(data, descriptor=None):
    return VerifyingReader(io.BytesIO(data), descriptor or Descriptor.of(DATA, LAYER), "somewhere")


@pytest.mark.parametrize("size", [-1, 1, 1000, len(DATA), len(DATA) + 1])
def test_reads_what_the_descriptor_names(size):
    with reader(DATA) as r:
        chunks = iter(lambda: r.read(size), b"")
        assert b"".join(chunks) == DATA


@pytest.mark.parametrize(
    "wrong, said",
    [
        (DATA[:-1], f"{len(DATA) - 1} bytes"),
        (DATA + b"x", f"more than {len(DATA)} bytes"),
        (DATA[:-1] + b"x", "the digest sha256:"),
        (b"", "0 bytes"),
    ],
)
@pytest.mark.parametrize("size", [-1, 1000, len(DATA), 2 * len(DATA)])
def test_never_ends_with_wrong_content(wrong, said, size):
    r = reader(wrong)
    with pytest.raises(DigestMismatch) as e:
        while r.read(size):
            pass
    assert said in str(e.value) and "from somewhere" in str(e.value)


def test_the_last_bytes_come_only_after_the_check():
    """A caller that stops at the size that it expects has verified content."""
    r = reader(DATA[:-1] + b"x")
    r.read(len(DATA) - 1)
    with pytest.raises(DigestMismatch):
        r.read(1)


def into(r, size):
    """As r.read(size), by way of readinto."""
    buffer = bytearray(size)
    return bytes(buffer[: r.readinto(buffer)])


@pytest.mark.parametrize("size", [1000, len(DATA), len(DATA) + 1, 2 * len(DATA)])
def test_reads_into_buffers(size):
    with reader(DATA) as r:
        assert b"".join(iter(lambda: into(r, size), b"")) == DATA


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b""])
@pytest.mark.parametrize("size", [1000, len(DATA), 2 * len(DATA)])
def test_buffers_never_end_with_wrong_content(wrong, size):
    r = reader(wrong)
    with pytest.raises(DigestMismatch, match="from somewhere"):
        while into(r, size):
            pass


def test_reading_into_a_buffer_makes_no_copy():
    class Stream(io.BytesIO):
        def readinto(self, buffer):
            assert type(buffer) is memoryview and buffer.obj is mine
            return super().readinto(buffer)

    mine = bytearray(len(DATA))
    VerifyingReader(Stream(DATA), Descriptor.of(DATA, LAYER)).readinto(mine)
    assert mine == DATA


def test_the_empty_content_is_checked():
    assert reader(b"", Descriptor.of(b"", LAYER)).read() == b""
    with pytest.raises(DigestMismatch):
        reader(b"x", Descriptor.of(b"", LAYER)).read()


def test_other_digest_algorithms():
    digest = "sha512:" + hashlib.sha512(DATA).hexdigest()
    assert reader(DATA, Descriptor(LAYER, digest, len(DATA))).read() == DATA


@pytest.mark.parametrize(
    "digest",
    ["", "sha256", "sha256:", "sha256:abc", "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:" + "0" * 65, None],
)
def test_what_is_no_digest(digest):
    with pytest.raises(InvalidReference):
        check_digest(digest)


def test_descriptors_survive_their_json():
    d = Descriptor.of(
        DATA, LAYER, annotations={"a": "b"}, platform={"os": "linux", "architecture": "amd64"}, artifact_type="x/y"
    )
    assert Descriptor.from_dict(d.to_dict()) == d
    assert Descriptor.from_dict(d.to_dict()).to_dict() == d.to_dict()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"mediaType": LAYER, "digest": "sha256:" + "0" * 64},
        {"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": -1},
        {"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": "7"},
        {"mediaType": LAYER, "digest": "sha256:" + "0" * 64, "size": True},
        {"mediaType": None, "digest": "sha256:" + "0" * 64, "size": 1},
        {"mediaType": LAYER, "digest": "nonsense", "size": 1},
        "text",
        None,
    ],
)
def test_what_is_no_descriptor(document):
    with pytest.raises(InvalidContent):
        Descriptor.from_dict(document)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100000])
def test_what_is_no_json_object(data):
    with pytest.raises(InvalidContent, match="the thing"):
        parse_json(data, "the thing")


def test_canonical_json_is_compact_utf8_in_the_given_order():
    assert canonical_json({"b": "é", "a": [1, 2]}) == '{"b":"é","a":[1,2]}'.encode()


def test_sources_start_anew_each_time(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(DATA)
    for source in (BytesSource(DATA), FileSource(str(path))):
        for _ in range(2):
            with source.open() as f:
                assert f.read() == DATA
