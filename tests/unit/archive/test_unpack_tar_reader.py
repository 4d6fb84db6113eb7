# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The tar reader against Python's tarfile, and against what no writer should write."""

import io
import tarfile

import pytest
from spack_oci.archive.tar_reader import DIRECTORY, FILE, HARD_LINK, MAX_NAME, SYMLINK, TarReader
from spack_oci.errors import CorruptArchive, UnsafeArchive

NAMES = [
    "short",
    "d" * 99 + "/x",
    "a/" * 40 + "ustar-prefix-" + "n" * 90,
    "n" * 300,
    "über/naïve",
    "new\nline",
    "x" * 5000,
]
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def in_chunks(data, size):
    stream = io.BytesIO(data)
    return lambda: stream.read(size)


def read_all(data, size=1 << 20, **kwargs):
    reader = TarReader(in_chunks(data, size), **kwargs)
    return [(member, reader.content()) for member in reader]


def write(entries, format=tarfile.PAX_FORMAT, encoding="utf-8"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, encoding=encoding) as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def info(name, kind=tarfile.REGTYPE, mode=0o644, link=""):
    result = tarfile.TarInfo(name)
    result.type, result.mode, result.linkname = kind, mode, link
    return result


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [1, 511, 512, 513, 1 << 20])
def test_reads_what_tarfile_writes(format, size):
    names = [n for n in NAMES if format != "ustar" or (len(n) < 256 and n.isascii() and len(n.split("/")[-1]) <= 100)]
    entries = [(info(name), bytes([i]) * (i * 700)) for i, name in enumerate(names)]
    entries += [
        (info("dir", tarfile.DIRTYPE, 0o2755), b""),
        (info("link", tarfile.SYMTYPE, 0o777, "to/" + "t" * 60), b""),
        (info("hard", tarfile.LNKTYPE, 0o600, names[0]), b""),
    ]
    found = read_all(write(entries, FORMATS[format]), size)
    assert [(m.name.decode().rstrip("/"), data) for m, data in found] == [(i.name, data) for i, data in entries]
    assert [m.kind for m, _ in found[len(names) :]] == [DIRECTORY, SYMLINK, HARD_LINK]
    assert [m.mode for m, _ in found[-3:]] == [0o2755, 0o777, 0o600]
    assert found[-2][0].link == b"to/" + b"t" * 60


@pytest.mark.parametrize("format", ["pax", "gnu"])
def test_long_links_and_names_that_are_not_utf8(format):
    name = b"latin1-\xe9-" + b"n" * 120
    entry = info(name.decode("utf-8", "surrogateescape"), tarfile.SYMTYPE, 0o777, "../" * 100 + "target")
    ((member, _),) = read_all(write([(entry, b"")], FORMATS[format]))
    assert member.name == name and member.link == b"../" * 100 + b"target"


def test_pax_size_and_time_count():
    entry = info("f")
    entry.pax_headers = {"mtime": "1700000000.25"}
    data = write([(entry, b"x" * 10)])
    ((member, content),) = read_all(data)
    assert member.mtime == 1700000000 and content == b"x" * 10


def test_size_in_base_256():
    entry = info("f")
    data = bytearray(write([(entry, b"abc")], tarfile.GNU_FORMAT))
    data[124:136] = b"\x80" + (3).to_bytes(11, "big")
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    ((member, content),) = read_all(bytes(data))
    assert member.size == 3 and content == b"abc"


def test_content_may_be_skipped_or_read_in_pieces():
    data = write([(info("a"), b"a" * 5000), (info("b"), b"b" * 5000), (info("c"), b"c")])
    reader = TarReader(in_chunks(data, 1000))
    found = {}
    for member in reader:
        if member.name == b"b":
            found[member.name] = b"".join(d[s:e] for d, s, e in reader.pieces())
        elif member.name == b"c":
            found[member.name] = reader.content()
    assert found == {b"b": b"b" * 5000, b"c": b"c"}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind):
    with pytest.raises(UnsafeArchive, match="dev/x"):
        read_all(write([(info("dev/x", kind), b"")]))


def test_sparse_members_are_refused():
    entry = info("sparse")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    with pytest.raises(CorruptArchive, match="not supported"):
        read_all(write([(entry, b"0\n")]))


@pytest.mark.parametrize("where", [0, 100, 130, 148, 156, 300])
def test_a_damaged_header_is_refused(where):
    data = bytearray(write([(info("f"), b"x" * 600)]))
    data[where] ^= 0x55
    with pytest.raises(CorruptArchive):
        read_all(bytes(data))


@pytest.mark.parametrize("cut", [100, 512, 700, 1024])
def test_a_tarball_that_is_cut_short_is_refused(cut):
    data = write([(info("f"), b"x" * 1000)])
    with pytest.raises(CorruptArchive, match="ends"):
        read_all(data[:cut])


def test_zeros_may_follow_but_nothing_else():
    data = write([(info("f"), b"x")])
    assert len(read_all(data + bytes(5000))) == 1
    with pytest.raises(CorruptArchive, match="follows"):
        read_all(data + b"x")


def test_a_bomb_is_refused():
    data = write([(info("f"), bytes(1 << 20))])
    with pytest.raises(UnsafeArchive, match="more than 100000 bytes"):
        read_all(data, 4096, max_size=100000)


def test_an_endless_name_is_refused_without_reading_it():
    with pytest.raises(UnsafeArchive):
        read_all(write([(info("n" * (MAX_NAME + 1)), b"")]))
    entry = info("f")
    entry.pax_headers = {"comment": "c" * (1 << 20)}
    with pytest.raises(UnsafeArchive, match="extended header"):
        read_all(write([(entry, b"")]))


def test_old_style_directories():
    ((member, _),) = read_all(write([(info("old/", tarfile.AREGTYPE), b"")], tarfile.USTAR_FORMAT))
    assert member.kind == DIRECTORY


def test_global_pax_headers_are_read():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "hello"}) as tar:
        entry = info("f")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    ((member, content),) = read_all(buffer.getvalue())
    assert (member.name, member.kind, content) == (b"f", FILE, b"x")


@pytest.mark.parametrize("field", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"nonsense\0\0\0\0"])
def test_impossible_times_are_no_times(field):
    data = bytearray(write([(info("f"), b"")]))
    data[136:148] = field
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    ((member, _),) = read_all(bytes(data))
    assert member.mtime == 0


def with_fields(data, **fields):
    """The first header of ``data`` with other bytes in the named fields, and a checksum that fits."""
    at = {"magic": 257, "prefix": 345, "ctime": 357, "trailer": 508}
    header = bytearray(data[:512])
    for name, value in fields.items():
        header[at[name] : at[name] + len(value)] = value
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 0x20 + sum(header[156:]))
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    "fields, name",
    [
        ({"magic": b"ustar\x0000", "prefix": b"in/front"}, b"in/front/name"),
        ({"magic": b"ustar\x0000", "prefix": b"p" * 155}, b"p" * 155 + b"/name"),
        (
            {"magic": b"ustar\x0000", "prefix": b"p" * 131 + b"12345670123\0", "trailer": b"tar\0"},
            b"p" * 131 + b"/name",
        ),
        ({"magic": b"ustar  \0", "prefix": b"12345670123\0"}, b"name"),
        ({"magic": b"ustar  \0", "prefix": b"\x80" + bytes(10) + b"\1", "ctime": b"12345670123\0"}, b"name"),
        ({"magic": b"ustar  \0", "prefix": b"\xff" * 12}, b"name"),
        ({"magic": b"ustar  \0", "prefix": b"a" * 60}, b"a" * 60 + b"/name"),
        ({"magic": b"ustar  \0", "prefix": b"12345670123\0not a time.\0"}, b"12345670123/name"),
        ({"magic": b"ustar  \0", "prefix": b"no \xe9 ASCII, and no time"}, b"name"),
        ({"magic": bytes(8), "prefix": b"in/front"}, b"name"),
    ],
)
def test_the_field_behind_the_devices_is_a_prefix_or_times(fields, name):
    """As Go's archive/tar reads it: ``invalid-go17.tar`` of its tests has a prefix under GNU's magic."""
    data = with_fields(write([(info("name"), b"")], tarfile.USTAR_FORMAT), **fields)
    assert [member.name for member, _ in read_all(data)] == [name]
