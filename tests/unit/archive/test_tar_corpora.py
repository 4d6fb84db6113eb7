# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# ruff: noqa: E501  (tables)
"""Archives that others keep to test their readers with, and small ones of the same kinds: each is read as Go reads it,
or refused by name. Packages are read strictly; layers of base images as leniently as engines read them."""

import base64
import bz2
import hashlib
import io
import json
import os
import sysconfig
from pathlib import Path

import pytest
from spack_oci.archive.tar_reader import SPARSE, TarReader
from spack_oci.content import put_bytes
from spack_oci.descriptor import OCI_LAYER
from spack_oci.errors import CorruptArchive, SpackOciError, UnsafeArchive
from spack_oci.image.base.tarball import visit_members
from support.memory_store import MemoryStore

END = bytes(1024)


def header(name, kind=b"0", size=0, *, magic=b"ustar\x0000", uid=b"0000000\0", sparse=b""):
    """A header as POSIX has it; ``sparse``: what GNU has behind the devices."""
    fields = [name.ljust(100, b"\0"), b"0000644\0", uid, b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8]
    block = b"".join(fields) + kind + bytes(100) + magic + bytes(80) + sparse
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name, kind=b"0", content=b"", **more):
    return header(name, kind, len(content), **more) + content + bytes(-len(content) % 512)


def pax(kind=b"x", **values):
    records = b""
    for key, value in values.items():
        rest = len(key) + len(value) + 3
        length = next(n for n in range(rest, rest + 9) if n == rest + len(str(n)))
        records += b"%d %s=%s\n" % (length, key.replace("_", ".").encode(), value)
    return member(b"pax", kind, records)


def strictly(data, size=1 << 16):
    """Names, kinds and contents, as of a package."""
    stream = io.BytesIO(data)
    reader = TarReader(lambda: stream.read(size))
    return [(m.name, m.kind, reader.content()) for m in reader]


def leniently(data):
    """The same, as of a layer of a base image."""
    store, found = MemoryStore(), []

    def visit(m, content):
        found.append((m.name, m.kind, b"" if m.kind == SPARSE else content()))
        return False

    assert visit_members(store, put_bytes(store, data, OCI_LAYER), visit)
    return found


LAST = (b"last", b"0", b"")
#: what is odd -> (the archive without its end, what a layer then has; None where that is refused, too)
REFUSED_IN_PACKAGES = {
    "two long names of GNU": (
        member(b"n", b"L", b"one\0") + member(b"n", b"L", b"two\0") + member(b"x"),
        [(b"two", b"0", b"")],
    ),
    "two pax headers, of which the last counts, and has no name": (
        pax(path=b"one", linkpath=b"a") + pax(path=b"", linkpath=b"b") + member(b"x", b"2"),
        [(b"x", b"2", b"")],
    ),
    "a pax header and a long name of GNU": (pax(path=b"one") + member(b"n", b"L", b"two\0") + member(b"x"), [(b"two", b"0", b"")]),
    "one name for all": (pax(b"g", path=b"one") + member(b"x"), [(b"x", b"0", b"")]),
    "one size for all": (pax(b"g", size=b"5") + member(b"x"), [(b"x", b"0", b"")]),
    "a NUL in a keyword": (pax(**{"a\0b": b"c"}) + member(b"x"), None),
    "a keyword without a name": (member(b"pax", b"x", b"5 =b\n") + member(b"x"), None),
    "a NUL in the name of a user": (pax(uname=b"a\0b") + member(b"x"), None),
    "a time that is none": (pax(mtime=b"999xxx9324") + member(b"x"), None),
    "a name with a NUL": (pax(path=b"a\0b") + member(b"x"), None),
    "a header of a mebibyte": (member(b"pax", b"x", bytes((1 << 20) + 1)) + member(b"x"), None),
    "a negative size": (header(b"x").replace(b"%011o\0" % 0, b"\xff" * 12), None),
    "attributes of many bytes": (pax(SCHILY_xattr_x=b"v" * 200_000) + member(b"x"), [(b"x", b"0", b"")]),
    "GNU's sparse file, whose map goes on": (
        header(b"x", b"S", 5, magic=b"ustar  \0", sparse=bytes(137) + b"\1") + bytes(504) + b"\1" + bytes(7) + bytes(512) + b"abcde".ljust(512, b"\0"),
        [(b"x", b"S", b"")],
    ),
    "a sparse file of pax": (pax(GNU_sparse_major=b"1", GNU_sparse_minor=b"0", GNU_sparse_name=b"y") + member(b"GNUSparseFile.0/y", content=b"1\n0\n2\n".ljust(512, b"\0") + b"ab"), [(b"y", b"S", b"")]),
    "a device": (member(b"x", b"3"), [(b"x", b"3", b"")]),
    "a named pipe that says it has content": (header(b"x", b"6", 5), [(b"x", b"6", b"")]),
    "a directory of GNU's dumps": (member(b"x", b"D", b"Yx\0\0"), [(b"x", b"D", b"")]),
}  # fmt: skip


@pytest.mark.parametrize("odd", REFUSED_IN_PACKAGES)
def test_what_readers_take_for_different_things_is_refused_in_a_package_and_read_in_a_layer_as_by_go(odd):
    data, found = REFUSED_IN_PACKAGES[odd]
    data += member(b"last") + END
    with pytest.raises((CorruptArchive, UnsafeArchive)):
        strictly(data)
    if found is None:
        with pytest.raises(CorruptArchive, match="layer sha256:.* cannot be read: .*: choose another base image"):
            leniently(data)
    else:
        assert leniently(data) == [*found, LAST]


@pytest.mark.parametrize(
    "data, found",
    [
        (header(b"d/", b"5", 7), [(b"d/", b"5", b"")]),
        (pax(path=b"", size=b"") + member(b"x", content=b"a"), [(b"x", b"0", b"a")]),
        (pax(b"g", comment=b"hello") + member(b"x"), [(b"x", b"0", b"")]),
        (pax(size=b"2") + header(b"x", size=0) + b"ab".ljust(512, b"\0"), [(b"x", b"0", b"ab")]),
    ],
    ids=["a directory with a size", "empty records", "a comment for all", "a size in a record"],
)
def test_what_is_odd_but_clear_is_read_in_both(data, found):
    data += member(b"last") + END
    assert strictly(data) == leniently(data) == [*found, LAST]


def test_a_layer_may_end_where_a_member_does_and_a_package_may_not():
    for data in (member(b"x", content=b"abc"), member(b"x", content=b"abc") + bytes(512)):
        assert leniently(data) == [(b"x", b"0", b"abc")]
    with pytest.raises(CorruptArchive, match="ends in the middle"):
        strictly(member(b"x", content=b"abc"))


def test_nothing_but_zeros_follows_a_block_of_zeros():
    data = member(b"x") + bytes(512) + member(b"y") + END
    for read in (strictly, leniently):
        with pytest.raises(CorruptArchive, match="something follows the end"):
            read(data)


def test_owners_are_read_in_layers():
    data = member(b"a", uid=b"0001750\0") + member(b"b", uid=b"\x80" + bytes(4) + b"\x0f\xff\xff") + pax(uid=b"70000")
    stream = io.BytesIO(data + member(b"c") + END)
    reader = TarReader(lambda: stream.read(700), lenient=True)
    assert [m.uid for m in reader] == [1000, 0xFFFFF, 70000]


def test_a_c_library_with_holes_is_refused_by_name():
    store = MemoryStore()
    data = header(b"lib/libc.so.6", b"S", 5, magic=b"ustar  \0") + b"abcde".ljust(512, b"\0") + END
    with pytest.raises(CorruptArchive, match=r"lib/libc\.so\.6 is stored without its holes"):
        visit_members(store, put_bytes(store, data, OCI_LAYER), lambda m, content: bool(content()))


# -- corpora of others, where they are installed ---------------------------------------------------------------------

#: SHA-256 of a file -> what Go 1.24 says of it: its error, or (name, kind, link) of the members
_GO = json.loads((Path(__file__).parent / "recorded" / "go-archive-tar.json").read_text())
_PLACES = (
    *(root / "src/archive/tar/testdata" for root in sorted(Path("/usr/share").glob("go-1.*"))),
    *(Path(p) / "src/archive/tar/testdata" for p in [os.environ.get("GOROOT")] if p),
    *(Path(sysconfig.get_path("stdlib")) / "test" / name for name in (".", "archivetestdata")),
)


def _corpora():
    for place in _PLACES:
        pattern = "testtar.tar" if "test" in place.parts[-2:] or place.name == "archivetestdata" else "*.tar*"
        yield from sorted(place.glob(pattern))


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".base64":
        data = base64.b64decode(data)
    return bz2.decompress(data) if ".bz2" in path.suffixes else data


def _as_go_shows(name, kind, link):
    """Go has the kinds of regular files apart, and a name that is no UTF-8 as JSON shows it."""
    return (
        name.decode("utf-8", "replace"),
        "0" if kind in (SPARSE, b"7") else kind.decode("latin-1"),
        link.decode("utf-8", "replace"),
    )


@pytest.mark.slow
def test_archives_of_go_and_python_are_read_as_go_reads_them_or_refused_by_name():
    found = list(_corpora())
    if not found:
        pytest.skip("neither the sources of Go (golang-1.19-src) nor the tests of Python are installed")
    for path in found:
        known = _GO.get(hashlib.sha256(path.read_bytes()).hexdigest())
        data = _content(path)
        for lenient in (False, True):
            stream = io.BytesIO(data)
            members, refused = [], ""
            try:
                for m in TarReader(lambda stream=stream: stream.read(1 << 16), lenient=lenient):
                    members.append(_as_go_shows(m.name, m.kind, m.link))
            except SpackOciError as e:
                refused = str(e)
            if known is None:
                continue
            expected = [
                (name, "0" if kind in "S7\0" else kind, link)
                for name, kind, link in known["members"]
                if kind != "g"  # which Go shows, and does not apply
            ]
            label = f"{path.name}, {'as a layer' if lenient else 'as a package'}: {refused}"
            if refused:
                assert members == expected[: len(members)], label
            else:
                assert members == expected and not known["refused"], label
            if lenient:
                assert bool(refused) == bool(known["refused"]) or path.name == "pax-path-hdr.tar", label
