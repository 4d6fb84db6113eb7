# SPDX-License-Identifier: (Apache-2.0 OR MIT)
import functools
import gzip
import io
import json
import random
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard
from spack_oci.archive import codec
from spack_oci.archive.codec import Compression, open_compressor, open_decompressor
from spack_oci.archive.zstd_frames import FrameWalker
from spack_oci.descriptor import (
    DOCKER_LAYER_GZIP,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
    VerifyingReader,
    sha256_digest,
)
from spack_oci.errors import ConfigurationError, CorruptArchive, DigestMismatch

ALL = ["gzip", "gzip:1", "gzip:3", "gzip:6", "zstd", "zstd:1", "zstd:7", "none"]


@functools.lru_cache(maxsize=4)
def _sample(seed: int) -> bytes:
    """Ten million bytes that compress to some third."""
    generator = random.Random(seed)
    words = [generator.randbytes(generator.randrange(1, 12)) for _ in range(500)]
    return b"".join(generator.choices(words, k=1_800_000))


def sample(size: int, seed: int = 1) -> bytes:
    found = _sample(seed)[:size]
    assert len(found) == size
    return found


def compress(compression: str, data: bytes, cut: int = 0, **kwargs) -> bytes:
    out = []
    compressor = open_compressor(Compression.parse(compression), out.append, **kwargs)
    for start in range(0, len(data), cut or len(data) or 1):
        compressor.write(data[start : start + (cut or len(data))])
    compressor.finish()
    return b"".join(out)


@pytest.mark.parametrize("size", [0, 1, 100, codec.BLOCK_SIZE - 1, codec.BLOCK_SIZE, codec.BLOCK_SIZE + 1, 3_300_000])
@pytest.mark.parametrize("compression", ALL)
def test_round_trip(compression, size):
    data = sample(size)
    packed = compress(compression, data)
    with open_decompressor(Compression.parse(compression).media_type, io.BytesIO(packed)) as reader:
        assert reader.read() == data
    with open_decompressor(packed[:4], io.BytesIO(packed)) as reader:
        assert reader.read() == data


@pytest.mark.parametrize("compression", ALL)
def test_memory_is_known_and_bounded(compression):
    assert codec.BLOCK_SIZE < codec.memory_of(Compression.parse(compression)) < 64 << 20


@pytest.mark.parametrize("level", range(1, 23))
def test_memory_of_the_highest_levels(level):
    assert codec.memory_of(Compression("zstd", level)) < 192 << 20


def test_high_zstd_levels_find_repetitions_far_apart():
    """As between a static and a shared library, or two byte codes of a module."""
    far = random.Random(5).randbytes(9 << 20)
    data = far + far
    assert len(compress("zstd:9", data)) < 0.52 * len(data) < len(compress("zstd:5", data))


@pytest.mark.parametrize("compression", ["zstd:1", "zstd"])
def test_fast_zstd_levels_look_back_as_far_as_a_frame(compression):
    """libzstd's own would find nothing that is more than 1 MiB away."""
    repeated, between = random.Random(5).randbytes(1 << 20), random.Random(6).randbytes(3 << 19)
    data = repeated + between + repeated
    assert len(compress(compression, data)) < 0.8 * len(data)
    assert zstandard.get_frame_parameters(compress(compression, data)).window_size <= codec.FRAME_SIZE


def test_a_long_frame_needs_no_more_than_its_window():
    """klauspost/compress, which containerd and podman use, takes windows up to 64 MiB; RFC 8878 asks for 8."""
    packed = compress("zstd:9", sample(9 << 20))
    assert zstandard.get_frame_parameters(packed).window_size == 32 << 20
    # what fits into a block has no larger one than before
    assert zstandard.get_frame_parameters(compress("zstd:9", sample(100_000))).window_size <= codec.FRAME_SIZE


@pytest.mark.parametrize("size", [codec.FRAME_SIZE, codec.FRAME_SIZE + 1, 9 << 20])
def test_members_of_long_frames_can_be_cut_off(size):
    parts = [b"begin", sample(size), sample(size // 3, 2)]
    out, ends = [], []
    compressor = open_compressor(Compression("zstd", 6), out.append)
    for part in parts:
        compressor.write(part)
        compressor.next_member()
        ends.append(len(b"".join(out)))
    compressor.finish()
    packed = b"".join(out)
    for start, end, part in zip([0, *ends], ends, parts):
        assert zstandard.ZstdDecompressor().decompressobj().decompress(packed[start:end]) == part
    assert open_decompressor(OCI_LAYER_ZSTD, io.BytesIO(packed)).read() == b"".join(parts)


def test_two_long_frames_at_once_in_one_thread():
    data, other = sample(9 << 20), sample(9 << 20, 3)
    out, others = [], []
    one, two = (open_compressor(Compression("zstd", 6), sink) for sink in (out.append, others.append))
    for start in range(0, len(data), 1 << 20):
        one.write(data[start : start + (1 << 20)])
        two.write(other[start : start + (1 << 20)])
    one.finish()
    two.finish()
    assert b"".join(out) == compress("zstd:6", data) and b"".join(others) == compress("zstd:6", other)


def test_gzip_is_one_plain_member_that_every_reader_takes():
    data = sample(2_500_000)
    packed = compress("gzip", data)
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time
    inflate = zlib.decompressobj(31)
    assert inflate.decompress(packed) == data
    assert inflate.eof and inflate.unused_data == b""
    assert gzip.decompress(packed) == data
    assert subprocess.run(["gzip", "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout == data


@pytest.mark.parametrize("compression", ALL)
def test_same_bytes_however_it_is_written_and_by_however_many_threads(compression):
    # from a level of zstd on, a frame has 4 MiB and more; else a block, which one thread compresses, is much smaller
    data = sample(9_000_000 if compression == "zstd:7" else 3_300_000)
    expected = compress(compression, data, 1 << 20)
    assert compress(compression, data, 7777) == expected
    assert compress(compression, data) == expected
    for workers in (1, 2, 5):
        with ThreadPoolExecutor(workers) as pool:
            assert compress(compression, data, 100_003, pool=pool, threads=workers) == expected


def test_memoryview_and_bytearray_are_input_too():
    data = sample(1_500_000)
    out = []
    compressor = open_compressor(Compression(), out.append)
    compressor.write(memoryview(data)[:700_000])
    compressor.write(bytearray(data[700_000:]))
    compressor.finish()
    assert gzip.decompress(b"".join(out)) == data


def test_buffers_may_be_reused_by_the_writer():
    data = sample(3 << 20)
    out, buffer = [], bytearray(1 << 20)
    with ThreadPoolExecutor(2) as pool:
        compressor = open_compressor(Compression(), out.append, pool=pool, threads=3)
        for start in range(0, len(data), len(buffer)):
            buffer[:] = data[start : start + len(buffer)]
            compressor.write(buffer)
        compressor.finish()
    assert gzip.decompress(b"".join(out)) == data


def test_size_limits_of_gzip_levels():
    sources = sorted(Path(json.__file__).parent.parent.glob("*.py"))
    data = b"".join(path.read_bytes() for path in sources)[:4_000_000]
    zlib6 = len(zlib.compress(data, 6))
    assert len(compress("gzip:6", data)) <= zlib6 * 1.03


def test_parse():
    assert Compression.parse("zstd:3") == Compression("zstd", 3)
    assert Compression.parse("gzip") == Compression()
    assert str(Compression.parse("gzip:6")) == "gzip:6"
    assert Compression.parse("zstd").media_type == OCI_LAYER_ZSTD
    assert Compression.parse("gzip:9").media_type == OCI_LAYER_GZIP
    assert Compression.parse("none").media_type == OCI_LAYER


@pytest.mark.parametrize("text", ["lzma", "", "gzip:", "gzip:x", "gzip:10", "zstd:-1", "zstd:23", "none:1", "gzip:²"])
def test_parse_refuses(text):
    with pytest.raises(ConfigurationError):
        Compression.parse(text)


def test_encoder_tells_apart_what_gives_different_bytes():
    encoders = {text: Compression.parse(text).encoder for text in ALL}
    assert len(set(encoders.values())) == len(ALL)
    assert Compression("zstd", 2).encoder == Compression("zstd").encoder


@pytest.mark.parametrize("missing", ["isal", "both"])
def test_fallback_without_the_fast_libraries(monkeypatch, missing):
    monkeypatch.setattr(codec, "isal_zlib", None)
    monkeypatch.setattr(codec, "igzip", None)
    if missing == "both":
        monkeypatch.setattr(codec, "zlib_ng", None)
        assert codec.engines()["gzip"].startswith("zlib ")
    data = sample(2_200_000)
    packed = compress("gzip", data)
    assert gzip.decompress(packed) == data
    with open_decompressor(OCI_LAYER_GZIP, io.BytesIO(packed)) as reader:
        assert reader.read() == data


def test_engines_name_a_library_for_each_default():
    assert set(codec.engines()) == {"gzip", "gzip:6", "zstd"}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_stream_cut_short_is_an_error(compression, keep):
    packed = compress(compression, sample(2_000_000))
    packed = packed[: int(len(packed) * keep)]
    with pytest.raises(CorruptArchive), open_decompressor(Compression(compression).media_type, io.BytesIO(packed)) as r:
        while r.read(65536):
            pass


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_damaged_stream_is_an_error(compression):
    packed = bytearray(compress(compression, sample(2_000_000)))
    packed[len(packed) // 2] ^= 0x55
    with pytest.raises(CorruptArchive), open_decompressor(Compression(compression).media_type, io.BytesIO(packed)) as r:
        r.read()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_several_members_are_one_stream(compression):
    one, two = sample(1000), sample(2000, 2)
    packed = compress(compression, one) + compress(compression, two)
    with open_decompressor(Compression(compression).media_type, io.BytesIO(packed)) as reader:
        assert reader.read() == one + two


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_readinto_and_small_reads(compression):
    data = sample(300_000)
    reader = open_decompressor(Compression(compression).media_type, io.BytesIO(compress(compression, data)))
    buffer, result = bytearray(4096), bytearray()
    while True:
        count = reader.readinto(buffer)
        if not count:
            break
        result += buffer[:count]
    assert bytes(result) == data


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_errors_of_the_source_come_through(compression):
    packed = compress(compression, sample(100_000))
    wrong = Descriptor(OCI_LAYER, sha256_digest(b"something else"), len(packed))
    with pytest.raises(DigestMismatch):
        reader = open_decompressor(
            Compression(compression).media_type, VerifyingReader(io.BytesIO(packed), wrong, "a test")
        )
        while reader.read(65536):
            pass


def test_media_types():
    data = gzip.compress(b"content")
    assert open_decompressor(DOCKER_LAYER_GZIP, io.BytesIO(data)).read() == b"content"
    with pytest.raises(CorruptArchive):
        open_decompressor("application/json", io.BytesIO(data))


def test_a_window_beyond_the_limit_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28, enable_ldm=True)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = frame.compress(sample(1000)) + frame.flush()
    with pytest.raises(CorruptArchive):
        open_decompressor(OCI_LAYER_ZSTD, io.BytesIO(packed)).read()


@pytest.mark.parametrize("step", [1, 3, 4096, 1 << 30])
@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000, 500_000])
def test_frame_ends_are_seen_in_every_kind_of_frame(step, size):
    data = sample(size) + bytes(size)
    frames = [
        zstandard.ZstdCompressor(level=1).compress(data),
        zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(data),
        compress("zstd", data),
        (0x184D2A51).to_bytes(4, "little") + (7).to_bytes(4, "little") + b"skipped",
    ]
    for stream in (*frames, b"".join(frames)):
        walker = FrameWalker()
        assert not walker.complete
        for start in range(0, len(stream), step):
            assert start == 0 or not walker.complete or stream is not frames[0]
            walker.feed(stream[start : start + step])
        assert walker.complete


def test_garbage_behind_a_zstd_stream_is_an_error():
    with pytest.raises(CorruptArchive):
        open_decompressor(OCI_LAYER_ZSTD, io.BytesIO(compress("zstd", b"x" * 1000) + b"garbage")).read()


def test_importing_the_codec_needs_no_optional_library():
    code = "import sys; sys.modules['isal'] = None; sys.modules['zlib_ng'] = None\n"
    code += "from spack_oci.archive.codec import engines; print(engines()['gzip'])"
    found = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True, env=environment()
    )
    assert found.stdout.startswith("zlib ")


def environment():
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
