#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Relocation of real prefixes: ours against what Spack's ``relocate_package`` does, file by file.

    bench_relocate.py --spack CHECKOUT STORE [--scratch DIR] [--rounds N]

``STORE``: the root of an install tree with real packages, which is only read. Every prefix is copied twice; one copy
is relocated by Spack's functions, the other by :func:`spack_oci.relocate.prefix.relocate_prefix`, to a root of the
same length. Both read the lists from ``.spack/binary_distribution``, as Spack writes it, and get the same map. The
trees must then be equal, byte for byte; exit code 1 if not.
Printed: seconds (of the fastest round for each side) and their ratio; the target is 4 (issue 5).
"""

import argparse
import filecmp
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))
sys.dont_write_bytecode = True

from spack_oci.relocate.build_info import BUILD_INFO, BuildInfo  # noqa: E402
from spack_oci.relocate.mapping import PrefixMap, Relocation, build_mapping  # noqa: E402
from spack_oci.relocate.prefix import relocate_prefix  # noqa: E402

TARGET = 4.0


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


def relocate_as_spack(prefix: str, mapping: PrefixMap, info: BuildInfo) -> None:
    """The body of ``spack.binary_distribution.relocate_package``, without what needs a Spec."""
    import spack.binary_distribution
    import spack.relocate as relocate

    lists = spack.binary_distribution.read_buildinfo_file(prefix)
    changes = mapping.changes()
    binaries, links, texts = (
        [os.path.join(prefix, name) for name in lists[f"relocate_{key}"]] for key in ("binaries", "links", "textfiles")
    )
    relocate.relocate_elf_binaries(binaries, changes)
    relocate.relocate_links(links, changes)
    relocate.relocate_text(texts, changes)
    relocate.relocate_text_bin(binaries, changes)


def relocate_ours(prefix: str, mapping: PrefixMap, info: BuildInfo) -> None:
    with open(os.path.join(prefix, BUILD_INFO), "rb") as f:
        lists = BuildInfo.parse(f.read())
    relocate_prefix(prefix, mapping, lists)


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


def timed(function, work: List[tuple], scratch: str) -> float:
    """Seconds of ``function`` on fresh copies of all prefixes; the copies stay, in ``scratch``."""
    shutil.rmtree(scratch, ignore_errors=True)
    total = 0.0
    for prefix, mapping, info in work:
        copy = os.path.join(scratch, os.path.basename(prefix))
        shutil.copytree(prefix, copy, symlinks=True)
        for name in (*info.binaries, *info.text_files):
            os.chmod(os.path.join(copy, name), 0o755)
        write_build_info(copy, info)
        started = time.perf_counter()
        function(copy, mapping, info)
        total += time.perf_counter() - started
    return total


def differences(left: str, right: str) -> List[str]:
    found = []
    for directory, _, names in os.walk(left):
        for name in names:
            one = os.path.join(directory, name)
            other = os.path.join(right, os.path.relpath(one, left))
            if os.path.islink(one):
                same = os.path.islink(other) and os.readlink(one) == os.readlink(other)
            else:
                same = os.path.exists(other) and filecmp.cmp(one, other, shallow=False)
            if not same:
                found.append(os.path.relpath(one, left))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--spack", required=True, help="a checkout of Spack")
    parser.add_argument("--scratch", help="directory for the copies (default: a temporary one)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    sys.path.insert(0, os.path.join(args.spack, "lib", "spack"))
    import spack.vendor  # noqa: F401  (makes the vendored modules importable)

    store = os.path.realpath(args.store)
    known = packages(store)
    new_root = "/" + "n" * (len(store) - 1)
    here = Relocation(
        {h: new_root + prefix[len(store) :] for h, (prefix, _) in known.items()}, new_root, f"{new_root}/bin/sbang"
    )
    work = []
    for prefix, hashes in known.values():
        info = build_info(store, prefix, {h: known[h][0] for h in hashes if h in known})
        work.append((prefix, build_mapping(info, here), info))
    best = {"spack": float("inf"), "ours": float("inf")}
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        for _ in range(args.rounds):
            for name, function in (("spack", relocate_as_spack), ("ours", relocate_ours)):
                best[name] = min(best[name], timed(function, work, os.path.join(scratch, name)))
        different = differences(os.path.join(scratch, "spack"), os.path.join(scratch, "ours"))
    files = sum(len(i.binaries) + len(i.text_files) + len(i.links) for _, _, i in work)
    ratio = best["spack"] / best["ours"]
    print(f"{len(work)} packages, {files} files to relocate")
    print(f"spack {best['spack']:.3f} s, ours {best['ours']:.3f} s: {ratio:.1f}x (target {TARGET}x)")
    print(f"files that differ: {len(different)} {different[:5]}")
    return 1 if different or ratio < TARGET else 0


if __name__ == "__main__":
    sys.exit(main())
