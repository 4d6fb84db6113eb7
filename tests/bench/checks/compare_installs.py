#!/usr/bin/env python3
# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What our installs leave on the disk against what vanilla Spack's leaves, file by file, on real packages.

    compare_installs.py --spack SPACK_ROOT [--work DIR] [--installer old|new] [/HASH ...]

``SPACK_ROOT`` and ``--work`` are those of bench_install.py. The packages are pushed once and installed into the same
tree by vanilla Spack, by Spack with our hooks, and by `spack oci install`, with both installers. Compared are kinds,
modes, owners, links and contents of all files, the records of the database, and what `spack verify` says. A file may
differ only where vanilla Spack has left the old path of a package in it. Exit code 1 if anything else differs.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_install import WAYS, Bench, Way  # noqa: E402
from support.registries.docker_registry import docker_registry  # noqa: E402
from support.spacks.installed_trees import VERIFY, Entry, findings, records_of, tree_of  # noqa: E402


class Comparison:
    def __init__(self, bench: Bench, old_root: str, specs: Sequence[str]) -> None:
        self.bench, self.old_root, self.specs = bench, old_root.encode(), specs

    def install(self, way: Way) -> Dict[str, Any]:
        """What is there afterwards; the tree stays."""
        self.bench.measure(way, self.specs)
        prefixes = sorted(p.parents[1] for p in self.bench.tree.glob("*/*/.spack/spec.json"))
        return {
            "files": {f"{p.name}/{name}": entry for p in prefixes for name, entry in tree_of(p).items()},
            "records": records_of(self.bench.tree),
            "verify": [self.verify(way, *arguments) for arguments in VERIFY],
        }

    def verify(self, way: Way, *arguments: str) -> List[str]:
        environment = {**self.bench.environment, "SPACK_PYTHON": str(self.bench.pythons[way.ours])}
        scope = self.bench.scope(way.installer, self.bench.tree)
        command = [str(self.bench.spack / "bin" / "spack"), "-C", str(scope), *arguments]
        done = subprocess.run(command, env=environment, input="", capture_output=True, text=True)
        return [f"exit code {done.returncode}", *findings(done.stdout)]

    def left_wrong(self, tree: Path) -> set:
        """Files that hold an old path: relative to the directory of all prefixes."""
        found = set()
        for directory, _, names in os.walk(tree):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        data = f.read()
                    if self.old_root in data or data[:2] == b"\x1f\x8b":
                        found.add("/".join(Path(path).relative_to(tree).parts[1:]))
        return found

    def differences(self, vanilla: Dict[str, Any], ours: Dict[str, Any], excused: set) -> List[str]:
        result = []
        files = {*vanilla["files"], *ours["files"]}
        for name in sorted(files):
            theirs, mine = vanilla["files"].get(name), ours["files"].get(name)
            if theirs != mine and not (name in excused and _same_but_content(theirs, mine)):
                result.append(f"{name}: {theirs} / {mine}")
        for dag_hash in sorted({*vanilla["records"], *ours["records"]}):
            if vanilla["records"].get(dag_hash) != ours["records"].get(dag_hash):
                result.append(f"record of {dag_hash}")
        for arguments, theirs, mine in zip(VERIFY, vanilla["verify"], ours["verify"]):
            result += [f"spack {' '.join(arguments)}: {line}" for line in sorted({*theirs} ^ {*mine})]
        return result


def _same_but_content(one: "Entry | None", other: "Entry | None") -> bool:
    return one is not None and other is not None and one[:3] == other[:3]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--spack", required=True, type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--installer", choices=("old", "new"), help="compare with this one only")
    args = parser.parse_args()
    failed = False
    with contextlib.ExitStack() as stack:
        work = args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        registry = stack.enter_context(docker_registry(tls=True, fast=True))
        bench = Bench(args.spack, work, f"oci://{registry.host}/bench/compare", registry)
        old_root = bench.run(False, "old", "python", "-c", "import spack.store as s; print(s.STORE.layout.root)")
        specs = args.specs or bench.roots()
        bench.fill(specs)
        comparison = Comparison(bench, old_root.strip().splitlines()[-1], specs)
        vanilla: Dict[str, Any] = {}
        compared = [way for way in WAYS if way.installer != "none" and "not ahead" not in way.name]
        for way in (way for way in compared if args.installer in (None, way.installer)):
            bench.run(way.ours, way.installer, "buildcache", "list", tree=bench.tree)
            found = comparison.install(way)
            if not way.ours:
                vanilla[way.name] = (found, comparison.left_wrong(bench.tree))
                print(f"{way.name}: {len(found['files'])} files, {len(found['records'])} records", flush=True)
                continue
            theirs, excused = vanilla[way.baseline]
            different = comparison.differences(theirs, found, excused)
            changed = sum(1 for n in excused if theirs["files"].get(n) != found["files"].get(n))
            print(f"{way.name}: {len(different)} differences; {changed} files relocated that Spack leaves", flush=True)
            for line in different[:50]:
                print(f"    {line}")
            failed = failed or bool(different)
        shutil.rmtree(bench.tree, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
