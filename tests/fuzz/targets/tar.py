# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Damaged and hostile tarballs for everything that an install does.

Real ones (a program made by the compiler, text, links, bytecode, a compressed man page) are damaged: bytes, blocks,
members, names, sizes, cuts. Allowed is success, or one of our errors; then nothing may be outside of the prefix, and
after an error nothing at all; no link leads out of ``.spack``; no file has setuid.
"""

import contextlib
import gzip
import io
import os
import py_compile
import random
import shutil
import stat
import subprocess
import tarfile
import traceback
from pathlib import Path
from typing import List, Optional

from spack_oci.archive.unpack.layer import install_layer
from spack_oci.content import put_bytes
from spack_oci.errors import CorruptArchive, SpackOciError
from spack_oci.image.base.tarball import visit_members
from support.memory_store import MemoryStore
from support.packages.layers import HASH, OLD_PREFIX, Layer, new_prefix, relocation, tar_info

PLAIN = "application/vnd.oci.image.layer.v1.tar"
NAMES = (
    *("../x", "/etc/x", "a/../../x", ".", "", "x" * 300, "\udcff\udcfe", "bin/run", "lib/../lib/x", "d/" * 300 + "x"),
    *(".spack", ".spack/spec.json", ".spack/new", ".spack/repos/x"),
)
NUMBERS = (b"77777777777\0", b"\x80" + b"\xff" * 11, b"00000000000\0", b"-0000000001\0", b"           \0")


def _package(directory: Path) -> Layer:
    """A package with something of every kind that is relocated."""
    (directory / "m.c").write_text(f'#include <stdio.h>\nint main(void) {{ return puts("{OLD_PREFIX}/share") < 0; }}\n')
    (directory / "m.py").write_text(f'X = "{OLD_PREFIX}"\n')
    options = [f"-Wl,-rpath,{OLD_PREFIX}/lib:$ORIGIN/../lib", "-g"]
    subprocess.run(["cc", "m.c", "-o", "m", *options], cwd=directory, check=True)
    subprocess.run(["cc", "-c", "m.c", "-o", "m.o"], cwd=directory, check=True)
    subprocess.run(["ar", "rc", "libm.a", "m.o"], cwd=directory, check=True)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(directory / "m.py"), str(directory / "m.pyc"), f"{OLD_PREFIX}/m.py", invalidation_mode=mode)
    layer = Layer().file("bin/run", (directory / "m").read_bytes(), 0o755, listed="binary")
    layer.file("lib/libm.a", (directory / "libm.a").read_bytes())
    layer.file("lib/m.pyc", (directory / "m.pyc").read_bytes())
    layer.file("share/x.pc", f"prefix={OLD_PREFIX}\n", listed="text")
    layer.file("share/man/x.1.gz", gzip.compress(f"see {OLD_PREFIX}/x".encode()))
    layer.file("share/terminfo/x", b"\x1a\x01\0" + OLD_PREFIX.encode() + b"/tab\0")
    return layer.symlink("lib/link", f"{OLD_PREFIX}/bin").symlink("rel", "bin/run").hard_link("bin/again", "bin/run")


def _hostile(layer: Layer, rng: random.Random) -> Layer:
    """The same package with a few members more, in any order."""
    other = Layer(members=list(layer.members), info=dict(layer.info))
    other.members, other.info = list(layer.members), dict(layer.info)
    for _ in range(rng.randrange(1, 4)):
        name = rng.choice(NAMES)
        kind = rng.choice((tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE))
        info = tar_info(rng.choice((name, layer.name(name))), kind, rng.choice((0o644, 0o4755, 0)), rng.choice(NAMES))
        other.members.insert(rng.randrange(len(other.members)), (info, b""))
    if rng.random() < 0.3:
        rng.shuffle(other.members)
    if rng.random() < 0.3:
        other.info[rng.choice(list(other.info))] = rng.choice((None, 1, [], {}, "x", ["../x"], {"a": 1}))
    return other


def material(directory: Path) -> List[bytes]:
    """The package as it is, and with members that nobody should write."""
    layer, rng = _package(directory), random.Random(1)
    return [layer.tar() if i < 10 else _hostile(layer, rng).tar() for i in range(60)]


def damage(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 5, 20))):
        if not result:
            break
        what, at = rng.randrange(6), rng.randrange(len(result))
        if what == 0:
            result[at] = rng.randrange(256)
        elif what == 1:  # a field of a header, and a checksum that fits
            block = at - at % 512
            where, length = rng.choice(((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)))
            value = rng.choice((bytes(rng.randrange(256) for _ in range(length)), rng.choice(NUMBERS)[:length]))
            result[block + where : block + where + len(value)] = value
            header = result[block : block + 512]
            total = sum(header) - sum(header[148:156]) + 256
            result[block + 148 : block + 156] = b"%06o\0 " % total
        elif what == 2:
            del result[at : at + 512 * rng.randrange(1, 4)]
        elif what == 3:
            block = at - at % 512
            result[block:block] = result[block : block + 512]
        elif what == 4:
            result[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\x7fELF\2\1\1\0"))
        else:
            del result[at:]
    return bytes(result)


def _read_as_base(data: bytes) -> None:
    """As a layer of a base image: read to its end, or refused by name."""
    store = MemoryStore()
    with contextlib.suppress(CorruptArchive):
        visit_members(store, put_bytes(store, data, PLAIN), lambda member, content: not content() and False)


def attempt(data: bytes, directory: Path) -> Optional[str]:
    """What is wrong with an install of ``data``, or None."""
    shutil.rmtree(directory, ignore_errors=True)
    store = directory / "store"
    store.mkdir(parents=True)
    where = relocation(str(store))
    try:
        _read_as_base(data)
        install_layer(io.BytesIO(data), PLAIN, new_prefix(str(store)), where, dag_hash=HASH, compressed_size=len(data))
        failed = False
    except SpackOciError:
        failed = True
    except Exception:  # the finding
        return traceback.format_exc()
    finally:
        for parent, directories, _ in os.walk(directory):
            for name in directories:
                if not os.path.islink(os.path.join(parent, name)):
                    os.chmod(os.path.join(parent, name), 0o700)
    allowed = {"store", "store/linux-x86_64", "store/.a"}
    prefix = os.path.relpath(new_prefix(str(store)), directory)
    for parent, directories, files in os.walk(directory):
        for name in directories + files:
            path = os.path.relpath(os.path.join(parent, name), directory)
            inside = path == prefix or path.startswith(prefix + "/")
            status = os.lstat(os.path.join(parent, name))
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                return f"{path} is setuid or setgid"
            if stat.S_ISLNK(status.st_mode) and os.path.basename(parent) == ".spack" and inside:
                return f"{path} is a link"
            if path not in allowed and not path.startswith("store/.a/") and (failed or not inside):
                return f"{path} is there after {'a failure' if failed else 'success'}"
    return None
