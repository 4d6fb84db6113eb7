#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Relocation of real prefixes: ours against what Spack's ``relocate_package`` does, file by file.

    bench_relocate.py [--spack CHECKOUT] [STORE] [--scratch DIR] [--rounds N]

``STORE``: the root of an install tree with real packages, which is only read. Spack's side: every prefix is copied,
and the copy relocated by Spack's functions, to a root of the same length. Our side: every prefix is packed, and its
layer (not compressed) installed by :func:`spack_oci.archive.unpack.layer.install_layer` as `spack install` does it,
once relocated and once under the paths that it was built with; what the first takes longer is what relocation costs.
The files that Spack relocates must then be equal, byte for byte; exit code 1 if not. (We relocate others, too.)
An install relocates a package once, in a process that has not seen it before; so what Python's ``re`` keeps of the
patterns of one round is dropped before the next.
Printed: seconds (of the fastest round of each kind) and their ratio; the target is 4. CPU seconds, of all
threads together, depend less on what else the machine does.
"""

import argparse
import filecmp
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]
sys.dont_write_bytecode = True

from spack_oci.archive.codec import Compression  # noqa: E402
from spack_oci.archive.pack import pack_prefix  # noqa: E402
from spack_oci.archive.unpack.layer import install_layer  # noqa: E402
from spack_oci.relocate.build_info import BUILD_INFO, BuildInfo  # noqa: E402
from spack_oci.relocate.mapping import PrefixMap, Relocation, build_mapping  # noqa: E402
from support.measuring.bench_stack import spack_root  # noqa: E402

TARGET = 4.0
PLAIN = "application/vnd.oci.image.layer.v1.tar"


class Job(NamedTuple):
    """A package: ``here`` and ``info`` make the map."""

    dag_hash: str
    prefix: str
    here: Relocation
    info: BuildInfo
    mapping: PrefixMap


class Seconds(NamedTuple):
    wall: float
    cpu: float


NEVER = Seconds(float("inf"), float("inf"))


def packages(store: str) -> Dict[str, Tuple[str, List[str]]]:
    """Hash -> (prefix, hashes of the whole spec) of every package in the store."""
    result = {}
    for spec_file in sorted(Path(store).glob("*/*/.spack/spec.json")):
        nodes = json.loads(spec_file.read_text())["spec"]["nodes"]
        result[nodes[0]["hash"]] = (str(spec_file.parent.parent), [node["hash"] for node in nodes])
    return result


def build_info(store: str, prefix: str, prefixes: Dict[str, str]) -> BuildInfo:
    """What a push would have written: all binaries (as Spack lists them), text and links with an old prefix."""
    texts, binaries, links = [], [], []
    for directory, _, names in os.walk(prefix):
        for name in names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, prefix)
            if os.path.islink(path):
                if os.readlink(path).startswith(store):
                    links.append(relative)
            elif not relative.startswith(".spack/"):
                data = Path(path).read_bytes()
                if data.startswith(b"\x7fELF"):
                    binaries.append(relative)
                elif os.fsencode(store) in data and is_utf8(data):
                    texts.append(relative)
    lists = (tuple(texts), tuple(binaries), tuple(links))
    return BuildInfo(prefixes, store, f"{store}/bin/sbang", os.path.relpath(prefix, store), *lists)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def relocate_as_spack(prefix: str, job: Job) -> None:
    """The body of ``spack.binary_distribution.relocate_package``, without what needs a Spec."""
    import spack.binary_distribution
    import spack.relocate as relocate

    lists = spack.binary_distribution.read_buildinfo_file(prefix)
    changes = job.mapping.changes()
    binaries, links, texts = (
        [os.path.join(prefix, name) for name in lists[f"relocate_{key}"]] for key in ("binaries", "links", "textfiles")
    )
    relocate.relocate_elf_binaries(binaries, changes)
    relocate.relocate_links(links, changes)
    relocate.relocate_text(texts, changes)
    relocate.relocate_text_bin(binaries, changes)


def layer_of(job: Job) -> bytes:
    """What a push makes of the package, without compression."""
    head = {
        "sbang_install_path": job.info.sbang_path,
        "buildpath": job.info.store_root,
        "relative_prefix": job.info.relative_prefix,
        "hash_to_prefix": dict(job.info.hash_to_prefix),
        "hardlinks_deduped": True,
    }
    sink = io.BytesIO()
    old = (*job.info.hash_to_prefix.values(), job.info.sbang_path, job.info.store_root)
    pack_prefix(job.prefix, build_info=head, old_prefixes=old, compression=Compression("none"), sink=sink)
    return sink.getvalue()


def timed_installs(work: List[Job], scratch: str, relocated: bool) -> Seconds:
    """What installing the layers of all packages takes; the prefixes stay, in ``scratch``."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    wall = cpu = 0.0
    for job in work:
        data = layer_of(job)
        same = Relocation(job.info.hash_to_prefix, job.info.store_root, job.info.sbang_path)
        prefix = os.path.join(scratch, os.path.basename(job.prefix))
        here = job.here if relocated else same
        started, started_cpu = time.perf_counter(), time.process_time()
        install_layer(io.BytesIO(data), PLAIN, prefix, here, dag_hash=job.dag_hash, compressed_size=len(data))
        wall += time.perf_counter() - started
        cpu += time.process_time() - started_cpu
    return Seconds(wall, cpu)


def write_build_info(prefix: str, info: BuildInfo) -> None:
    import spack.util.spack_yaml as syaml

    document = {
        "sbang_install_path": info.sbang_path,
        "buildpath": info.store_root,
        "relative_prefix": info.relative_prefix,
        "hash_to_prefix": dict(info.hash_to_prefix),
        "hardlinks_deduped": True,
        "relocate_textfiles": list(info.text_files),
        "relocate_binaries": list(info.binaries),
        "relocate_links": list(info.links),
    }
    with open(os.path.join(prefix, BUILD_INFO), "w") as f:
        f.write(syaml.dump(document, default_flow_style=True))


def timed_spack(work: List[Job], scratch: str) -> Seconds:
    """What Spack's relocation takes on fresh copies of all prefixes; the copies stay, in ``scratch``."""
    shutil.rmtree(scratch, ignore_errors=True)
    re.purge()
    wall = cpu = 0.0
    for job in work:
        copy = os.path.join(scratch, os.path.basename(job.prefix))
        shutil.copytree(job.prefix, copy, symlinks=True)
        for name in (*job.info.binaries, *job.info.text_files):
            os.chmod(os.path.join(copy, name), 0o755)
        write_build_info(copy, job.info)
        started, started_cpu = time.perf_counter(), time.process_time()
        relocate_as_spack(copy, job)
        wall += time.perf_counter() - started
        cpu += time.process_time() - started_cpu
    return Seconds(wall, cpu)


def differences(work: List[Job], left: str, right: str) -> List[str]:
    """The files and links that Spack relocates and that are not the same in both trees."""
    found = []
    for job in work:
        package = os.path.basename(job.prefix)
        for name in (*job.info.binaries, *job.info.text_files, *job.info.links):
            one, other = os.path.join(left, package, name), os.path.join(right, package, name)
            if os.path.islink(one):
                same = os.path.islink(other) and os.readlink(one) == os.readlink(other)
            else:
                same = os.path.exists(other) and filecmp.cmp(one, other, shallow=False)
            if not same:
                found.append(os.path.join(package, name))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", help="default: 300 small packages")
    parser.add_argument("--spack", help="a checkout of Spack; default: that of the small packages")
    parser.add_argument("--scratch", help="directory for the copies (default: a temporary one)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not args.spack or not args.store:
        root = spack_root(None)
        args.spack, args.store = args.spack or str(root), args.store or str(root / "opt" / "spack")
    sys.path.insert(0, os.path.join(args.spack, "lib", "spack"))
    import spack.vendor  # (makes the vendored modules importable)

    store = os.path.realpath(args.store)
    known = packages(store)
    new_root = "/" + "n" * (len(store) - 1)
    here = Relocation(
        {h: new_root + prefix[len(store) :] for h, (prefix, _) in known.items()}, new_root, f"{new_root}/bin/sbang"
    )
    work = []
    for prefix, hashes in known.values():
        info = build_info(store, prefix, {h: known[h][0] for h in hashes if h in known})
        work.append(Job(hashes[0], prefix, here, info, build_mapping(info, here)))
    best = {"spack": NEVER, "relocated": NEVER, "as built": NEVER}
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        spack_tree, our_tree, same_tree = (os.path.join(scratch, name) for name in ("spack", "ours", "same"))
        for _ in range(args.rounds):
            for name, found in (
                ("spack", timed_spack(work, spack_tree)),
                ("relocated", timed_installs(work, our_tree, True)),
                ("as built", timed_installs(work, same_tree, False)),
            ):
                best[name] = Seconds(*map(min, zip(best[name], found)))
        different = differences(work, spack_tree, our_tree)
    infos = [job.info for job in work]
    files = sum(len(i.binaries) + len(i.text_files) + len(i.links) for i in infos)
    spack, whole = best["spack"], best["relocated"]
    ours = Seconds(*(max(1e-9, a - b) for a, b in zip(whole, best["as built"])))
    ratio = spack.wall / ours.wall
    print(f"{len(work)} packages, {files} files to relocate; installing them takes {whole.wall:.3f} s")
    print(f"relocation: spack {spack.wall:.3f} s, ours {ours.wall:.3f} s: {ratio:.1f}x (target {TARGET}x)")
    print(f"cpu: spack {spack.cpu:.3f} s, ours {ours.cpu:.3f} s: {spack.cpu / ours.cpu:.1f}x")
    print(f"files that differ: {len(different)} {different[:5]}")
    return 1 if different or ratio < TARGET else 0


if __name__ == "__main__":
    sys.exit(main())
