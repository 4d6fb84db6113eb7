# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""A package of 2 GB in less than 300 MiB of memory, its largest file a binary and a text that have to be relocated."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = r"""
import os, sys, tarfile
sys.path[:0] = sys.argv[1:3]
from spack_oci.archive.unpack.layer import install_layer
from support.packages.layers import HASH, OLD_PREFIX, Layer, new_prefix, relocation

store, size = sys.argv[3], int(sys.argv[4])
# incompressible, 8 MiB; a path at the end of each, so that one stands across every kind of boundary
path = OLD_PREFIX.encode() + b"/share/data"
BLOCK = os.urandom((8 << 20) - len(path) - 1) + path + b"\0"
WORDS = (b"a word or two and " + path + b" more\n") * 20000


def members(layer):
    data = layer.tar(with_info=False).rstrip(b"\0")
    return data + bytes(-len(data) % 512)


class Stream:
    '''The tarball, made while it is read.'''

    def __init__(self):
        self.pieces = self.make()
        self.rest = b""

    def make(self):
        layer = Layer()
        layer.info["relocate_binaries"], layer.info["relocate_textfiles"] = ["lib/large.so"], ["share/large.txt"]
        directories = members(layer)
        yield directories
        for name, block, total in (("lib/large.so", BLOCK, size), ("share/large.txt", WORDS, size // 4)):
            count = total // len(block)
            info = tarfile.TarInfo(layer.name(name))
            info.size, info.mode = count * len(block) + 4, 0o755
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield b"\x7fELF" if name.endswith("so") else b"text"
            for _ in range(count):
                yield block
            yield bytes(-info.size % 512)
        tail = Layer()
        tail.info = layer.info
        yield tail.tar()[len(directories) :]

    def read(self, count=-1):
        while not self.rest:
            try:
                self.rest = next(self.pieces)
            except StopIteration:
                return b""
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def close(self):
        pass


PLAIN = "application/vnd.oci.image.layer.v1.tar"
summary = install_layer(Stream(), PLAIN, new_prefix(store), relocation(store), dag_hash=HASH)
# ru_maxrss counts what the parent had when it forked
with open("/proc/self/status") as f:
    peak = int(next(line for line in f if line.startswith("VmHWM")).split()[1])
new = new_prefix(store)
with open(new + "/lib/large.so", "rb") as f:
    f.seek(4 + len(BLOCK) - 600)
    tail = f.read(600)
assert new.encode() in tail and OLD_PREFIX.encode() not in tail, tail
with open(new + "/share/large.txt", "rb") as f:
    assert new.encode() in f.read(1000)
print(summary.size, peak // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [100 << 20, 1600 << 20])
def test_peak_memory(tmp_path, size):
    (tmp_path / "s").mkdir()
    argv = [sys.executable, "-c", SCRIPT, str(ROOT / "lib"), str(ROOT / "tests"), str(tmp_path / "s"), str(size)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unpacked, peak = map(int, done.stdout.split())
    assert unpacked > size and peak < 300, f"{peak} MiB"
