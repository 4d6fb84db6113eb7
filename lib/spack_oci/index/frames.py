# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Our index document as a sequence of zstd frames, so that a reader takes over the frames that it has.

::

    document   frame of the header line, frame 0, frame 1, ... frame 2**n - 1
    table      for each of these frames in order: size (4 bytes, little endian), 16 bytes of the SHA-256 of the frame

A frame without nodes has no bytes. A node is in the frame that the first bits of its hash say; ``n`` is as large as
leaves at least ``_NODES_IN_FRAME`` nodes to each. So a new package changes one frame and the header, and all that are
between keep their bytes: a reader who has the old document and its table downloads the new table and the frames that
changed, with range requests. A frame is small, so all are compressed with one dictionary of what nodes have in common;
it is part of the format.
"""

import functools
import hashlib
import io
import struct
import threading
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, Union

from ..errors import InvalidContent
from .lines import LABEL, MAX_LINE_SIZE, parse_header
from .nodes import HASH_ALPHABET

#: bytes of an uncompressed document or database: ten times what 100,000 packages have
MAX_DATABASE_SIZE = 4 << 30
#: a compressed document may become this many times larger (real ones: 10 to 40 times), or have the small size below
MAX_EXPANSION = 500
SMALL = 64 << 20
_LEVEL = 9
#: for what stays in memory; higher ones are slower and hardly better for texts of a kilobyte
_QUICK_LEVEL = 1

_NODES_IN_FRAME = 24
#: bits of the first four characters of a hash
_MAX_BITS = 20
_ENTRY = struct.Struct("<I16s")

#: raw content, not trained: the skeletons of nodes and what most of them share
_DICTIONARY = (
    b'"package":{"tag":"-1.0.spack","manifest":{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"},'
    b'"docs":false,"tests":false,"mpi":true,"openmp":true,"cuda":false,"fortran":true,"threads":["none"],"ipo":false,'
    b'"perl":"python":"py-","autotools","cmake","makefile","meson","python_pip","build_type":"Release","generator":"ninja"'
    b',"compression":["zlib"],"libs":["shared","static"],"pic":true,"shared":true,"static":false,"optimize":true,'
    b'"version":"3.11.7","version":"12.2.0","version":"develop","target":{"name":"zen3","vendor":"AuthenticAMD",'
    b'"features":["abm","aes","avx","avx2","bmi1","bmi2"],"generation":0,"parents":["zen2"]},"target":"x86_64_v3"},'
    b'"name":"glibc","hash":"","parameters":{"deptypes":["link"],"virtuals":["libc"]}},{"name":"gcc-runtime","hash":"",'
    b'"parameters":{"deptypes":["link"],"virtuals":[]}},{"name":"gmake","hash":"","parameters":{"deptypes":["build"],'
    b'"virtuals":[]}},{"name":"compiler-wrapper","hash":"","parameters":{"deptypes":["build"],"virtuals":[]}},{"name":'
    b'"cmake","hash":"","parameters":{"deptypes":["build"],"virtuals":[]}},{"name":"pkgconf","hash":"","parameters":'
    b'{"deptypes":["build"],"virtuals":["pkgconfig"]}},{"name":"zlib-ng","hash":"","parameters":{"deptypes":["build",'
    b'"link"],"virtuals":["zlib-api"]}},{"name":"openmpi","hash":"","parameters":{"deptypes":["build","link"],"virtuals":'
    b'["mpi"]}},"external":{"path":"/usr","module":null,"extra_attributes":{"compilers":{"c":"/usr/bin/gcc","cxx":'
    b'"/usr/bin/g++","fortran":"/usr/bin/gfortran"}}},"patches":[""],"annotations":{"original_specfile_version":4,'
    b'"compiler":"gcc@=12.2.0"}\n{"hash":"","spec":{"name":"","version":"1.0.0","arch":{"platform":"linux","platform_os":'
    b'"ubuntu22.04","target":"x86_64_v3"},"namespace":"builtin","parameters":{"build_system":"generic","cflags":[],'
    b'"cppflags":[],"cxxflags":[],"fflags":[],"ldflags":[],"ldlibs":[]},"package_hash":"====","dependencies":[{"name":'
    b'"gcc","hash":"","parameters":{"deptypes":["build"],"virtuals":["c","cxx"]}}],"annotations":'
    b'{"original_specfile_version":5},"hash":""},"package":{"tag":"-1.0-.spack","manifest":{"mediaType":'
    b'"application/vnd.oci.image.manifest.v1+json","digest":"sha256:","size":1082},"layer":{"mediaType":'
    b'"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:","size":0},"diff_id":"sha256:","prefix_length":120,'
    b'"pusher":"spack-oci 0.1.0","relocation":{"binaries":0,"fixed_strings":0,"shortest_fixed":0,"strings":0,'
    b'"unknown_files":0},"signed":false}}\n{"hash":"'
)


class Frame(NamedTuple):
    """Where a frame is in a document."""

    start: int
    size: int
    #: 16 bytes
    digest: bytes


def compress(lines: Iterable[bytes]) -> List[bytes]:
    """The frames of a document. The same lines, sorted by hash, give the same bytes (with the same libzstd)."""
    return list(compressed_frames(lines))


def compressed_frames(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same, one at a time."""
    import zstandard  # not at the top: most of Spack's processes never read an index

    compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=zstd_dictionary())
    iterator = iter(lines)
    header = next(iterator)
    bits = frame_bits(parse_header(header).nodes)
    yield compressor.compress(header)
    current = 1
    pending: List[bytes] = []
    for line in iterator:
        number = frame_number(line[9:13].decode(), bits)
        if number < current:
            raise ValueError("the lines are not sorted by hash")
        for _ in range(current, number):
            yield _frame(compressor, pending)
            pending = []
        current = number
        pending.append(line)
    for _ in range(current, (1 << bits) + 1):
        yield _frame(compressor, pending)
        pending = []


def _frame(compressor: Any, lines: Sequence[bytes]) -> bytes:
    """No zstd frame of nothing: readers of streams take it for the end."""
    return compressor.compress(b"".join(lines)) if lines else b""


def frame_bits(nodes: int) -> int:
    """Two to the power of this: how many frames a document of so many nodes has."""
    return min(_MAX_BITS, max(0, (nodes // _NODES_IN_FRAME).bit_length() - 1))


def frame_number(dag_hash: str, bits: int) -> int:
    """The frame that a node is in; 0 is the header's. Raises ValueError for what is no hash."""
    value = 0
    for character in dag_hash[:4]:
        value = value << 5 | HASH_ALPHABET.index(character)
    return 1 + (value >> (_MAX_BITS - bits))


def table_of(frames: Iterable[bytes]) -> bytes:
    return b"".join(map(table_entry, frames))


def table_entry(frame: bytes) -> bytes:
    return _ENTRY.pack(len(frame), digest_of(frame))


def read_table(table: bytes, size: int) -> List[Frame]:
    """The frames of a document of ``size`` bytes. Raises InvalidContent."""
    count = len(table) // _ENTRY.size
    if len(table) % _ENTRY.size or count < 2 or (count - 1) & (count - 2):
        raise InvalidContent(f"{LABEL} has a table of {len(table)} bytes")
    frames, start = [], 0
    for length, digest in _ENTRY.iter_unpack(table):
        frames.append(Frame(start, length, digest))
        start += length
    if start != size:
        raise InvalidContent(f"{LABEL} has {size} bytes and a table of {start}")
    return frames


def decompress(data: bytes) -> Iterator[bytes]:
    """The lines of a document, one at a time. Raises InvalidContent, also when a line or the whole is too long."""
    import zstandard

    limit = min(MAX_DATABASE_SIZE, max(SMALL, MAX_EXPANSION * len(data)))
    try:
        decompressor = zstandard.ZstdDecompressor(dict_data=zstd_dictionary())
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
            buffered = io.BufferedReader(reader, 1 << 17)  # type: ignore[arg-type]
            size = 0
            while True:
                line = buffered.readline(MAX_LINE_SIZE + 1)
                if not line:
                    return
                size += len(line)
                if len(line) > MAX_LINE_SIZE:
                    raise InvalidContent(f"{LABEL} has a line of more than {MAX_LINE_SIZE} bytes")
                if size > limit:
                    raise InvalidContent(f"{LABEL} is larger than {limit} bytes")
                yield line
    except zstandard.ZstdError as e:
        raise InvalidContent(f"{LABEL} is not zstd: {e}") from None


def assemble(
    old: bytes, old_frames: Sequence[Frame], frames: Sequence[Frame], fetch: Callable[[int, int], bytes]
) -> bytes:
    """A document of ``frames`` out of the old one, and what ``fetch(start, stop)`` reads of the new one.

    The caller verifies the digest of the whole. Raises what ``fetch`` raises.
    """
    known = {frame.digest: frame for frame in old_frames}
    pieces: Dict[int, bytes] = {}
    for start, stop in missing_spans(old_frames, frames):
        pieces[start] = fetch(start, stop)
    result: List[Union[bytes, memoryview]] = []
    position, view = 0, memoryview(old)
    for frame in frames:
        if frame.start < position:
            continue  # in the span before
        if frame.start in pieces:
            piece: Union[bytes, memoryview] = pieces[frame.start]
        else:
            here = known[frame.digest]
            piece = view[here.start : here.start + here.size]
        result.append(piece)
        position = frame.start + len(piece)
    return b"".join(result)


def missing_spans(old_frames: Sequence[Frame], frames: Sequence[Frame]) -> List[Tuple[int, int]]:
    """(start, stop) in the new document of what the old one lacks, adjacent frames together."""
    known = {frame.digest for frame in old_frames}
    spans: List[Tuple[int, int]] = []
    for frame in frames:
        if frame.digest in known:
            continue
        if spans and spans[-1][1] == frame.start:
            spans[-1] = (spans[-1][0], frame.start + frame.size)
        else:
            spans.append((frame.start, frame.start + frame.size))
    return spans


def digest_of(frame: bytes) -> bytes:
    """As it stands in a table."""
    return hashlib.sha256(frame).digest()[:16]


def packed(data: bytes) -> bytes:
    """A text of an index as it is in memory: a third of its size, because a hundred thousand of them are there.

    To pack a node takes 10 microseconds, to unpack it 4; both are little beside parsing it. The same ``data`` gives
    the same bytes in one process, and they go nowhere else. For any thread.
    """
    # a copy: the library leaves the result in a buffer as large as the worst that can come out
    return bytes(memoryview(_zstd.compressor.compress(data)))


def unpacked(data: bytes) -> bytes:
    """What :func:`packed` was given."""
    return _zstd.decompressor.decompress(data)


class _Zstd(threading.local):
    """A compressor and a decompressor of each thread: they are not for two at once."""

    @functools.cached_property
    def compressor(self) -> Any:
        import zstandard

        return zstandard.ZstdCompressor(
            level=_QUICK_LEVEL, dict_data=zstd_dictionary(), write_checksum=False, write_dict_id=False
        )

    @functools.cached_property
    def decompressor(self) -> Any:
        import zstandard

        return zstandard.ZstdDecompressor(dict_data=zstd_dictionary())


_zstd = _Zstd()


def zstd_dictionary() -> "zstandard.ZstdCompressionDict":  # type: ignore[name-defined]  # noqa: F821
    """What nodes and packages have in common."""
    import zstandard

    return zstandard.ZstdCompressionDict(_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
